"""The laws that every codec obeys, for those of the library and for yours.

    from p2pdo.testing import codec_laws

    @pytest.mark.parametrize("law", codec_laws.LAWS, ids=codec_laws.name_of)
    def test_my_codec(law):
        law(MyCodec(0.1))

    restores_shape_and_dtype     of vectors of 1 to 1500 entries, and writes into none of them
    sends_what_it_says           `size` bytes, whatever the vector holds
    is_a_function                equal draws, equal bytes; one that draws nothing needs none
    keeps_its_delta              E‖v − Q(v)‖² ≤ (1 − δ)‖v‖², measured; and `least` is no larger
    is_right_on_average          where it says that it is unbiased
    works_at_every_scale         10⁻³⁰ v and 10³⁰ v too lose no larger share than that
    refuses_other_bytes          a payload that is cut or too long

A law returns if it holds, and raises `BrokenCodecLaw`, an AssertionError; where it has nothing to
say, it is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

from p2pdo.codecs.base import Codec
from p2pdo.errors import RemoteProtocolError
from p2pdo.testing.outcomes import skip
from p2pdo.types import Array

CodecLaw: TypeAlias = Callable[[Codec], None]

LENGTHS = (1, 2, 7, 40, 513, 1500)
DRAWN_LENGTHS = (1, 7, 40, 513)
DRAWS = 100
ROUNDING = 1e-20


class BrokenCodecLaw(AssertionError):
    """A law does not hold; says where."""


def name_of(law: CodecLaw) -> str:
    return law.__name__


def vectors(d: int, dtype: str = "float64") -> Iterator[tuple[str, Array]]:
    """By what they are: with a heavy tail, with one entry, with equal ones, and zero."""
    rng = np.random.default_rng([5, d])
    yield "heavy-tailed", rng.standard_t(2, d).astype(dtype)
    yield "normal", rng.standard_normal(d).astype(dtype)
    yield "one-entry", np.eye(1, d, d // 2, dtype=dtype)[0]
    yield "equal", np.full(d, -0.3, dtype)
    yield "zero", np.zeros(d, dtype)


def through(codec: Codec, v: Array, rng: np.random.Generator) -> Array:
    return codec.decode(codec.encode(v, rng), v)


def restores_shape_and_dtype(codec: Codec) -> None:
    for dtype in ("float32", "float64"):
        for d in LENGTHS:
            for what, v in vectors(d, dtype):
                v.flags.writeable = False
                found = through(codec, v, np.random.default_rng(1))
                _hold(found.shape == v.shape, f"{found.shape} of {d} entries, {what}")
                _hold(found.dtype == v.dtype, f"{found.dtype} of {dtype}, {what}")
                _hold(bool(np.isfinite(found).all()), f"not finite of {d} entries, {what}")
                _hold(what != "zero" or not found.any(), f"zeros of {d} entries are not zero")


def sends_what_it_says(codec: Codec) -> None:
    for dtype in ("float32", "float64"):
        for d in LENGTHS:
            said = codec.size(d, np.dtype(dtype).itemsize)
            for what, v in vectors(d, dtype):
                sent = codec.encode(v, np.random.default_rng(1))
                _hold(sent.dtype == np.uint8, f"sends {sent.dtype}")
                _hold(len(sent) == said, f"{len(sent)} bytes and not {said} of {d}, {what}")


def is_a_function(codec: Codec) -> None:
    for d in LENGTHS:
        for what, v in vectors(d):
            seeds = (3, 3) if codec.draws else (3, 4)
            one, other = (codec.encode(v, np.random.default_rng(seed)) for seed in seeds)
            _hold(one.tobytes() == other.tobytes(), f"other bytes of {d} entries, {what}")


def keeps_its_delta(codec: Codec) -> None:
    for d in DRAWN_LENGTHS:
        delta = codec.contraction(d)
        _hold(codec.least <= max(delta, 0), f"least {codec.least} is above δ = {delta} of {d}")
        for what, v in vectors(d):
            _loses_no_more(codec, v, 1 - delta, f"of {d} entries, {what}")


def is_right_on_average(codec: Codec) -> None:
    """The mean of n draws is off by no more than a mean is, √n less than one draw."""
    if not codec.unbiased:
        skip("it does not declare itself `unbiased`")
    for d in DRAWN_LENGTHS:
        for what, v in vectors(d):
            errors = _errors(codec, v, DRAWS)
            one = float(np.mean(errors**2))
            mean = float(np.mean(errors.mean(axis=0) ** 2))
            bound = 10 * one / DRAWS + ROUNDING
            _hold(mean <= bound, f"its mean is off by {mean:.2g} of {d} entries, {what}")


def works_at_every_scale(codec: Codec) -> None:
    delta = codec.contraction(40)
    for scale in (1e-30, 1e-6, 1e6, 1e30):
        for what, v in vectors(40):
            _loses_no_more(codec, scale * v, 1 - delta, f"{scale:g} times {what}")


def refuses_other_bytes(codec: Codec) -> None:
    v = next(vectors(40))[1]
    sent = codec.encode(v, np.random.default_rng(1))
    for other in (sent[:-1], np.append(sent, sent[:1]), sent.astype(np.uint16), None, 1.0):
        try:
            codec.decode(other, v)
        except RemoteProtocolError as error:
            _hold(bool(error.hint), "is refused without a remedy")
        else:
            raise BrokenCodecLaw(f"{type(codec).__name__}: takes what it has not sent")


LAWS: tuple[CodecLaw, ...] = (
    restores_shape_and_dtype,
    sends_what_it_says,
    is_a_function,
    keeps_its_delta,
    is_right_on_average,
    works_at_every_scale,
    refuses_other_bytes,
)


def _loses_no_more(codec: Codec, v: Array, most: float, where: str) -> None:
    """E‖v − Q(v)‖² ≤ most ‖v‖², as far as that many draws can tell."""
    left = np.sum(_errors(codec, v, DRAWS if codec.draws else 1) ** 2, axis=1)
    unsure = 5 * left.std() / DRAWS**0.5
    bound = most * float(np.sum((v / _largest(v)) ** 2)) * (1 + 1e-9) + unsure + ROUNDING
    _hold(left.mean() <= bound, f"leaves {left.mean():.3g} where {bound:.3g} is said, {where}")


def _errors(codec: Codec, v: Array, draws: int) -> Array:
    """Q(v) − v over the largest entry, a row a draw."""
    rng = np.random.default_rng(1)
    return np.stack([through(codec, v, rng) - v for _ in range(draws)]) / _largest(v)


def _largest(v: Array) -> float:
    return float(np.abs(v).max()) or 1.0


def _hold(holds: bool, message: str) -> None:
    if not holds:
        raise BrokenCodecLaw(message)
