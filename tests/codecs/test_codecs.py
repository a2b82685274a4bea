"""Codecs: their laws, what they send, and names that are wrong."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import numpy as np
import pytest

from p2pdo.codecs import CODECS, Codec, Float16, Qsgd, TopK, catalogue, codec
from p2pdo.codecs.base import require_contraction
from p2pdo.errors import ConfigError, RemoteProtocolError
from p2pdo.testing import codec_laws
from p2pdo.types import Array
from p2pdo.wire.arrays import pack, unpack

D = 40
ALL = [
    *("none", "fp16", "bf16", "top-k:0.1", "top-k:0.01", "top-k:1", "rand-k:0.1", "sign"),
    *("qsgd:1", "qsgd:15", "scaled-qsgd:2", "max-qsgd:1", "max-qsgd:15", "max-qsgd:127"),
]


def test_every_codec_of_the_catalogue_is_held_to_the_laws() -> None:
    assert {name.partition(":")[0] for name in ALL} == set(CODECS)


@pytest.mark.parametrize("law", codec_laws.LAWS, ids=codec_laws.name_of)
@pytest.mark.parametrize("name", ALL)
def test_law(name: str, law: codec_laws.CodecLaw) -> None:
    law(codec(name))


@dataclass(frozen=True)
class Planted(TopK):
    """Says what it does not do."""

    unbiased: ClassVar[bool] = True

    def contraction(self, d: int) -> float:
        return 0.99


@dataclass(frozen=True)
class Shrinks(Float16):
    def encode(self, v: Array, rng: np.random.Generator) -> Array:
        return super().encode(v, rng)[: 2 + 2 * np.count_nonzero(v)]


@dataclass(frozen=True)
class Unscaled(Float16):
    def encode(self, v: Array, rng: np.random.Generator) -> Array:
        with np.errstate(over="ignore"):
            halves = np.clip(v, -65504, 65504).astype(np.float16)
        return np.concatenate([np.zeros(2, np.uint8), halves.view(np.uint8)])


@pytest.mark.parametrize(
    ("planted", "law"),
    [
        (Planted(0.1), codec_laws.keeps_its_delta),
        (Planted(0.1), codec_laws.is_right_on_average),
        (Shrinks(), codec_laws.sends_what_it_says),
        (Unscaled(), codec_laws.works_at_every_scale),
    ],
)
def test_a_planted_mistake_breaks_its_law(planted: Codec, law: codec_laws.CodecLaw) -> None:
    with pytest.raises(codec_laws.BrokenCodecLaw):
        law(planted)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_what_arrives_over_a_wire_stands_for_the_same_bits(name: str, dtype: str) -> None:
    v = np.random.default_rng(5).standard_t(2, D).astype(dtype)
    sent = codec(name).encode(v, np.random.default_rng(2))
    layout, parts = pack(sent)
    arrived = unpack(layout, b"".join(parts))
    assert codec(name).decode(sent, v).tobytes() == codec(name).decode(arrived, v).tobytes()


@pytest.mark.parametrize(
    ("name", "d", "size"),
    [
        ("none", 40, 320),
        ("fp16", 40, 2 + 80),
        ("bf16", 40, 80),
        ("top-k:0.1", 40, 5 + 4 * 8),  # a bit an entry is less than two bytes for each kept one
        ("top-k:0.01", 40_000, 400 * (2 + 8)),
        ("top-k:0.01", 100_000, 1000 * (4 + 8)),
        ("top-k:0.1", 100_000, 12_500 + 10_000 * 8),
        ("rand-k:0.1", 40, 8 + 4 * 8),
        ("sign", 40, 8 + 5),
        ("qsgd:1", 40, 8 + 10),
        ("qsgd:15", 40, 8 + 25),
        ("max-qsgd:7", 1024, 16 + 512),
    ],
)
def test_what_is_sent_is_small(name: str, d: int, size: int) -> None:
    assert codec(name).size(d, 8) == size
    assert len(codec(name).encode(np.ones(d), np.random.default_rng(0))) == size


def test_equally_large_entries_are_kept_from_the_first_on() -> None:
    kept = codec("top-k:0.5")
    assert kept.decode(kept.encode(np.ones(4), np.random.default_rng(0)), np.ones(4)).tolist() == [
        *(1, 1, 0, 0)
    ]


def test_drawn_entries_are_each_kept_as_often() -> None:
    rng, kept = np.random.default_rng(0), codec("rand-k:0.25")
    often = sum(kept.decode(kept.encode(np.ones(D), rng), np.ones(D)) for _ in range(4000))
    assert np.abs(often / 4000 - 0.25).max() < 5 * (0.25 * 0.75 / 4000) ** 0.5


@pytest.mark.parametrize("length", [4, 40])
def test_bfloat16_is_the_upper_half_of_float32_rounded_to_even(length: int) -> None:
    v = np.array([1 + 2.0**-8, 1 + 3 * 2.0**-8, -(1 + 2.0**-7), 1e39] * (length // 4))
    found = codec("bf16").decode(codec("bf16").encode(v, np.random.default_rng(0)), v)
    largest = float(np.array([0x7F7F0000], np.uint32).view(np.float32)[0])
    assert found[:4].tolist() == [1.0, 1 + 2.0**-6, -(1 + 2.0**-7), largest]


def foreign(name: str) -> list[Array]:
    """Payloads of the right length that stand for nothing."""
    one = codec(name).encode(np.arange(1.0, D + 1), np.random.default_rng(0))
    match name:
        case "none" | "sign" | "qsgd:15":
            one[:8] = np.array([np.nan]).view(np.uint8)
        case "bf16":
            one[:2] = np.array([0x7F80], np.uint16).view(np.uint8)
        case "fp16":
            one[:2] = np.array([32000], np.int16).view(np.uint8)
        case "top-k:0.05":
            one[:2] = one[2:4]
        case "top-k:0.1":
            one[0] = 0xFF
        case "rand-k:0.1":
            one[7] = 0xFF
        case "qsgd:5":
            one[8:] = 0xFF
    return [one]


@pytest.mark.parametrize(
    "name",
    ["none", "fp16", "bf16", "top-k:0.05", "top-k:0.1", "rand-k:0.1", "sign", "qsgd:15", "qsgd:5"],
)
def test_what_stands_for_no_vector_is_refused(name: str) -> None:
    for sent in foreign(name):
        with pytest.raises(RemoteProtocolError, match="a compressed value holds") as caught:
            codec(name).decode(sent, np.zeros(D))
        assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("topk", "unknown codec 'topk'"),
        ("top-k", "does not give the share"),
        ("qsgd:many", "does not give the number of levels"),
        ("qsgd:0", "between 1 and 127"),
        ("top-k:0", r"must lie in \(0, 1\]"),
        ("rand-k:nan", r"must lie in \(0, 1\]"),
        ("sign:2", "takes no number"),
        ("fp16:", "takes no number"),
    ],
)
def test_a_wrong_name_is_refused_with_a_remedy(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        codec(name)
    assert caught.value.hint


def test_what_is_no_contraction_is_refused_where_the_length_is_known() -> None:
    assert Qsgd(1).contraction(D) < 0
    with pytest.raises(ConfigError, match="'qsgd:1' is no contraction of vectors of length 40"):
        require_contraction(Qsgd(1), D, "qsgd:1")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("p2pdo.codecs:TopK", None),
        ("p2pdo.codecs:nothing", "cannot be made"),
        ("numpy:float64", "is no codec"),
    ],
)
def test_codecs_of_other_packages_are_found_by_their_entry_point(
    value: str, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("theirs", value, catalogue.GROUP)

    def installed(**_asked: Any) -> list[EntryPoint]:
        return [entry]

    monkeypatch.setattr("importlib.metadata.entry_points", installed)
    codec.cache_clear()
    if says is None:
        assert codec("theirs:0.2") == TopK(0.2)
        return
    with pytest.raises(ConfigError, match=says):
        codec("theirs:0.2")
