"""Compression operators: their promises on random vectors, what they send, and the bytes saved."""

from __future__ import annotations

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import Beer, ChocoGossip, Lead
from p2pdo.algorithms.compression import Qsgd, compressor
from p2pdo.errors import ConfigError, RemoteProtocolError, WorkloadFailed
from p2pdo.problems import Quadratic
from p2pdo.protocol.values import size_of
from p2pdo.types import Array, Value
from p2pdo.wire.arrays import pack, unpack

D = 40
CONTRACTIONS = ["none", "top-k:0.1", "rand-k:0.1", "sign", "scaled-qsgd:2", "qsgd:15"]
UNBIASED = ["none", "qsgd:1", "qsgd:15"]
ALL = sorted({*CONTRACTIONS, *UNBIASED})


def through(name: str, v: Array, rng: np.random.Generator) -> Array:
    operator = compressor(name)
    return operator.restore(operator.compress(v, rng), v)


def vectors(dtype: str = "float64") -> Array:
    return np.random.default_rng(5).standard_t(2, (20, D)).astype(dtype)


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_a_contraction_shrinks_what_is_left_by_its_delta(name: str) -> None:
    rng, delta = np.random.default_rng(1), compressor(name).contraction(D)
    assert 0 < delta <= 1
    for v in vectors():
        left = np.mean([np.sum((v - through(name, v, rng)) ** 2) for _ in range(400)])
        assert left <= (1 - delta) * np.sum(v**2) * 1.05


@pytest.mark.parametrize("name", UNBIASED)
def test_an_unbiased_operator_is_right_on_average(name: str) -> None:
    assert compressor(name).unbiased
    rng, v = np.random.default_rng(1), vectors()[0]
    draws = np.stack([through(name, v, rng) for _ in range(4000)])
    error = 5 * draws.std(axis=0) / 4000**0.5
    assert (np.abs(draws.mean(axis=0) - v) <= error + 1e-9).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_what_arrives_over_a_wire_stands_for_the_same_bits(name: str, dtype: str) -> None:
    operator, v = compressor(name), vectors(dtype)[0]
    sent = operator.compress(v, np.random.default_rng(2))
    layout, parts = pack(sent)
    arrived = unpack(layout, b"".join(parts))
    at_sender, at_receiver = operator.restore(sent, v), operator.restore(arrived, v)
    assert at_sender.dtype == dtype
    assert at_sender.tobytes() == at_receiver.tobytes()


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("none", 8 * D),
        ("top-k:0.1", (4 + 8) * 4),
        ("rand-k:0.1", (4 + 8) * 4),
        ("sign", 8 + D // 8),
        ("qsgd:15", 8 + D),
        ("scaled-qsgd:2", 8 + D),
    ],
)
def test_what_is_sent_is_small(name: str, size: int) -> None:
    assert size_of(compressor(name).compress(vectors()[0], np.random.default_rng(0))) == size


@pytest.mark.parametrize("name", ALL)
def test_zero_stays_zero(name: str) -> None:
    assert not through(name, np.zeros(D), np.random.default_rng(0)).any()


def test_equally_large_entries_are_kept_from_the_first_on() -> None:
    assert through("top-k:0.5", np.ones(4), np.random.default_rng(0)).tolist() == [1, 1, 0, 0]


def test_a_run_that_diverges_is_told_as_such_whatever_is_kept() -> None:
    costs = [Quadratic(np.eye(D), np.ones(D)) for _ in range(3)]
    algorithm = Beer(1e3, compressor="top-k:0.05")
    with pytest.raises(WorkloadFailed, match="not finite"):
        p2pdo.run(costs, algorithm=algorithm, on="dense", rounds=500, start="normal")


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("none", np.zeros(D + 1)),
        ("top-k:0.1", np.zeros(D)),
        ("top-k:0.1", (np.array([0, 1, 2, D], np.uint32), np.zeros(4))),
        ("top-k:0.1", (np.array([0, 1, 1, 2], np.uint32), np.zeros(4))),
        ("top-k:0.1", (np.array([0, 1, 2], np.uint32), np.zeros(3))),
        ("sign", (1, np.zeros(5, np.uint8))),
        ("sign", (1.0, np.zeros(4, np.uint8))),
        ("qsgd:15", (1.0, np.zeros(D))),
        ("qsgd:15", (1.0, np.zeros(D, np.int8), 3)),
    ],
)
def test_what_stands_for_no_vector_is_refused(name: str, sent: Value) -> None:
    with pytest.raises(RemoteProtocolError, match="a compressed value holds") as caught:
        compressor(name).restore(sent, np.zeros(D))
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("topk", "unknown compressor 'topk'"),
        ("top-k", "does not give the share"),
        ("qsgd:many", "does not give the number of levels"),
        ("qsgd:0", "between 1 and 127"),
        ("top-k:0", r"must lie in \(0, 1\]"),
        ("rand-k:nan", r"must lie in \(0, 1\]"),
        ("sign:2", "takes no number"),
    ],
)
def test_a_wrong_name_is_refused_with_a_remedy(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        ChocoGossip(compressor=name)
    assert caught.value.hint


def test_what_is_no_contraction_is_refused_where_the_length_is_known() -> None:
    assert Qsgd(1).contraction(D) < 0
    costs = [Quadratic(np.eye(D), np.zeros(D)) for _ in range(3)]
    with pytest.raises(ConfigError, match="'qsgd:1' is no contraction of vectors of length 40"):
        p2pdo.run(costs, algorithm=ChocoGossip(compressor="qsgd:1"), on="dense", rounds=1)


def test_lead_takes_no_biased_operator() -> None:
    with pytest.raises(ConfigError, match="lead needs an unbiased compressor"):
        Lead(0.1, compressor="top-k:0.5")


@pytest.mark.parametrize("name", CONTRACTIONS)
def test_a_run_counts_the_compressed_bytes(name: str) -> None:
    costs = [Quadratic(np.eye(D), np.ones(D)) for _ in range(4)]
    algorithm = ChocoGossip(compressor=name)
    run = p2pdo.run(costs, algorithm=algorithm, on="dense", rounds=5, start="normal")
    one = size_of(compressor(name).compress(np.ones(D), np.random.default_rng(0)))
    assert run.summary.bytes_sent == run.summary.messages_sent * one


def test_compressed_tracking_reaches_the_optimum_with_a_fraction_of_the_bytes() -> None:
    rng = np.random.default_rng(0)
    costs = [Quadratic(np.eye(D), rng.standard_normal(D)) for _ in range(4)]
    how = {"on": "dense", "topology": "ring", "rounds": 4000, "tol": 1e-8}
    plain = p2pdo.run(costs, algorithm=Beer(0.1, 0.3, "none"), **how).summary  # type: ignore[arg-type]
    small = p2pdo.run(costs, algorithm=Beer(0.05, 0.2, "sign"), **how).summary  # type: ignore[arg-type]
    assert max(plain.gap or 0, small.gap or 0) <= 1e-8
    assert small.bytes_sent < plain.bytes_sent / 3
