"""Runs with a codec: the mathematics, the bits on every executor, the bytes, and refusals."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import p2pdo
from p2pdo.algorithms import (
    AtcTracking,
    ChocoGossip,
    Consensus,
    EdgeAdmm,
    Extra,
    FastMix,
    GradientTracking,
    Lead,
    PushDiging,
    PushSum,
)
from p2pdo.algorithms.base import Algorithm
from p2pdo.codecs import codec
from p2pdo.effects import Mix, Row
from p2pdo.errors import ConfigError, RemoteProtocolError, WorkloadFailed
from p2pdo.problems import Quadratic
from p2pdo.protocol.coding import Coder, coding_of, step_for
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.plan import Plan
from p2pdo.simulation.inprocess import run_in_process, run_simulated
from p2pdo.simulation.lockstep import advance_to, run_lockstep, steppers_of
from p2pdo.simulation.network import Weather
from p2pdo.simulation.stacked import run_stacked
from p2pdo.testing.laws import bits, settings
from p2pdo.testing.laws.networks import Network
from p2pdo.types import Array

CODECS = ["fp16", "bf16", "top-k:0.5", "rand-k:0.5", "sign,step=0.1", "qsgd:15,step=0.2"]
RING = settings.Setting(Network("ring", 6), "quadratic")
DIRECTED = settings.Setting(Network("unbalanced", 5), "quadratic")
A = 0.02


def plan(
    algorithm: Algorithm[Any], rounds: int, name: str, setting: settings.Setting = RING
) -> Plan:
    return replace(setting.plan(algorithm, rounds), codec=name)


# ---- the mathematics ----


def top_half(v: Array) -> Array:
    size = sorted(np.abs(v), reverse=True)[len(v) // 2 - 1]
    return np.where(np.abs(v) >= size, v, 0.0)


def test_gradient_tracking_by_copies_is_its_matrix_form() -> None:
    gamma = 0.3
    run = plan(GradientTracking(A), 50, f"top-k:0.5,step={gamma}")
    net = RING.dense(run)
    L = net.W - np.eye(net.n)
    X, Y = net.X, net.gradient(net.X)
    X_copies, Y_copies = np.zeros_like(X), np.zeros_like(X)
    for k, states in enumerate(settings.iterates(run)):
        assert settings.distance(settings.decisions(states), X) <= 1e-12, k
        X_copies = X_copies + np.apply_along_axis(top_half, 1, X - X_copies)
        Y_copies = Y_copies + np.apply_along_axis(top_half, 1, Y - Y_copies)
        new = X + gamma * L @ X_copies - A * Y
        Y = Y + gamma * L @ Y_copies + net.gradient(new) - net.gradient(X)
        X = new


@pytest.mark.parametrize("name", CODECS)
def test_the_mean_of_trackers_stays_the_mean_gradient_whatever_is_left_out(name: str) -> None:
    for states in settings.iterates(plan(GradientTracking(A), 40, name)):
        mean = np.mean([s.y - s.g for s in states], axis=0)
        assert np.abs(mean).max() <= 1e-12


@pytest.mark.parametrize("name", CODECS)
def test_the_sum_of_what_is_pushed_stays(name: str) -> None:
    run = plan(PushDiging(A), 40, name, DIRECTED)
    for states in settings.iterates(run):
        mean = np.mean([s.y - s.g for s in states], axis=0)
        assert np.abs(mean).max() <= 1e-12


@pytest.mark.parametrize("name", ["fp16", "bf16", "top-k:0.5,step=0.3", "sign,step=0.3"])
def test_averaging_goes_on_to_rounding_and_keeps_the_mean(name: str) -> None:
    run = plan(Consensus(), 500, name)
    mean = np.mean(run.starts, axis=0)
    found = settings.decisions(run_stacked(run, settings.judge_of(run), settings.ignore))
    assert np.abs(found - mean).max() <= 1e-10


@pytest.mark.parametrize(
    ("algorithm", "name"),
    [
        (GradientTracking(0.05), "fp16"),
        (GradientTracking(0.05), "top-k:0.5"),
        (Extra(0.02), "max-qsgd:15"),
        (AtcTracking(0.05), "top-k:0.5"),
    ],
)
def test_exact_methods_stay_exact(algorithm: Algorithm[Any], name: str) -> None:
    costs = RING.plan(algorithm, 1).problems
    how: dict[str, Any] = {"on": "stacked", "rounds": 3000, "tol": 1e-8, "start": "normal"}
    assert p2pdo.run(costs, algorithm=algorithm, codec=name, **how).summary.status == "converged"


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_default_step_is_small_enough_for_any_contraction_of_that_delta(share: float) -> None:
    """For the worst that a codec may leave out: always the part that points away from the mean."""
    W = Network("ring", 6).weights.to_dense()
    X = np.random.default_rng(0).standard_normal((6, 40))
    copies, started = np.zeros_like(X), np.linalg.norm(X - X.mean(axis=0))
    step, rng = step_for(share), np.random.default_rng(1)
    for _ in range(1500):
        new = X - copies
        left = rng.standard_normal(new.shape)
        left *= np.sqrt(1 - share) * np.linalg.norm(new) / np.linalg.norm(left)
        copies = copies + new - left
        X = X + step * (W @ copies - copies)
    assert np.linalg.norm(X - X.mean(axis=0)) < 1e-3 * started


# ---- the bits ----


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    ("algorithm", "setting"),
    [(GradientTracking(A), RING), (FastMix(0.5), RING), (PushDiging(A), DIRECTED)],
    ids=["gradient-tracking", "fastmix", "push-diging"],
)
def test_every_executor_of_one_process_has_the_same_bits(
    algorithm: Algorithm[Any], setting: settings.Setting, name: str
) -> None:
    run = plan(algorithm, 12, name, setting)
    expected = run_lockstep(run, settings.judge_of(run), settings.ignore)
    weather = Weather(delay=0.02, duplicate=0.2, cut=0.01)
    found = run_simulated(
        run, settings.judge_of(run), settings.ignore, delay_seed=2, weather=weather
    )
    in_loop = asyncio.run(run_in_process(run, settings.judge_of(run), settings.ignore))
    assert bits.digest(found) == bits.digest(expected) == bits.digest(in_loop)
    counts = [[(r.bytes_sent, r.messages_sent) for r in one] for one in (expected, found, in_loop)]
    assert counts[0] == counts[1] == counts[2]
    plain = run_lockstep(replace(run, codec="none"), settings.judge_of(run), settings.ignore)
    assert bits.digest(plain) != bits.digest(expected)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize(
    ("algorithm", "setting"),
    [(GradientTracking(A), RING), (PushSum(), DIRECTED), (PushDiging(A), DIRECTED)],
    ids=["gradient-tracking", "push-sum", "push-diging"],
)
def test_stacked_it_is_the_same_to_rounding_and_counts_the_same_bytes(
    algorithm: Algorithm[Any], setting: settings.Setting, name: str
) -> None:
    run = plan(algorithm, 30, name, setting)
    dense = run_lockstep(run, settings.judge_of(run), settings.ignore)
    stacked = run_stacked(run, settings.judge_of(run), settings.ignore)
    assert settings.distance(settings.decisions(stacked), settings.decisions(dense)) <= 1e-9
    sent = [[(r.bytes_sent, r.messages_sent) for r in one] for one in (dense, stacked)]
    assert sent[0] == sent[1]


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("lane", ["grpc", "shared-memory"])
@pytest.mark.parametrize("name", ["fp16", "rand-k:0.2"])
def test_processes_have_the_same_bits_by_either_lane(name: str, lane: str) -> None:
    how: dict[str, Any] = {"codec": name, "nodes": 4, "rounds": 60, "observe_every": 20}
    found = p2pdo.run("breast-cancer", on="processes", lane=lane, **how).summary
    dense = p2pdo.run("breast-cancer", on="dense", **how).summary
    assert found.state_sha256 == dense.state_sha256
    assert (found.bytes_sent, found.messages_sent) == (dense.bytes_sent, dense.messages_sent)
    assert found.links == {lane: 4}


@pytest.mark.parametrize("name", CODECS)
def test_a_state_and_its_memory_are_all_there_is_to_go_on_from(name: str) -> None:
    run = plan(GradientTracking(A), 15, name)
    unbroken, resumed = steppers_of(run), steppers_of(run)
    advance_to(unbroken, 7)
    for ours, theirs in zip(resumed, unbroken, strict=True):
        assert ours.coder is not None
        assert theirs.coder is not None
        ours.state, ours.iteration = copy.deepcopy(theirs.state), 7
        ours.coder.memory = copy.deepcopy(theirs.coder.memory)
    advance_to(unbroken, 15)
    advance_to(resumed, 15)
    for ours, theirs in zip(resumed, unbroken, strict=True):
        assert bits.bits(ours.state) == bits.bits(theirs.state)


def test_a_start_in_float32_stays_in_float32() -> None:
    for name in CODECS:
        run = replace(RING.plan(GradientTracking(A), 5, "float32"), codec=name)
        for states in settings.iterates(run):
            assert {a.dtype.name for s in states for a in bits.arrays(s)} == {"float32"}


# ---- the bytes ----


@pytest.mark.parametrize("name", ["fp16", "top-k:0.1", "qsgd:15,step=0.1"])
def test_what_is_counted_are_the_encoded_bytes(name: str) -> None:
    d = 40
    costs = [Quadratic(np.eye(d), np.full(d, float(i))) for i in range(4)]
    run = p2pdo.run(
        costs, algorithm=GradientTracking(0.1), on="dense", rounds=5, codec=name
    ).summary
    one = codec(name.partition(",")[0]).size(d, 8)
    assert run.messages_sent == 4 * 2 * 5
    assert run.bytes_sent == run.messages_sent * 2 * one  # x and y


# ---- methods that compress by themselves ----


def test_a_method_that_compresses_takes_the_codec_as_its_own() -> None:
    d = 40
    costs = [Quadratic(np.eye(d), np.full(d, float(i))) for i in range(4)]
    how: dict[str, Any] = {"on": "dense", "rounds": 20, "parameters": {"step_size": 0.1}}
    named = p2pdo.run(costs, algorithm="lead", codec="max-qsgd:7", **how).summary
    how["parameters"] = {"step_size": 0.1, "compressor": "max-qsgd:7"}
    given = p2pdo.run(costs, algorithm="lead", **how).summary
    made = p2pdo.run(costs, algorithm=Lead(0.1), codec="max-qsgd:7", on="dense", rounds=20).summary
    assert named.state_sha256 == given.state_sha256 == made.state_sha256
    assert named.bytes_sent == given.bytes_sent == 20 * 8 * codec("max-qsgd:7").size(d, 8)


@pytest.mark.parametrize(
    ("algorithm", "name", "parameters", "says"),
    [
        ("lead", "top-k:0.1", {}, "lead needs an unbiased compressor"),
        ("lead", "qsgd:15", {"compressor": "qsgd:3"}, "lead is given two codecs"),
        ("beer", "top-k:0.1,step=0.5", {}, "beer compresses by itself"),
        ("dgd", "sign", {}, "codec 'sign' needs a step"),
        ("dgd", "qsgd:1,step=0.1", {}, "no contraction of vectors of length 31"),
        ("dgd", "fp16,step=2", {}, r"no step in \(0, 1\]"),
        ("dgd", "fp16,often", {}, "is no step in"),
        ("dgd", "fp8", {}, "unknown codec 'fp8'"),
        ("dinno", "fp16", {}, "dinno exchanges values and combines them itself"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_remedy(
    algorithm: str, name: str, parameters: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        p2pdo.run(
            "breast-cancer",
            algorithm=algorithm,
            codec=name,
            parameters=parameters,
            on="dense",
            rounds=1,
        )
    assert caught.value.hint


@pytest.mark.parametrize("algorithm", [EdgeAdmm(1.0), ChocoGossip()])
def test_values_that_a_method_combines_itself_are_not_coded(algorithm: Algorithm[Any]) -> None:
    run = plan(algorithm, 5, "fp16")
    with pytest.raises(ConfigError, match="is for values that are mixed") as caught:
        list(settings.iterates(run))
    assert caught.value.hint


def test_a_run_that_diverges_is_told_as_such_whatever_is_kept() -> None:
    costs = [Quadratic(np.eye(40), np.ones(40)) for _ in range(3)]
    for algorithm, name in ((GradientTracking(1e3), "top-k:0.05"), (Lead(1e3), "qsgd:15")):
        with pytest.raises(WorkloadFailed, match="not finite"):
            p2pdo.run(
                costs, algorithm=algorithm, codec=name, on="dense", rounds=2000, start="normal"
            )


# ---- what a neighbour sends ----


def coder(name: str = "fp16") -> Coder:
    coding = coding_of(name)
    assert coding is not None
    row = Row(((0, 0.5), (1, 0.5)))
    return Coder(coding, Place(0, "a", (1,), (1,), row, {1: "b"}), 0)


TAG = Tag(3, 0, EffectKind.MIX)


def encode(one: Coder, *values: Any) -> Any:
    return one.encode(TAG, values, values, Mix(values).by)


@pytest.mark.parametrize("theirs", [np.zeros(3, np.uint8), np.zeros(10), 1.0, (1.0,)])
def test_what_is_no_value_like_the_own_one_is_refused_with_its_sender(theirs: Any) -> None:
    one = coder()
    encode(one, np.ones(4))
    with pytest.raises(RemoteProtocolError, match="what b sent is no value") as caught:
        one.mix({1: theirs})
    assert (caught.value.node, caught.value.iteration) == ("b", 3)


def test_a_value_of_arrays_and_numbers_is_sent_as_one_array_of_bytes() -> None:
    value = {"w": np.arange(6.0).reshape(2, 3), "n": 4, "ok": True, "k": np.arange(3)}
    one, other = coder(), coder()
    sent = encode(one, value, 0.5)
    assert sent.dtype == np.uint8
    assert len(sent) == codec("fp16").size(6, 8) + 8 + 1 + 3 * 8 + 8
    encode(other, value, 0.5)
    mixed, half = other.mix({1: sent})
    assert half == 0.5
    assert np.abs(mixed["w"] - value["w"]).max() <= 5 * 2.0**-11
    assert (mixed["n"], mixed["ok"]) == (4.0, 1.0)
    assert mixed["k"].tolist() == [0, 1, 2]


def test_another_layout_begins_anew() -> None:
    one = coder("top-k:0.5")
    for length in (4, 6, 6):
        sent = encode(one, np.ones(length))
        one.mix({1: sent})
    assert one.memory[0].own[0].tolist() == [1] * 6
