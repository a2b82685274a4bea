"""Where a method goes, by what it declares as its `limit`, and how far from there it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from p2pdo.algorithms.base import Algorithm, Limit
from p2pdo.algorithms.catalogue import build, needs_smoothness
from p2pdo.graphs.spectral import modes
from p2pdo.protocol.judging import Judge, Judgement, Objective, Report
from p2pdo.protocol.plan import Plan
from p2pdo.simulation.lockstep import run_lockstep
from p2pdo.simulation.stacked import run_stacked
from p2pdo.testing.laws.case import Case
from p2pdo.testing.laws.costs import COSTS
from p2pdo.testing.laws.settings import (
    EXACT,
    KEPT,
    Setting,
    can_stack,
    decisions,
    ignore,
    iterates,
)
from p2pdo.testing.outcomes import hold
from p2pdo.types import Array


def by_default(case: Case, setting: Setting) -> Algorithm[Any]:
    cls, given = type(case.algorithm), case.parameters_but_the_step_size()
    if not needs_smoothness(cls, given):
        return case.algorithm
    problems = COSTS[setting.cost](setting.network.n).problems
    share = cls.safe_share(modes(setting.network.weights))
    return build(cls, given, max(problem.smoothness for problem in problems), share)


def target_of(plan: Plan, limit: Limit) -> Array:
    X = np.asarray(plan.starts)
    match limit:
        case Limit.LARGEST:
            return np.asarray(X.max(axis=0))
        case Limit.SMALLEST:
            return np.asarray(X.min(axis=0))
        case Limit.ALL:
            return np.asarray((X > 0).all(axis=0), np.float64)
        case Limit.MEAN:
            return np.asarray(X.mean(axis=0))
        case Limit.AGREEMENT:
            values, vectors = np.linalg.eig(plan.weights.to_dense().T)
            pi = vectors[:, np.abs(values - 1).argmin()].real
            return np.asarray(pi / pi.sum() @ X)
        case _:
            optimum = Objective(plan.problems).minimiser
            assert optimum is not None, "the costs of the laws have one"
            return optimum


class NearEnough(Judge):
    """Ends a run where every node is near enough to the target."""

    def __init__(self, plan: Plan, target: Array, within: float) -> None:
        super().__init__(Objective(plan.problems), plan.nodes, None)
        self._target, self._within = target, within
        self._far: set[int] = set()

    def receive(self, report: Report) -> list[Judgement]:
        if error_to(report.x[None], self._target) > self._within:
            self._far.add(report.iteration)
        if report.node == self._nodes - 1 and report.iteration not in self._far:
            self.stopped_at = report.iteration
        return []

    def receive_all(self, reports: Sequence[Report]) -> list[Judgement]:
        for report in reports:
            self.receive(report)
        return []


def final(plan: Plan, target: Array, within: float) -> Array:
    """X after the plan's iterations, or when it is near enough."""
    run = run_stacked if can_stack(plan) else run_lockstep  # equal by another law
    reports = run(replace(plan, observe_every=50), NearEnough(plan, target, within), ignore)
    return decisions(reports)


def error_to(X: Array, target: Array) -> float:
    error = float(np.linalg.norm(X - target, axis=1).max())
    return error if np.isfinite(error) else np.inf


def stays_in_the_hull(plan: Plan, setting: Setting, within: float) -> None:
    """Entry by entry, to rounding; and agrees where everybody hears everybody."""
    starts = np.asarray(plan.starts)
    lowest, highest = starts.min(axis=0) - EXACT, starts.max(axis=0) + EXACT
    X = starts
    for k, states in enumerate(iterates(plan)):
        X = decisions(states)
        inside = bool(((lowest <= X) & (highest >= X)).all())
        hold(inside, f"outside the hull of the starts {setting} at iteration {k}")
    if setting.network.topology == "complete":
        error = error_to(X, X.mean(axis=0))
        hold(error <= within, f"{error:.1e} from agreement {setting} after {plan.rounds}")


def shrinks_its_bias(algorithm: Algorithm[Any], setting: Setting, rounds: int) -> None:
    """Of order α: a quarter of the step leaves about a quarter of the bias."""
    biases = []
    for part in (4, 16):
        step: float = algorithm.step_size / part  # type: ignore[attr-defined]
        plan = setting.plan(replace(algorithm, step_size=step), rounds * part)  # type: ignore[type-var]
        target = target_of(plan, Limit.OPTIMUM)
        biases.append(error_to(final(plan, target, within=KEPT), target))
    ratio = biases[0] / max(biases[1], EXACT)
    hold(3 < ratio < 5, f"a quarter of the step leaves 1/{ratio:.2g} of the bias {setting}")
