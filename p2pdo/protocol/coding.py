"""Coding: what is mixed goes over the wire as few bytes, and is mixed as if nothing were left out.

What a node sends of a value v is not Q(v), whose error would stay however long a run is, but what
is new against a copy v̂ that its receivers have too, because it changes by nothing but what they
are sent. With q = Q(v − v̂) and v̂⁺ = v̂ + q at the sender and at each receiver, a mixed value is

    vᵢ + γ (Σⱼ wᵢⱼ v̂ⱼ⁺ − v̂ᵢ⁺)                                     in matrices V + γ (W − I) V̂⁺

What Q leaves out of v stays in v − v̂ and is sent later: the copies are the error feedback, and
where values converge the error goes to zero with them, for every contraction Q.

Why the own term is the exact v and the own copy, and neither of them alone: 1ᵀ(W − I) = 0 where W
is doubly stochastic, so the mean of what is mixed is the mean of V to the last bit that rounding
leaves, whatever Q does. Methods stand on that: the mean of gradient tracking's y is the mean
gradient, the mean of EXTRA's x moves by the mean gradient. With the exact v and no own copy,
wᵢᵢvᵢ + Σ wᵢⱼ v̂ⱼ, each iteration would add the mean of the errors, and a tracker would keep them for
good. With the copy alone, Σ wᵢⱼ v̂ⱼ, likewise. A sender's equal shares (`By.PUSH`) are column
stochastic, and it is the same: û is the copy of a share u = v/m, and m of them make v̂.

γ is a lazier W: V + γ(W − I)V̂ is (1 − γ)I + γW, of the copies. If Q leaves out at most √(1 − δ) of
a difference, averaging with it converges for all γ below (1/√(1 − δ) − 1) / (2 ‖I − W‖): the copies
then catch up faster than the values move (`step_for`). It is a bound for the worst Q of that δ.

A node keeps v̂ᵢ and the sum over the copies of those it hears, by the number of the exchange within
an iteration; they are zero in the beginning. Arrays of 32 and 64 bit floats are coded, all else is
sent as it is. Random codecs draw as a function of (seed, node, iteration, exchange, part), so the
bits are the same on every executor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from p2pdo import codecs
from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.base import Algorithm, Method
from p2pdo.algorithms.catalogue import name_of
from p2pdo.codecs.base import Codec, Parts, as_bytes, require_contraction
from p2pdo.effects import By, Row
from p2pdo.errors import ConfigError, RemoteProtocolError
from p2pdo.graphs.weights import Weights
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.types import Array, Plain, Value

if TYPE_CHECKING:
    from p2pdo.protocol.exchanging import Place

NONE = "none"
STREAM = 11  # no other generator is made from (seed, 11, …)
COMPRESSOR = "compressor"
"""The parameter of a method that compresses by itself."""

_STEP = "step="


@dataclass(frozen=True)
class Coding:
    """How a run's mixed values are coded.

    Attributes:
        name: the codec's.
        step: γ in (0, 1].
    """

    name: str
    codec: Codec
    step: float

    def __str__(self) -> str:
        """As it is asked for, with γ."""
        return f"{self.name},{_STEP}{self.step!r}"

    def rng(self, seed: int, node: int, tag: Tag, part: int) -> np.random.Generator:
        """What the codec draws from for one array; one that draws nothing needs none made."""
        where = (node, tag.iteration, tag.phase, part) if self.codec.draws else ()
        return np.random.default_rng([seed, STREAM, *where]) if where else _unused()


@cache
def _unused() -> np.random.Generator:
    return np.random.default_rng(0)


def split(text: str) -> tuple[str, float | None]:
    """The codec's name in NAME[:NUMBER][,step=γ], and γ where it is given.

    Raises:
        ConfigError: there is no such codec, or γ is no number in (0, 1].
    """
    name, comma, rest = text.partition(",")
    codecs.codec(name)
    if not comma:
        return name, None
    try:
        step = float(rest.removeprefix(_STEP)) if rest.startswith(_STEP) else math.nan
    except ValueError:
        step = math.nan
    if not 0 < step <= 1:
        raise ConfigError(
            f"'{rest}' of codec '{text}' is no step in (0, 1]", hint=f"for example {name},step=0.2"
        )
    return name, step


def coding_of(text: str) -> Coding | None:
    """How a run is coded; None where nothing is.

    Raises:
        ConfigError: there is no such codec, or no γ for it that is safe on vectors of any length.
    """
    name, step = split(text)
    if name == NONE:
        return None
    operator = codecs.codec(name)
    if step is None and not operator.least:
        raise ConfigError(
            f"codec '{name}' needs a step: what it leaves out depends on the vectors",
            hint=f"for example {name},step=0.1; smaller where that diverges",
        )
    return Coding(name, operator, step_for(operator.least) if step is None else step)


def coder_of(text: str, dimension: int, place: Place, seed: int) -> Coder | None:
    """Codes what one node mixes; None where nothing is coded.

    Raises:
        ConfigError: as `coding_of`, or the codec is no contraction of vectors of this length.
    """
    coding = None if text == NONE else coding_of(text)
    if coding is None:
        return None
    require_contraction(coding.codec, dimension, coding.name)
    return Coder(coding, place, seed)


def settle(
    algorithm: type[Method], parameters: Mapping[str, Plain], text: str
) -> tuple[dict[str, Plain], str]:
    """The parameters and the codec that a method takes: one that compresses takes it as its own.

    Raises:
        ConfigError: there is no such codec, or the method is given another compressor as well.
    """
    name, step = split(text)
    if name == NONE or COMPRESSOR not in {f.name for f in fields(algorithm)}:  # type: ignore[arg-type]
        return dict(parameters), text
    own = name_of(algorithm)
    if step is not None:
        raise ConfigError(
            f"{own} compresses by itself: 'step=' of codec '{text}' is none of its parameters",
            hint=f"--codec {name} --set consensus_step=…; see p2pdo algorithms {own}",
        )
    if parameters.get(COMPRESSOR, name) != name:
        raise ConfigError(
            f"{own} is given two codecs: '{name}' and compressor={parameters[COMPRESSOR]}",
            hint="leave one of them out",
        )
    return {**parameters, COMPRESSOR: name}, NONE


_MIXING = (
    "leave the codec out, or take a method that compresses by itself (beer, lead, choco-sgd) or "
    "one that mixes (gradient-tracking, dgd, extra, nids)"
)


def require_codable(algorithm: type[Method], weights: Weights) -> None:
    """Refuses what copies at the receivers cannot follow.

    Raises:
        ConfigError: says what.
    """
    if issubclass(algorithm, AsynchronousAlgorithm):
        raise ConfigError(
            f"{name_of(algorithm)} is asynchronous, and a codec needs receivers that hear every "
            "value",
            hint="leave --codec out",
        )
    if issubclass(algorithm, Algorithm) and not algorithm.mixes:
        raise ConfigError(
            f"a codec is for values that are mixed, and {name_of(algorithm)} exchanges values and "
            "combines them itself",
            hint=_MIXING,
        )
    if weights.varies:
        raise ConfigError(
            "a codec needs weights that stay, and these vary with the iteration",
            hint="leave --codec out, or take another topology or --weights metropolis",
        )


def lazier(weights: Weights, step: float) -> Weights:
    """(1 − γ)I + γW: what a run that is coded mixes by, but for what Q leaves out."""
    own = weights.indices == weights.rows
    data = step * weights.data + np.where(own, 1 - step, 0.0)
    return Weights(weights.indptr, weights.indices, data)


def step_for(delta: float) -> float:
    """A γ for which averaging converges with every contraction of this δ, on every network.

    With e = v − v̂ and A = γ(I − W), v⁺ = (I − A)v + Ae and ‖e⁺‖ ≤ ρ‖(I + A)e − Av‖, ρ = √(1 − δ).
    For symmetric W and A ≤ I the first gives, off the mean, summed over a run and up to where it
    began, ‖v‖ ≤ ‖e‖; the second (1 − ρ(1 + ‖A‖))‖e‖ ≤ ρ‖A‖‖v‖. Both shrink where
    ρ(1 + 2‖A‖) < 1, and ‖A‖ ≤ 2γ.
    """
    rho = math.sqrt(1 - min(delta, 1.0))
    return 1.0 if rho < 1 / 5 else (1 / rho - 1) / 4


class Slot(NamedTuple):
    """What is kept of one exchange of an iteration: one array for each that is coded."""

    own: tuple[Array, ...]  # the copies v̂ᵢ, of what is sent
    sums: tuple[Array, ...]  # Σⱼ wᵢⱼ v̂ⱼ


class Coder:
    """One node's coding.

    Attributes:
        memory: the slots by the exchange's number within an iteration; replaced and never
            changed, so a copy of the mapping is a copy of the state.
    """

    def __init__(self, coding: Coding, place: Place, seed: int) -> None:
        self.memory: dict[int, Slot] = {}
        self._coding = coding
        self._seed = seed
        self._place = place
        senders = sorted((place.node, *place.in_neighbors))
        self._rows = {By.PULL: place.row, By.PUSH: Row(tuple((j, 1.0) for j in senders))}
        self._copies = {
            By.PULL: 1,
            By.PUSH: 1 + len(place.out_neighbors),
        }  # m, where v is m times what is sent
        self._tag = Tag(0, 0, EffectKind.MIX)
        self._values: tuple[Value, ...] = ()
        self._leaves: list[_Leaf] = []  # of the exchange that is on its way

    def refuse(self) -> ConfigError:
        """What is told of an exchange whose values are not mixed."""
        return ConfigError(
            f"codec '{self._coding.name}' is for values that are mixed; this method exchanges "
            "values and combines them itself, though it does not declare `mixes = False`",
            hint=_MIXING,
        )

    def encode(
        self, tag: Tag, values: tuple[Value, ...], sent: tuple[Value, ...], by: tuple[By, ...]
    ) -> Array:
        """The bytes that go to every out-neighbour.

        `sent` is what would be sent without a codec: `values`, or a receiver's share of each.
        """
        self._tag, self._values = tag, values
        how = [by[k] if by else By.PULL for k, value in enumerate(sent) for _ in leaves_of(value)]
        each = list(zip(leaves_of(values), leaves_of(sent), how, strict=True))
        copies = iter(self._slot(tag, [share for _, share, _ in each if is_coded(share)]).own)
        self._leaves = []
        parts: list[Array] = []
        for part, (whole, share, who) in enumerate(each):
            if not is_coded(share):
                parts.append(as_bytes(np.asarray(share).reshape(-1)))
                self._leaves.append(_Leaf(whole, share, who, len(parts[-1])))
                continue
            copy = next(copies)
            rng = self._coding.rng(self._seed, self._place.node, tag, part)
            parts.append(self._coding.codec.encode((share - copy).reshape(-1), rng))
            new = self._decoded(parts[-1], share)
            self._leaves.append(_Leaf(whole, share, who, len(parts[-1]), new, copy + new))
        payload = np.concatenate(parts) if parts else np.empty(0, np.uint8)
        payload.flags.writeable = False
        return payload

    def mix(self, inbox: Mapping[int, Value]) -> tuple[Value, ...]:
        """The mixed values, from what every in-neighbour sent.

        Raises:
            RemoteProtocolError: what one sent stands for no value like the own one.
        """
        place = self._place
        heard = {j: self._read(inbox[j], place.name_of(j)) for j in place.in_neighbors}
        heard[place.node] = [leaf.share if leaf.new is None else leaf.new for leaf in self._leaves]
        coded = [leaf for leaf in self._leaves if leaf.copy is not None]
        sums = iter(self._slot(self._tag, [leaf.share for leaf in coded]).sums)
        kept: list[Array] = []
        mixed: list[Any] = []
        for k, leaf in enumerate(self._leaves):
            total: Any = self._rows[leaf.how].weighted_sum({j: one[k] for j, one in heard.items()})
            if leaf.copy is not None:
                total = next(sums) + total
                kept.append(total)
                mixed.append(self._towards(leaf.whole, total, self._copies[leaf.how] * leaf.copy))
            else:
                mixed.append(self._towards(leaf.whole, total, leaf.whole))
        own = tuple([leaf.copy for leaf in coded if leaf.copy is not None])
        self.memory = {**self.memory, self._tag.phase: Slot(own, tuple(kept))}
        self._leaves = []
        return tuple(_like(self._values, iter(mixed)))

    def _towards(self, whole: Any, total: Any, own: Any) -> Any:
        """V + γ(W − I)V̂, of one leaf; where v̂ = v and γ = 1 nothing but the sum."""
        if own is whole and self._coding.step == 1:
            return total
        return whole + self._coding.step * (total - own)

    def _slot(self, tag: Tag, leaves: Iterable[Array]) -> Slot:
        """What is kept of this exchange; zeros where it was another one."""
        kept = self.memory.get(tag.phase)
        layout = [(a.shape, a.dtype) for a in leaves]
        if kept is None or [(a.shape, a.dtype) for a in kept.own] != layout:
            zeros = tuple([np.zeros(*one) for one in layout])
            return Slot(zeros, zeros)
        return kept

    def _decoded(self, sent: Array, like: Array) -> Array:
        """Q of what is new, in the shape of the whole."""
        return self._coding.codec.decode(sent, like.reshape(-1)).reshape(like.shape)

    def _read(self, sent: Value, name: str) -> list[Any]:
        """A neighbour's leaves; of coded ones what is new."""
        try:
            whole = Parts(sent, sum(leaf.size for leaf in self._leaves))
            return [self._read_leaf(whole.take(np.uint8, leaf.size), leaf) for leaf in self._leaves]
        except RemoteProtocolError as error:
            raise RemoteProtocolError(
                f"what {name} sent is no value like the own one: {error.message}",
                hint=error.hint,
                node=name,
                iteration=self._tag.iteration,
            ) from None

    def _read_leaf(self, piece: Array, leaf: _Leaf) -> Any:
        if leaf.new is not None:
            return self._decoded(piece, leaf.share)
        like = np.asarray(leaf.share)
        exact = Parts(piece, like.nbytes).take(like.dtype, like.size).reshape(like.shape)
        return exact if isinstance(leaf.share, np.ndarray) else exact.item()


class _Leaf(NamedTuple):
    """An array or scalar between being sent and being mixed."""

    whole: Any  # v
    share: Any  # what would be sent without a codec: v, or v/m
    how: By
    size: int  # bytes that are sent
    new: Array | None = None  # q, where it is coded
    copy: Array | None = None  # the copy with it


def is_coded(leaf: Any) -> bool:
    return (
        isinstance(leaf, np.ndarray)
        and leaf.dtype.kind == "f"
        and leaf.dtype.itemsize >= np.dtype(np.float32).itemsize
        and leaf.size > 0
    )


def leaves_of(value: Any) -> Iterator[Any]:
    """Arrays and scalars, in order."""
    if isinstance(value, tuple):
        for item in value:
            yield from leaves_of(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves_of(item)
    else:
        yield value


def _like(value: Any, leaves: Iterator[Any]) -> Any:
    """The next leaves in the structure of `value`."""
    if isinstance(value, tuple):
        return tuple([_like(item, leaves) for item in value])
    if isinstance(value, dict):
        return {key: _like(item, leaves) for key, item in value.items()}
    return next(leaves)
