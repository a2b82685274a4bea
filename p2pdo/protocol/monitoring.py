"""The monitor holds all nodes' states to what their method keeps, while the run lasts.

Where all nodes are in one process, each hands in its state at the boundaries that are watched, and
the sums of an iteration are looked at when the last of its nodes has. What rounding leaves grows
with the iterations and with the largest entry that any state has had:

    tolerance at iteration k = 1e-10 (k + 1) N max |entry|        or 64 roundings for 1e-10

Between nodes that keep their states to themselves a part of a sum is as telling as a state, so none
leaves a node as it is. It is multiplied with a random vector r that all nodes draw alike, and that
one number goes to the coordinator under masks, see `masking`: it learns rᵀ(Σ partᵢ) and no
node's part. With entries of r uniform in [−1, 1) a sum whose largest entry is v stays below v/K
with a probability of 1/K at most. It is one vector for the whole run: who sees behind a mask sees a
part along this one direction, however often he looks. The tolerance is the same with
Σᵢ max |entry of node i| for N max |entry|, a second masked sum.

A sum beyond its tolerance ends the run with the invariant's name and the iteration. Whose part is
wrong a sum does not say, so no node is named.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from p2pdo.algorithms.base import Method
from p2pdo.algorithms.catalogue import name_of
from p2pdo.algorithms.invariants import Invariant
from p2pdo.errors import ConfigError, InvariantBroken
from p2pdo.protocol.masking import WIDTH, MaskedSums, Masks
from p2pdo.protocol.plan import Plan
from p2pdo.seeded import unit_of_keys
from p2pdo.types import Array

SLACK = 1e-10
"""What an iteration may add, of the largest entry: weights that sum to one are checked to it."""

ROUNDINGS = 64
"""The same where the states' dtype is coarser."""

DIRECTION_STREAM = 15  # no other generator is made from (seed, 15)
BLOCK = 1 << 16
"""Entries of a vector that are made at a time; the first of them are kept."""

LAST = 1 << 53
"""No honest run comes to this iteration."""

Watch: TypeAlias = Callable[[int, int, Any], None]
"""watch(node, iteration, state), at each boundary."""


class Monitor:
    """One run's, of all nodes."""

    def __init__(self, invariants: Sequence[Invariant], nodes: int, every: int) -> None:
        """Looks at each multiple of `every` iterations."""
        self.every = every
        self._invariants = invariants
        self._nodes = nodes
        self._largest = 0.0
        self._parts: dict[int, dict[int, list[Array]]] = {}  # by iteration and node

    def take(self, node: int, iteration: int, state: Any) -> None:
        """A node's state at a boundary.

        Raises:
            InvariantBroken: it is the last of its iteration, and a sum is not what it should be.
        """
        if iteration % self.every:
            return
        parts = self._parts.setdefault(iteration, {})
        parts[node] = [np.array(each.part(state)) for each in self._invariants]
        self._largest = max(self._largest, largest_entry(state))
        if len(parts) == self._nodes:
            del self._parts[iteration]
            in_order = [parts[i] for i in range(self._nodes)]
            sums = [np.sum(same, axis=0) for same in zip(*in_order, strict=True)]
            self._check(iteration, sums, state.x.dtype)

    def take_all(self, iteration: int, stacked: Any) -> None:
        """All nodes' states in one, whose arrays have a first axis for the nodes.

        Raises:
            InvariantBroken: a sum is not what it should be.
        """
        if iteration % self.every:
            return
        self._largest = max(self._largest, largest_entry(stacked))
        sums = [np.sum(each.part(stacked), axis=0) for each in self._invariants]
        self._check(iteration, sums, stacked.x.dtype)

    def _check(self, iteration: int, sums: Sequence[Array], dtype: np.dtype[Any]) -> None:
        tolerance = _slack(dtype) * (iteration + 1) * self._nodes * self._largest
        for invariant, total in zip(self._invariants, sums, strict=True):
            off = float(np.abs(total).max(initial=0.0))
            if off > tolerance:
                raise _broken(invariant.name, self._nodes, iteration, off, tolerance)


class Hiding:
    """One node's side of a monitor that sees no states."""

    def __init__(
        self,
        invariants: Sequence[Invariant],
        every: int,
        seed: int,
        masks: Callable[[], Masks],
        tell: Callable[[int, bytes], None],
    ) -> None:
        """`tell` is called with each watched iteration and what is told of it.

        `masks` is asked at the first of them.
        """
        self._invariants = invariants
        self._every = every
        self._directions = [_Direction((seed, DIRECTION_STREAM, i)) for i in range(len(invariants))]
        self._make_masks = masks
        self._masks: Masks | None = None
        self._tell = tell
        self._largest = 0.0

    def take(self, _node: int, iteration: int, state: Any) -> None:
        """The node's state at a boundary. One that is not finite is told by whoever sends it."""
        if iteration % self._every:
            return
        self._largest = max(self._largest, largest_entry(state))
        both = zip(self._invariants, self._directions, strict=True)
        numbers = [direction.along(each.part(state)) for each, direction in both]
        numbers.append(_slack(state.x.dtype) * self._largest)
        if all(map(math.isfinite, numbers)):
            self._masks = self._masks or self._make_masks()
            self._tell(iteration, self._masks.hide(iteration, numbers))


class _Direction:
    """A random vector, of the stream's; it is made anew at each use where it is long."""

    def __init__(self, stream: tuple[int, ...]) -> None:
        self._stream = stream
        self._kept: Array | None = None

    def along(self, part: Array) -> float:
        """The vector times an array of any shape, over the root of the number of entries."""
        flat = np.asarray(part).ravel()
        if self._kept is None:
            self._kept = self._entries(0, min(flat.size, BLOCK))
        total = float(self._kept @ flat[:BLOCK])
        for begin in range(BLOCK, flat.size, BLOCK):
            block = flat[begin : begin + BLOCK]
            total += float(self._entries(begin, len(block)) @ block)
        return total / math.sqrt(max(1, flat.size))

    def _entries(self, begin: int, number: int) -> Array:
        keys = np.arange(begin, begin + number, dtype=np.uint64)
        entries: Array = 2 * unit_of_keys(keys, self._stream) - 1
        return entries


class MaskedMonitor:
    """One run's where nobody sees states: what all nodes' `Hiding` tell."""

    def __init__(self, names: Sequence[str], nodes: int, every: int) -> None:
        """`names` are the invariants', in their order."""
        self._names = names
        self._nodes = nodes
        self._every = every
        self.sums = MaskedSums(nodes, every)

    def expects(self, iteration: int, hidden: bytes) -> bool:
        """Whether a node may tell this of that iteration."""
        is_watched = 0 < iteration < LAST and iteration % self._every == 0
        return is_watched and len(hidden) == WIDTH * (len(self._names) + 1)

    def take(self, node: int, iteration: int, hidden: bytes) -> None:
        """What a node tells of an iteration; something that it `expects`.

        Raises:
            InvariantBroken: it is the last of its iteration, and a sum is not what it should be.
        """
        sums = self.sums.add(node, iteration, hidden)
        if sums is None:
            return
        *totals, scale = sums
        tolerance = (iteration + 1) * scale
        for name, total in zip(self._names, totals, strict=True):
            if abs(total) > tolerance:
                raise _broken(name, self._nodes, iteration, abs(total), tolerance)


def monitor_of(plan: Plan) -> Monitor | None:
    """The plan's, if it asks for one and its method says what it keeps."""
    invariants = plan.algorithm.invariants
    if plan.monitor_every is None or not invariants:
        return None
    return Monitor(invariants, plan.nodes, plan.monitor_every)


def require_invariants(cls: type[Method]) -> None:
    """Refuses to look where nothing is said to be kept.

    Raises:
        ConfigError: the method declares no invariants.
    """
    if not cls.invariants:
        raise ConfigError(
            f"{name_of(cls)} does not say what its states keep: there is nothing to monitor",
            hint="leave --monitor out",
        )


def largest_entry(state: Any) -> float:
    """The largest of a state; of arrays that are not finite none: whoever sends them tells."""
    largest = 0.0
    for array in map(np.asarray, state):
        if array.dtype.kind == "f" and array.size:
            of_it = float(np.abs(array).max())
            largest = max(largest, of_it) if math.isfinite(of_it) else largest
    return largest


def _slack(dtype: np.dtype[Any]) -> float:
    return max(SLACK, ROUNDINGS * float(np.finfo(dtype).eps))


def _broken(name: str, nodes: int, iteration: int, off: float, tolerance: float) -> InvariantBroken:
    return InvariantBroken(
        f"the invariant '{name}' is broken: over the {nodes} nodes it "
        f"is off by {off:.3g}, where rounding explains {tolerance:.1g}",
        hint="look at the step's signs and weights, or at a node whose row of W is not "
        "that of its neighbours; --monitor off runs on",
        iteration=iteration,
    )
