"""The judge sees every node's observed states and says how good they are, and when to stop.

Only somebody who owns all the data can judge: the launcher of a local run. One node's states come
in order, different nodes' in any; iterations are judged in order, each once all nodes have
reported it. With a tolerance the
result is the state at the *first* observed iteration at which max(gap, consensus error) ≤ tol, so
the iteration and the bits of the result do not depend on how far anybody ran ahead meanwhile.

    gap              F(x̄) − F*, F = Σᵢ fᵢ
    consensus error  maxᵢ ‖xᵢ − x̄‖₂

A method that agrees on its starts seeks no optimum: it has no gap, and its consensus error is all
that a tolerance asks for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from p2pdo.errors import RemoteProtocolError, WorkloadFailed
from p2pdo.problems.base import Classifier
from p2pdo.problems.many import Many
from p2pdo.protocol.counting import NO_CALLS, Calls
from p2pdo.protocol.reports import Report, calls_of_all, sent_by_all, states_of
from p2pdo.types import Array, States

__all__ = ["Judge", "Judgement", "Objective", "Report", "consensus_error", "mean_state"]


@dataclass(frozen=True, slots=True)
class Judgement:
    """The network at one observed iteration; `stop` where the tolerance is reached.

    `reports` are those that it judges, in node order; they stay where the judge is. Of a simulated
    run, `simulated_seconds` is when the last node had got there.
    """

    iteration: int
    gap: float | None
    consensus_error: float
    value: float | None
    bytes_sent: int
    messages_sent: int
    stop: bool
    reports: Sequence[Report] = field(default=(), compare=False, repr=False)
    calls: Calls = NO_CALLS
    accuracy: float | None = None
    test_accuracy: float | None = None
    simulated_seconds: float | None = field(default=None, compare=False)


@dataclass
class Objective:
    """F = Σᵢ fᵢ with its optimum, as far as the problems can tell them.

    Attributes:
        problems: every node's, in node order.
        test: samples that no node has, as a cost that classifies; or None.
        is_sought: whether the method goes to the optimum, or near it. Where not, neither F nor the
            optimum is told.
        minimiser: argmin F of shape (d,), or None.
        optimum: F*, or None.
    """

    problems: Sequence[Any]
    test: Any = None
    is_sought: bool = True
    minimiser: Array | None = field(init=False, default=None)
    optimum: float | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not self.is_sought:
            return
        if isinstance(self.problems, Many):
            self.minimiser = self.problems.stack.minimiser()
            self.optimum = self.value(self.minimiser)
            return
        solve = getattr(type(self.problems[0]), "minimiser", None)
        is_one_kind = all(type(p) is type(self.problems[0]) for p in self.problems)
        if solve is not None and is_one_kind:
            x: Array = solve(self.problems)
            self.minimiser = x
            self.optimum = self.value(x)

    @property
    def tells_when_to_stop(self) -> bool:
        """Whether a tolerance can be said to be reached."""
        return not self.is_sought or self.optimum is not None

    def value(self, x: Array) -> float | None:
        """F(x), added up in node order in float64; None where a problem has no value.

        Of `Many` problems NumPy adds up, which differs by rounding and not between executors.

        Raises:
            WorkloadFailed: a problem's `value` went wrong.
        """
        if not self.is_sought:
            return None
        x64 = x.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # a diverged run is told as such
            if isinstance(self.problems, Many):
                return self.problems.value(x64)
            if not all(hasattr(p, "value") for p in self.problems):
                return None
            return float(sum(self._value_of(node, x64) for node in range(len(self.problems))))

    def _value_of(self, node: int, x: Array) -> float:
        problem = self.problems[node]
        try:
            return float(problem.value(x))
        except Exception as error:
            raise WorkloadFailed(
                f"value(x) of node {node}'s problem raised {type(error).__name__}: {error}",
                hint=f"value of {type(problem).__name__} takes x of shape (d,), gives a number",
            ) from error

    def accuracy(self, x: Array) -> float | None:
        """The share of all nodes' samples that x classifies rightly; None where none classifies.

        Raises:
            WorkloadFailed: a problem's `classified` went wrong.
        """
        if not self.is_sought or not all(isinstance(p, Classifier) for p in self.problems):
            return None
        return _share_right(
            x, {f"node {node}'s problem": problem for node, problem in enumerate(self.problems)}
        )

    def test_accuracy(self, x: Array) -> float | None:
        """The same of the samples that no node has; None where there are none.

        Raises:
            WorkloadFailed: their `classified` went wrong.
        """
        return None if self.test is None else _share_right(x, {"the test's problem": self.test})

    def gap(self, value: float | None) -> float | None:
        return None if value is None or self.optimum is None else value - self.optimum

    def distance(self, x: Array) -> float | None:
        """‖x − x*‖₂."""
        with np.errstate(over="ignore", invalid="ignore"):
            return None if self.minimiser is None else float(np.linalg.norm(x - self.minimiser))


def _share_right(x: Array, problems: Mapping[str, Any]) -> float | None:
    """Of the samples of all these problems, which are called by their names."""
    x64 = x.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        told = [_classified(name, problem, x64) for name, problem in problems.items()]
    samples = sum(number for _, number in told)
    return sum(right for right, _ in told) / samples if samples else None


def _classified(name: str, problem: Any, x: Array) -> tuple[int, int]:
    try:
        right, samples = problem.classified(x)
        return int(right), int(samples)
    except Exception as error:
        raise WorkloadFailed(
            f"classified(x) of {name} raised {type(error).__name__}: {error}",
            hint="it takes x of shape (d,) and gives (rightly classified samples, samples)",
        ) from error


def mean_state(states: States) -> Array:
    """x̄ in float64, added up in node order; of one array (N, d) as NumPy adds."""
    if isinstance(states, np.ndarray):
        whole: Array = states.mean(axis=0, dtype=np.float64)
        return whole
    total = np.zeros(states[0].shape, np.float64)
    for x in states:
        total += x
    return total / len(states)


def consensus_error(states: States, mean: Array) -> float:
    """maxᵢ ‖xᵢ − x̄‖₂."""
    with np.errstate(over="ignore", invalid="ignore"):
        if isinstance(states, np.ndarray):
            differences = states - mean
            squares = np.einsum("ij,ij->i", differences, differences)
            return float(np.sqrt(squares.max()))
        return float(max(np.linalg.norm(x - mean) for x in states))


class Judge:
    """Judges iterations in order, each when its last report is in."""

    def __init__(self, objective: Objective, nodes: int, tol: float | None) -> None:
        self.stopped_at: int | None = None
        self.latest: Sequence[
            Report
        ] = []  # the reports of the iteration judged last, in node order
        self._objective = objective
        self._nodes = nodes
        self._tol = tol
        self._pending: dict[int, dict[int, Report]] = {}

    def receive(self, report: Report) -> list[Judgement]:
        """Takes in a report; returns the judgements that it completes, in order.

        A report of the same node and iteration again, and any after the stop, changes nothing.

        Raises:
            RemoteProtocolError: there is no such node.
        """
        if not 0 <= report.node < self._nodes:
            raise RemoteProtocolError(f"a state came from node {report.node} of {self._nodes}")
        is_judged = bool(self.latest) and report.iteration <= self.latest[0].iteration
        if self.stopped_at is not None or is_judged:
            return []
        self._pending.setdefault(report.iteration, {}).setdefault(report.node, report)
        judgements: list[Judgement] = []
        for iteration in sorted(self._pending):
            reports = self._pending[iteration]
            if len(reports) < self._nodes or self.stopped_at is not None:
                break
            del self._pending[iteration]
            judgements.append(self._judge(iteration, [reports[i] for i in range(self._nodes)]))
        return judgements

    def receive_all(self, reports: Sequence[Report]) -> list[Judgement]:
        """Takes in all nodes' reports of the next observed iteration, in node order."""
        return [] if self.stopped_at is not None else [self._judge(reports[0].iteration, reports)]

    def _judge(self, iteration: int, reports: Sequence[Report]) -> Judgement:
        self.latest = reports
        states = states_of(reports)
        mean = mean_state(states)
        error = consensus_error(states, mean)
        value = self._objective.value(mean)
        gap = self._objective.gap(value)
        stop = self._is_near(gap, error)
        if stop:
            self.stopped_at = iteration
        return Judgement(
            iteration,
            gap,
            error,
            value,
            *sent_by_all(reports),
            stop,
            reports,
            calls_of_all(reports),
            self._objective.accuracy(mean),
            self._objective.test_accuracy(mean),
        )

    def _is_near(self, gap: float | None, error: float) -> bool:
        if self._tol is None or error > self._tol:
            return False
        return gap <= self._tol if gap is not None else not self._objective.is_sought
