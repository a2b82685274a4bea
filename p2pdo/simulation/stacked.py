"""Stacked: the same step, once, on arrays of shape (N, d), `mix` a sparse product W @ X.

For algorithms that declare `batched` (the last axis is their vector) on problems that offer
`stack`. It agrees with lock-step to rounding and not to the bit: stacked gradients add up in
another order.

Nothing here is done node by node, so that it costs little more than the recursion written by hand
in NumPy and SciPy, also for 10⁶ nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from p2pdo.algorithms.catalogue import name_of
from p2pdo.effects import By, Here, Mix
from p2pdo.errors import ConfigError, P2pdoError, WorkloadFailed
from p2pdo.graphs.weights import Weights, push
from p2pdo.problems.base import Stackable, is_stochastic
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
from p2pdo.protocol.values import is_finite, size_of
from p2pdo.runtime.compute import limit_blas_threads
from p2pdo.types import Array, Value


class _EveryNode(Here):
    """Here for all nodes at once: there is no one node whose random numbers could be drawn."""

    @property
    def rng(self) -> np.random.Generator:
        raise WorkloadFailed(
            "a stacked step drew random numbers of one node",
            hint="run it with --on dense, or draw from here.common_rng",
            iteration=self.iteration,
        )


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
    problem = covering.cover(_stack(plan))
    state = plan.algorithm.init(_starts(plan), problem, _here(0, plan))
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
        before, state = state, _advance(plan, state, problem, iteration, traffic)
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


def require_batched(plan: Plan) -> None:
    """Refuses an algorithm whose step is of one node alone.

    Raises:
        ConfigError: it does not stack.
    """
    if not plan.algorithm.batched:
        raise ConfigError(
            f"{name_of(type(plan.algorithm))} does not declare that it works on stacked states",
            hint="use --on dense",
        )


def _stack(plan: Plan) -> Any:
    require_batched(plan)
    if isinstance(plan.problems, Many):
        return plan.problems.stack
    kind = type(plan.problems[0])
    is_one_kind = all(type(p) is kind for p in plan.problems)
    if not (is_one_kind and isinstance(plan.problems[0], Stackable)):
        raise ConfigError(
            f"{kind.__name__} cannot be stacked: it has no stack(problems)",
            hint="use --on dense",
        )
    if is_stochastic(plan.problems[0]):
        raise ConfigError(
            f"{kind.__name__} draws mini-batches node by node, which has no stacked form",
            hint="use --on dense",
        )
    return kind.stack(plan.problems)


def _advance(plan: Plan, state: Any, problem: Any, iteration: int, traffic: _Traffic) -> Any:
    step = plan.algorithm.step(state, problem, _here(iteration, plan))
    reply = None
    traffic.weights = plan.weights.at(iteration)
    while True:
        try:
            effect = step.send(reply)
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
        if not isinstance(effect, Mix):
            raise ConfigError(
                f"{type(plan.algorithm).__name__} asks for {type(effect).__name__}, "
                "which has no stacked form",
                hint="use --on dense",
            )
        _require_finite(effect.values, iteration)
        reply = traffic.mix(effect, iteration)


def _require_finite(value: Value, iteration: int) -> None:
    if not is_finite(value):
        raise WorkloadFailed(
            f"a value is not finite (NaN or infinite) in iteration {iteration}",
            hint="a smaller step size; --on dense names the node",
            iteration=iteration,
        )


def _here(iteration: int, plan: Plan) -> Here:
    return _EveryNode(iteration, -1, (), (), plan.seed)


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
        if self._settling is not None:
            self._settling.hear(())  # all nodes' moves are known here at once
            self._bytes += size_of(self._settling.known)
        by = effect.by or (By.PULL,) * len(values)
        matrices = [self._matrix(how) for how in by]
        if self._copies is not None:
            self._bytes += self._copies.update(values, by, iteration)
            return self._copies.towards(values, matrices)
        self._bytes += sum(value.nbytes // len(value) for value in values)
        return tuple(W.apply(value) for value, W in zip(values, matrices, strict=True))

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
