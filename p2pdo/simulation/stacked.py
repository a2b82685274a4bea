"""Stacked: the same step, once, on arrays of shape (N, d), `mix` a sparse product W @ X.

For algorithms that declare `batched` (the last axis is their vector) on problems that offer
`stack`. It agrees with lock-step to rounding and not to the bit: stacked gradients add up in
another order.

Nothing here is done node by node, so that it costs little more than the recursion written by hand
in NumPy and SciPy, also for 10⁶ nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from typing import Any

import numpy as np

from p2pdo.algorithms.catalogue import name_of
from p2pdo.algorithms.edges import AllEdges, Carry, Edges, EveryNode
from p2pdo.effects import By, Here, Mix
from p2pdo.errors import ConfigError, P2pdoError, WorkloadFailed
from p2pdo.graphs.weights import Weights, push
from p2pdo.problems.base import Prox, Stackable, is_stochastic
from p2pdo.problems.many import Many
from p2pdo.protocol.coding import Coding, coding_of, is_coded
from p2pdo.protocol.counting import Calls, Covering
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.judging import Judge, Judgement, Report
from p2pdo.protocol.monitoring import monitor_of
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.reports import StackedReports
from p2pdo.protocol.settling import Settling
from p2pdo.protocol.stepper import quiet
from p2pdo.protocol.values import describe, is_finite, size_of
from p2pdo.runtime.compute import limit_blas_threads
from p2pdo.types import Array, Value


def run_stacked(
    plan: Plan,
    judge: Judge,
    tell: Callable[[Judgement], None],
    check_stop: Callable[[], None] = lambda: None,
) -> Sequence[Report]:
    """Runs the plan; returns each node's resulting state, in node order.

    `check_stop` is called at every iteration, and raises what ends the run.

    Raises:
        ConfigError: the algorithm or the problem does not stack.
    """
    limit_blas_threads()
    with quiet():
        return _run(plan, judge, tell, check_stop)


def _run(
    plan: Plan,
    judge: Judge,
    tell: Callable[[Judgement], None],
    check_stop: Callable[[], None],
) -> Sequence[Report]:
    covering = Covering()  # one call of the stack is one of each node
    problem = covering.cover(_stack_of(plan))
    starts = _starts(plan)
    here = partial(_everywhere, plan, cache(lambda: AllEdges(plan.graph, starts.dtype)))
    state = plan.algorithm.init(starts, problem, here(0))
    monitor = monitor_of(plan)
    settling = None if plan.settle is None else Settling(plan.settle)
    traffic, has_settled = _Traffic(plan, settling), False
    for iteration in range(plan.rounds + 1):
        is_last = iteration == plan.rounds or has_settled
        if iteration % plan.observe_every == 0 or is_last:
            _require_finite(state.x, iteration)
            reports = traffic.reports(iteration, state.x, covering.calls)
            for judgement in judge.receive_all(reports):
                tell(judgement)
            if judge.stopped_at is not None or is_last:
                break
        check_stop()
        before, state = state, _advance(plan, state, problem, here(iteration), traffic)
        _require_like(state.x, starts, iteration)
        if monitor is not None:
            monitor.take_all(iteration + 1, state)
        if settling is not None:
            moves = np.linalg.norm(state.x - before.x, axis=1)
            has_settled = settling.complete(float(moves.max()))
    return reports


def _starts(plan: Plan) -> Array:
    """All x⁰ in one array (N, d)."""
    starts = plan.starts
    return starts if isinstance(starts, np.ndarray) else np.stack(starts)


def require_stackable(plan: Plan) -> None:
    """Refuses an algorithm or costs that do not stack; no stack is made of all nodes.

    Raises:
        ConfigError: says which, and why.
    """
    if not plan.algorithm.batched:
        raise ConfigError(
            f"{name_of(type(plan.algorithm))} does not declare that it works on stacked states",
            hint="use --on dense",
        )
    if isinstance(plan.problems, Many):
        stack = plan.problems.stack
    else:
        _require_one_kind(plan.problems)
        stack = type(plan.problems[0]).stack(plan.problems[:1])
    if plan.algorithm.requires.oracle is Prox and not hasattr(stack, "prox"):
        raise ConfigError(
            f"{type(plan.problems[0]).__name__} has a proximal map of one node and none of all "
            "nodes at once",
            hint="use --on dense",
        )


def _require_one_kind(problems: Sequence[Any]) -> None:
    kind = type(problems[0])
    if not (all(type(p) is kind for p in problems) and isinstance(problems[0], Stackable)):
        raise ConfigError(
            f"{kind.__name__} cannot be stacked: it has no stack(problems)",
            hint="use --on dense",
        )
    if is_stochastic(problems[0]):
        raise ConfigError(
            f"{kind.__name__} draws mini-batches node by node, which has no stacked form",
            hint="use --on dense",
        )


def _stack_of(plan: Plan) -> Any:
    """The costs of all nodes as one."""
    require_stackable(plan)
    problems: Any = plan.problems
    return problems.stack if isinstance(problems, Many) else type(problems[0]).stack(problems)


def _advance(plan: Plan, state: Any, problem: Any, here: Here, traffic: _Traffic) -> Any:
    step, reply, iteration = plan.algorithm.step(state, problem, here), None, here.iteration
    traffic.weights = plan.weights.at(iteration)
    while True:
        try:
            effect: Any = step.send(reply)
        except StopIteration as stop:
            return stop.value
        except P2pdoError:
            raise
        except Exception as error:
            raise WorkloadFailed(
                f"{type(error).__name__}: {error}",
                hint="it came from a stacked step; --on dense names the node",
                iteration=iteration,
            ) from error
        if isinstance(effect, Carry):
            _require_finite(effect.arrays, iteration)
            reply = traffic.carry(effect)
            continue
        if not isinstance(effect, Mix):
            raise ConfigError(
                f"{type(plan.algorithm).__name__} asks for {type(effect).__name__}, "
                "which has no stacked form",
                hint="use --on dense",
            )
        _require_finite(effect.values, iteration)
        reply = traffic.mix(effect, iteration)


def _require_like(x: Any, start: Array, iteration: int) -> None:
    if x.shape != start.shape or x.dtype != start.dtype:
        raise WorkloadFailed(
            f"after iteration {iteration} the decision variables are {describe(x)}, expected "
            f"{describe(start)}",
            hint="check the shape and dtype that the problem's gradient returns",
            iteration=iteration,
        )


def _require_finite(value: Value, iteration: int) -> None:
    if not is_finite(value):
        raise WorkloadFailed(
            f"a value is not finite (NaN or infinite) in iteration {iteration}",
            hint="a smaller step size; --on dense names the node",
            iteration=iteration,
        )


def _everywhere(plan: Plan, edges: Callable[[], Edges], iteration: int) -> Here:
    return EveryNode(iteration, -1, (), (), plan.seed, edges=edges)


class _Traffic:
    """Mixes for all, and counts what the nodes would have sent: out-degree times values."""

    def __init__(self, plan: Plan, settling: Settling | None) -> None:
        self.weights = plan.weights  # of this iteration
        self._plan = plan
        self._settling = settling
        self._degrees = plan.graph.out_degree
        self._exchanges = 0
        self._bytes = 0
        coding = coding_of(plan.codec)
        self._copies = None if coding is None else _Copies(plan, coding)

    def mix(self, effect: Mix, iteration: int) -> tuple[Array, ...]:
        values = [np.asarray(value) for value in effect.values]
        self._exchanges += 1
        self._hear_moves()
        by = effect.by or (By.PULL,) * len(values)
        matrices = [self._matrix(how) for how in by]
        if self._copies is not None:
            self._bytes += self._copies.update(values, by, iteration)
            return self._copies.towards(values, matrices)
        self._bytes += sum(value.nbytes // len(value) for value in values)
        return tuple(W.apply(value) for value, W in zip(values, matrices, strict=True))

    def carry(self, effect: Carry) -> tuple[Array, ...]:
        """What came over each edge, where every node sends one row to each neighbour."""
        self._exchanges += 1
        self._hear_moves()
        self._bytes += sum(rows[:1].nbytes for rows in effect.arrays)
        return tuple(rows[effect.places] for rows in effect.arrays)

    def _hear_moves(self) -> None:
        if self._settling is not None:
            self._settling.hear(())  # all nodes' moves are known here at once
            self._bytes += size_of(self._settling.known)

    def _matrix(self, by: By) -> Weights:
        return self.weights if by is By.PULL else self._shares

    @cached_property
    def _shares(self) -> Weights:
        return push(self._plan.graph)

    def reports(self, iteration: int, x: Array, calls: Calls) -> StackedReports:
        """What the nodes would report of these states, which are frozen."""
        x.flags.writeable = False  # as after an exchange: no step changes what it has shown
        return StackedReports(iteration, x, self._degrees, self._bytes, self._exchanges, calls)


class _Copies:
    """The copies of all nodes' values that `protocol.coding` keeps, as arrays of shape (N, d)."""

    def __init__(self, plan: Plan, coding: Coding) -> None:
        self._coding = coding
        self._seed = plan.seed
        self._shares = 1 + plan.graph.out_degree  # of a value that is pushed
        self._at = Tag(-1, 0, EffectKind.MIX)
        self._kept: dict[tuple[int, int], Array] = {}  # by exchange in its iteration, and value

    def update(self, values: Sequence[Array], by: Sequence[By], iteration: int) -> int:
        """Sends what is new of every value; returns the bytes that one node sends one neighbour."""
        phase = self._at.phase + 1 if self._at.iteration == iteration else 0
        self._at = Tag(iteration, phase, EffectKind.MIX)
        return sum(self._send(k, value, by[k]) for k, value in enumerate(values))

    def towards(self, values: Sequence[Array], matrices: Sequence[Weights]) -> tuple[Array, ...]:
        """V + γ(W − I)V̂ for each."""
        mixed = []
        for k, (value, W) in enumerate(zip(values, matrices, strict=True)):
            copies = self._kept[self._at.phase, k] if is_coded(value) else value
            mixed.append(value + self._coding.step * (W.apply(copies) - copies))
        return tuple(mixed)

    def _send(self, k: int, value: Array, how: By) -> int:
        if not is_coded(value):
            return int(value[0].nbytes)
        where = self._at.phase, k
        kept = self._kept.get(where)
        copies = np.zeros_like(value) if kept is None or kept.shape != value.shape else kept
        m = self._shares[:, None].astype(value.dtype) if how is By.PUSH else 1
        new, codec, size = np.empty_like(value), self._coding.codec, 0
        for i, difference in enumerate((value - copies) / m):
            sent = codec.encode(difference, self._coding.rng(self._seed, i, self._at, k))
            new[i] = codec.decode(sent, difference)
            size = len(sent)
        self._kept[where] = copies + m * new
        return size
