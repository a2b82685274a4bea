"""Effects: all that an algorithm can ask of the network.

A step is a generator. It *asks* for an exchange by yielding one of three effects and is resumed
with the reply; it knows no socket, thread or clock. Who answers, a loop in one process or eight
hospitals, is not its business:

    x_mixed, y_mixed = yield from mix(x, y)            # Σⱼ wᵢⱼ xⱼ and Σⱼ wᵢⱼ yⱼ, self included
    theirs = yield from exchange(x)                    # {in-neighbour: its x}
    theirs = yield from exchange_each({j: z_ij, …})    # one message per out-neighbour
    x, y = yield from mix(x, y, by=(By.PULL, By.PUSH)) # each value by a matrix of its own

By is who sets the weights. `PULL`, the default: the receiver, from its row of the workload's W.
`PUSH`: the sender, who parts its value into equal shares for itself and its out-neighbours; those
weights are column stochastic on every graph, and nobody needs to know more than its own
out-degree.

What is sent is frozen (`writeable = False`) and passed by reference: no receiver can change what
another receives. Weighted sums start from zero and add wᵢⱼ·xⱼ in the order of the workload's
node list, self in its place, multiply and add as separate operations, and never in the order of
arrival. This, and nothing else, makes the bits of a result independent of the network. Of float16
and bfloat16 the sum is taken in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np
from numpy import ndarray

from p2pdo.dtypes import DTYPES, is_bfloat16, is_half
from p2pdo.errors import LocalProtocolError
from p2pdo.types import Array, Plain, Value

V = TypeVar("V")
W = TypeVar("W")
S = TypeVar("S")


class By(Enum):
    """Who sets the weights of a mixed value."""

    PULL = "the receiver, from W"
    PUSH = "the sender, in equal shares"


class Mix(NamedTuple):
    """Asks for the weighted sums of these values over self and in-neighbours.

    `by` names who sets the weights of each value; where it is empty, all are pulled.
    """

    values: tuple[Value, ...]
    by: tuple[By, ...] = ()


class Exchange(NamedTuple):
    """Sends one value to every out-neighbour; asks for every in-neighbour's."""

    value: Value


class ExchangeEach(NamedTuple):
    """Sends each out-neighbour its own value; asks for what every in-neighbour sent here."""

    values: Mapping[int, Value]


Effect: TypeAlias = Mix | Exchange | ExchangeEach
Step: TypeAlias = Generator[Effect, Any, S]
"""A step in progress: yields effects, is sent their replies, returns the next state."""


@overload
def mix(value: V, /, *, by: By = By.PULL) -> Step[V]: ...
@overload
def mix(
    first: V, second: W, /, *rest: Value, by: By | tuple[By, ...] = By.PULL
) -> Step[tuple[Any, ...]]: ...
def mix(*values: Any, by: By | tuple[By, ...] = By.PULL) -> Step[Any]:
    """Weighted sums Σⱼ wᵢⱼ vⱼ over self and in-neighbours: one for one value, else a tuple.

    `by` is one for all values or one for each.

    Raises:
        LocalProtocolError: `by` names another number of values.
    """
    mixed = yield Mix(values, () if by is By.PULL else _one_by_one(by, len(values)))
    return mixed[0] if len(values) == 1 else mixed


def _one_by_one(by: By | tuple[By, ...], count: int) -> tuple[By, ...]:
    """One for each value; none where all are pulled."""
    each = (by,) * count if isinstance(by, By) else tuple(by)
    if len(each) != count:
        raise LocalProtocolError(
            f"mix has {count} values and {len(each)} weights in by",
            hint="give one By for all values, or one for each",
        )
    return each if By.PUSH in each else ()


def exchange(value: V) -> Step[Mapping[int, V]]:
    """Every in-neighbour's value, by its index."""
    received: Mapping[int, V] = yield Exchange(value)  # type: ignore[arg-type]
    return received


def exchange_each(values: Mapping[int, V]) -> Step[Mapping[int, V]]:
    """What every in-neighbour sent to this node, by the sender's index.

    `values` must name exactly the out-neighbours.
    """
    received: Mapping[int, V] = yield ExchangeEach(values)  # type: ignore[arg-type]
    return received


@dataclass(frozen=True)
class Here:
    """Where and when a step runs.

    Its generators are made afresh in each iteration, so a node's k-th mini-batch is a function
    of (seed, node, k) and there is no generator state to keep.

    `row` is the node's row of W, for sums over what an `exchange` brought: values that are decoded
    or clipped before they are weighted.
    """

    iteration: int
    node: int
    in_neighbors: tuple[int, ...]
    out_neighbors: tuple[int, ...]
    seed: int = 0
    row: Row = field(default_factory=lambda: Row(()))

    def at(self, iteration: int) -> Here:
        """The same node in another iteration. One is made in each, so it is made cheaply."""
        there = object.__new__(type(self))
        there.__dict__.update(self._fixed, iteration=iteration)
        return there

    @cached_property
    def _fixed(self) -> dict[str, Any]:
        """What does not change with the iteration."""
        names = [each.name for each in fields(self)]
        return {name: getattr(self, name) for name in names if name != "iteration"}

    @cached_property
    def rng(self) -> np.random.Generator:
        """This node's generator for this iteration."""
        return np.random.default_rng([self.seed, 0, self.node, self.iteration])

    def data_rng(self) -> np.random.Generator:
        """A new generator for this iteration's mini-batch, in the same state at every call.

        It is another than `rng`: what an algorithm draws changes no mini-batch.
        """
        return np.random.default_rng([self.seed, 7, self.node, self.iteration])

    @cached_property
    def common_rng(self) -> np.random.Generator:
        """A generator for this iteration that draws the same on all nodes."""
        return np.random.default_rng([self.seed, 1, self.iteration])


@dataclass(frozen=True)
class VaryingHere(Here):
    """The same where W depends on the iteration: `row` is that iteration's."""

    def at(self, iteration: int) -> Here:
        there = super().at(iteration)
        there.__dict__["row"] = self.row.at(iteration)
        return there


@dataclass(frozen=True)
class Row:
    """One node's row of the mixing matrix: (index, weight) in node order, self included."""

    varies: ClassVar[bool] = False
    """Whether it depends on the iteration: then this is the mean, and `at` tells each."""

    entries: tuple[tuple[int, float], ...]

    def at(self, iteration: int) -> Row:  # noqa: ARG002 - see `graphs.schedules`
        """The row of an iteration."""
        return self

    def to_plain(self) -> Plain:
        """What a node is told of how it varies; None where it does not."""
        return None

    def weighted_sum(self, values: Mapping[int, Value]) -> Value:
        """Σⱼ wⱼ vⱼ, from zero, in node order; over nested values leaf by leaf."""
        return self._sum([values[j] for j in self._order])  # type: ignore[no-any-return]

    @cached_property
    def _order(self) -> tuple[int, ...]:
        return tuple([j for j, _ in self.entries])

    @cached_property
    def _weights(self) -> tuple[float, ...]:
        return tuple([w for _, w in self.entries])

    @cached_property
    def _typed_weights(self) -> dict[np.dtype[Any], tuple[Array, list[Array]]]:
        return {}

    def _weights_as(self, dtype: np.dtype[Any]) -> tuple[Array, list[Array]]:
        """Zero and the weights as arrays without axes: NumPy would make them anew in each sum."""
        typed = self._typed_weights.get(dtype)
        if typed is None:
            weights = [np.array(w, dtype) for w in self._weights]
            typed = self._typed_weights[dtype] = np.zeros((), dtype), weights
        return typed

    def _sum(self, values: Sequence[Any]) -> Any:
        first = values[0]
        if isinstance(first, tuple):
            return tuple(map(self._sum, zip(*values, strict=True)))
        if isinstance(first, ndarray):
            return self._array_sum(values)
        if isinstance(first, dict):
            return {key: self._sum([v[key] for v in values]) for key in first}
        return _scalar_sum(self._weights, values)

    def _array_sum(self, arrays: Sequence[Array]) -> Array:
        first = arrays[0]
        dtype, size = first.dtype, first.size
        if size == 1 and dtype is _FLOAT64:  # a Python float is one too, and faster
            one = np.empty(first.shape)
            one.fill(_scalar_sum(self._weights, map(ndarray.item, arrays)))
            return one
        if dtype.kind not in "fc" or dtype.itemsize == _HALF:
            if is_half(dtype):
                return self._half_sum(arrays)
            dtype = _FLOAT64
        zero, weights = self._weights_as(dtype)
        if size <= _FEW:
            total = sum(map(np.multiply, weights, arrays), zero)
            if type(total) is ndarray and total.shape == first.shape and total.dtype == dtype:
                return total
        if size > _BLOCK and all(v.flags.c_contiguous for v in arrays):
            total = np.empty(first.shape, dtype)
            _add_blocks(total.reshape(-1), weights, [v.reshape(-1) for v in arrays])
            return total
        total = np.zeros(first.shape, dtype)
        for w, v in zip(weights, arrays, strict=True):
            total += w * v
        return total

    def _half_sum(self, arrays: Sequence[Array]) -> Array:
        """In float32, block by block; see `dtypes.summed_in`."""
        first = arrays[0]
        weights = self._weights_as(_FLOAT32)[1]
        flat = [np.ascontiguousarray(v).reshape(-1) for v in arrays]
        total = np.empty(first.shape, first.dtype)
        rounded = total.reshape(-1)
        for at in range(0, first.size, _BLOCK):
            block = np.zeros(min(_BLOCK, first.size - at), _FLOAT32)
            for w, v in zip(weights, flat, strict=True):
                product = v[at : at + _BLOCK].astype(_FLOAT32)
                product *= w
                block += product
            rounded[at : at + _BLOCK] = block
        return total


_FEW = 1 << 10
"""Entries of which new arrays are made faster than old ones are changed."""

_BLOCK = 1 << 15
"""Entries of every array that are added up while they are in the processor's cache."""


def _add_blocks(total: Array, weights: Sequence[Array], arrays: Sequence[Array]) -> None:
    """Block by block: the bits are the same, and neither zeros nor products are kept whole."""
    product = np.empty(_BLOCK, total.dtype)
    zero = total.dtype.type(0)
    for at in range(0, total.size, _BLOCK):
        block = total[at : at + _BLOCK]
        np.multiply(arrays[0][at : at + _BLOCK], weights[0], out=block)
        block += zero  # the first to be added to it: of -0 it makes 0
        for w, v in zip(weights[1:], arrays[1:], strict=True):
            block += np.multiply(v[at : at + _BLOCK], w, out=product[: len(block)])


_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
_HALF = 2  # bytes


def _scalar_sum(weights: Sequence[float], scalars: Iterable[Any]) -> Any:
    total: Any = 0.0
    for w, v in zip(weights, scalars):  # noqa: B905 - as many: one for each entry of the row
        total = total + w * v
    return total


_DTYPE_NUMBERS = frozenset(
    dtype.num for dtype in map(np.dtype, np.typecodes["All"]) if dtype.name in DTYPES
)


def freeze(value: V) -> V:
    """The value as every receiver gets it, on every transport; arrays are read-only.

    A view, a non-contiguous or a byte-swapped array is copied first; others are frozen in place,
    which is what catches an algorithm that would change what it has already sent. NumPy's scalars
    become Python's and named tuples plain ones, because that is what arrives over a wire.

    Raises:
        LocalProtocolError: the value holds something that cannot be sent.
    """
    if type(value) is ndarray:
        return _freeze_array(value)  # type: ignore[arg-type, return-value]
    return _freeze(value)  # type: ignore[no-any-return]


def _freeze(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple([_freeze_array(v) if type(v) is ndarray else _freeze(v) for v in value])
    if isinstance(value, ndarray):
        return _freeze_array(value)
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _freeze(item) for key, item in value.items()}
    scalar = value.item() if isinstance(value, np.generic) else value
    if isinstance(scalar, float) or (isinstance(scalar, int) and -_INT_END <= scalar < _INT_END):
        return scalar
    raise LocalProtocolError(
        f"{type(value).__name__} {str(value)[:40]} cannot be exchanged",
        hint="exchange arrays, numbers, or tuples and dicts (with names as keys) of them",
    )


_INT_END = 1 << 63


def _freeze_array(a: Array) -> Array:
    dtype, layout = a.dtype, a.flags.num
    if dtype.num not in _DTYPE_NUMBERS and not is_bfloat16(dtype):
        raise LocalProtocolError(
            f"an array of dtype {dtype} cannot be exchanged",
            hint=f"use one of {', '.join(DTYPES)}",
        )
    if layout & _OWN_IN_ORDER != _OWN_IN_ORDER or not dtype.isnative:
        a = np.array(a, dtype=dtype.newbyteorder("="), order="C", copy=True)
        a.setflags(write=False)
    elif layout & _WRITEABLE:
        a.setflags(write=False)
    return a


_OWN_IN_ORDER = 0x001 | 0x004
"""Of `flags.num`: NPY_ARRAY_C_CONTIGUOUS and NPY_ARRAY_OWNDATA. One look costs half of two."""

_WRITEABLE = 0x400
"""NPY_ARRAY_WRITEABLE."""
