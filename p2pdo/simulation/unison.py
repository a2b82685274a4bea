"""Unison: one step for all nodes of a process, which stand at the same iteration.

What a step of ten floats costs is its calls of Python, and one step on arrays of shape (N, d) makes
as few of them as one node's. It is taken where it has the bits of each node's own:

- of methods whose class says so, `unison = True`, and which a law holds to it;
- where all that it asks for is weighted sums: `Weights.sweep` adds up as each node does;
- with each node's own cost asked for its own gradient, one after the other.

    steppers at a boundary ──▶ Unison, many iterations ──▶ the same steppers at a later one

What cannot be done so, and what goes wrong, leaves the nodes at the last boundary, and from there
they go on by themselves: who fails then fails in a step of its own, which names it. Only a cost
that raises is told at once, because it need not raise twice. Costs that take long are better off
with threads, so a step that holds the loop for longer than a slice, twice in a row, is the last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
from numpy import ndarray

from p2pdo.algorithms.edges import Edges, EveryNode
from p2pdo.effects import By, Mix, freeze
from p2pdo.errors import ConfigError, InvariantBroken
from p2pdo.graphs.weights import Weights, push
from p2pdo.problems.base import Gradient, Problem
from p2pdo.protocol.coding import NONE
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.reports import Report
from p2pdo.protocol.stepper import Stepper, quiet
from p2pdo.protocol.values import Layout, is_finite
from p2pdo.simulation import crowd
from p2pdo.types import Array

LARGEST = 1000
"""Floats of a node beyond which its arithmetic costs more than its calls of Python."""

WAITED = 50
"""How many times as long other programs may keep a thread from its processor."""


class Parted(Exception):
    """There is no such step from here; the steppers are at the last boundary."""


class _OfNode(Exception):
    """What a node's cost raised."""

    def __init__(self, node: int, error: BaseException) -> None:
        super().__init__(node, error)
        self.node, self.error = node, error


def may_step_in_unison(plan: Plan) -> bool:
    """Whether the method says so, and nothing was asked for that is each node's own affair."""
    algorithm = plan.algorithm
    return (
        plan.nodes > 1
        and vars(type(algorithm)).get("unison") is True  # who derives from it has to say it again
        and algorithm.requires.oracle in (Problem, Gradient)
        and len(plan.starts[0]) <= LARGEST
        and not plan.weights.varies
        and plan.drops is None
        and plan.settle is None
        and plan.codec == NONE
    )


class Unison:
    """All nodes of a plan. Used once.

    Attributes:
        iteration: the boundary at which they are.
    """

    def __init__(self, plan: Plan, steppers: Sequence[Stepper[Any]]) -> None:
        """From the boundary of the steppers.

        Raises:
            Parted: costs are drawn anew in each iteration, or states do not stack.
        """
        if any(stepper.is_stochastic for stepper in steppers):
            raise Parted
        self.iteration = steppers[0].iteration
        self._plan = plan
        self._steppers = steppers
        self._state = _stack([stepper.state for stepper in steppers])
        self._like = Layout(tuple(self._state))
        self._costs = _Costs(steppers)
        self._here = EveryNode(0, -1, (), (), plan.seed, edges=_no_edges)
        self._mixed: list[Layout] = []  # what is mixed, by the exchange in an iteration
        self._exchanges = self._bytes = self._gradients = 0  # that no stepper has counted yet
        self._long = 0  # steps in a row

    def advance(self) -> None:
        """One iteration of all nodes.

        Raises:
            Parted: there is none.
            WorkloadFailed: a node's cost raised.
            InvariantBroken: where the run is watched.
        """
        began = time.perf_counter(), time.thread_time()
        counted = self._exchanges, self._bytes, self._gradients
        try:
            with quiet():
                self._state = self._step()
        except _OfNode as of:
            self._exchanges, self._bytes, self._gradients = counted
            self._blame(of.node, of.error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whoever it is of, it comes again
            self._exchanges, self._bytes, self._gradients = counted
            self._part(error)
        self.iteration += 1
        self._show()
        self._long = self._long + 1 if _is_over(crowd.SLICE, *began) else 0
        if self._long > 1:
            self._part()

    def observe(self) -> list[Report]:
        """What all nodes tell at this boundary.

        Raises:
            Parted: a decision variable is not finite.
        """
        if not is_finite(self._state.x):
            self._part()
        self._tell()
        return [stepper.report() for stepper in self._steppers]

    # ---- a step ----

    def _step(self) -> Any:
        step = self._plan.algorithm.step(self._state, self._costs, self._here.at(self.iteration))
        before, reply, k = self._costs.asked, None, 0
        while True:
            try:
                effect = step.send(reply)
            except StopIteration as stop:
                state = stop.value
                break
            reply = self._mix(effect, k)
            k += 1
        if not (type(state) is type(self._state) and self._like.fits(tuple(state))):
            raise TypeError("the state has changed its layout")
        self._exchanges += k
        self._gradients += self._costs.asked - before
        return state

    def _mix(self, effect: Any, k: int) -> tuple[Array, ...]:
        """The k-th exchange of this iteration."""
        if type(effect) is not Mix:
            raise TypeError("it asks for more than weighted sums")
        values: tuple[Any, ...] = freeze(effect.values)
        if not is_finite(values):
            raise ValueError("a value is not finite")
        if k == len(self._mixed):
            self._mixed.append(self._layout_of(values))
        layout = self._mixed[k]
        if not layout.fits(values):
            layout = self._mixed[k] = self._layout_of(values)
        self._bytes += layout.size // len(self._steppers)
        if not effect.by:
            return tuple([self._plan.weights.sweep(value) for value in values])
        matrices = {By.PULL: self._plan.weights, By.PUSH: self._shares}
        pairs = zip(effect.by, values, strict=True)
        return tuple([matrices[how].sweep(value) for how, value in pairs])

    def _layout_of(self, values: tuple[Any, ...]) -> Layout:
        for value in values:
            if not (isinstance(value, ndarray) and value.dtype.kind == "f"):
                raise TypeError("it mixes other things than arrays of floats")
            if value.shape[:1] != (len(self._steppers),):
                raise TypeError("it mixes an array that has no row for each node")
        return Layout(values)

    @cached_property
    def _shares(self) -> Weights:
        return push(self._plan.graph)

    # ---- boundaries ----

    def _tell(self) -> None:
        """The steppers are where all nodes are."""
        for node, stepper in enumerate(self._steppers):
            stepper.go_on_from(
                self.iteration,
                self._state_of(node),
                exchanges=self._exchanges,
                bytes_each=self._bytes,
                gradients=self._gradients,
            )
        self._exchanges = self._bytes = self._gradients = 0

    def _state_of(self, node: int) -> Any:
        return self._state._make([np.array(rows[node]) for rows in self._state])

    def _part(self, cause: BaseException | None = None) -> NoReturn:
        self._tell()
        raise Parted from cause

    def _show(self) -> None:
        """To the monitor, if there is one."""
        every, steppers = self._plan.monitor_every, self._steppers
        if steppers[0].watch is None or every is None or self.iteration % every:
            return
        for node, stepper in enumerate(steppers):
            assert stepper.watch is not None, "all are watched, or none"
            try:
                stepper.watch(node, self.iteration, self._state_of(node))
            except InvariantBroken:
                raise
            except Exception as error:  # noqa: BLE001 - it is told with the node
                self._blame(node, error)

    def _blame(self, node: int, error: BaseException) -> NoReturn:
        self._tell()
        told = self._steppers[node].blame(error)
        if told is error:
            raise told
        raise told from error


class _Costs:
    """The costs of all nodes, each asked for its own gradient.

    Attributes:
        asked: how often each was.
    """

    def __init__(self, steppers: Sequence[Stepper[Any]]) -> None:
        self.asked = 0
        self._steppers = steppers

    def gradient(self, X: Array) -> Array:
        """Each cost has an array of its own, as in a step of its node."""
        began = time.perf_counter(), time.thread_time()
        until = began[0] + crowd.BLOCKED
        self.asked += 1
        G = np.empty_like(X)
        shape, dtype = X.shape[1:], X.dtype
        for node, (gradient, x) in enumerate(zip(self._gradients, X, strict=True)):
            try:
                g = gradient(x.copy())
            except (Exception, SystemExit) as error:
                raise _OfNode(node, error) from error
            if not (isinstance(g, ndarray) and g.shape == shape and g.dtype == dtype):
                raise TypeError("a gradient is not as x is")
            G[node] = g
            if time.perf_counter() > until and _is_over(crowd.BLOCKED, *began):
                raise TimeoutError("gradients take long")
        return G

    @cached_property
    def _gradients(self) -> list[Callable[[Array], Any]]:
        return [stepper.problem.gradient for stepper in self._steppers]


def _stack(states: Sequence[Any]) -> Any:
    """All nodes' states in one, with a first axis for the nodes.

    Raises:
        Parted: they are not arrays of one layout.
    """
    first = tuple(states[0])
    layout = Layout(first)
    is_one = all(type(s) is type(states[0]) and layout.fits(tuple(s)) for s in states)
    if not (is_one and all(isinstance(array, ndarray) for array in first)):
        raise Parted
    return states[0]._make([np.stack(same) for same in zip(*states, strict=True)])


def _is_over(limit: float, wall: float, computing: float) -> bool:
    """Whether this thread has computed for longer since, or waited for much longer.

    Where it did neither, another program has had its processor.
    """
    took = time.perf_counter() - wall
    return took > limit and (time.thread_time() - computing > limit or took > WAITED * limit)


def _no_edges() -> Edges:
    raise ConfigError("edges are each node's own", hint="leave `unison` out")
