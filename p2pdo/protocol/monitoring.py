"""The monitor holds all nodes' states to what their method keeps, while the run lasts.

Each node hands in its state at the boundaries that are watched; the sums of an iteration are looked
at when the last of its nodes has. Only who runs all nodes in one process has a monitor: a node's
part of a sum is as telling as its state, so none leaves a node for it.

What rounding leaves grows with the iterations and with the largest entry that any state has had:

    tolerance at iteration k = 1e-10 (k + 1) N max |entry|        or 64 roundings for 1e-10

A sum beyond it ends the run with the invariant's name and the iteration. Whose part is wrong a sum
does not say, so no node is named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from p2pdo.algorithms.invariants import Invariant
from p2pdo.errors import InvariantBroken
from p2pdo.protocol.plan import Plan
from p2pdo.types import Array

SLACK = 1e-10
"""What an iteration may add, of the largest entry: weights that sum to one are checked to it."""

ROUNDINGS = 64
"""The same where the states' dtype is coarser."""


class Monitor:
    """One run's."""

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
        self._note_size(state)
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
        self._note_size(stacked)
        sums = [np.sum(each.part(stacked), axis=0) for each in self._invariants]
        self._check(iteration, sums, stacked.x.dtype)

    def _note_size(self, state: Any) -> None:
        for array in map(np.asarray, state):
            if array.dtype.kind == "f" and array.size:
                largest = float(np.abs(array).max())
                if np.isfinite(largest):  # what is not is told by whoever sends it
                    self._largest = max(self._largest, largest)

    def _check(self, iteration: int, sums: Sequence[Array], dtype: np.dtype[Any]) -> None:
        slack = max(SLACK, ROUNDINGS * float(np.finfo(dtype).eps))
        tolerance = slack * (iteration + 1) * self._nodes * self._largest
        for invariant, total in zip(self._invariants, sums, strict=True):
            off = float(np.abs(total).max(initial=0.0))
            if off > tolerance:
                raise InvariantBroken(
                    f"the invariant '{invariant.name}' is broken: over the {self._nodes} nodes it "
                    f"is off by {off:.3g}, where rounding explains {tolerance:.1g}",
                    hint="look at the step's signs and weights, or at a node whose row of W is not "
                    "that of its neighbours; --monitor off runs on",
                    iteration=iteration,
                )


def monitor_of(plan: Plan) -> Monitor | None:
    """The plan's, if it asks for one and its method says what it keeps."""
    invariants = plan.algorithm.invariants
    if plan.monitor_every is None or not invariants:
        return None
    return Monitor(invariants, plan.nodes, plan.monitor_every)


Watch: TypeAlias = Callable[[int, int, Any], None]
"""watch(node, iteration, state), at each boundary."""
