"""Figures of groups of trials: mean and standard deviation over the good ones.

What it took to a tolerance is read off at the first observation with max(gap, consensus error) ≤
tolerance, so it is as fine as the run was observed; the seconds of a simulated run are those of its
clock. Gradients, messages and bytes are of all nodes
together. A trial that never got there is in none of these means, and counted beside them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from p2pdo.errors import ConfigError
from p2pdo.reporting.comparing.trials import Group, Trial
from p2pdo.reporting.rates import observed_rate
from p2pdo.reporting.records import Metric
from p2pdo.types import Plain

AXES = ("iterations", "gradients", "messages", "bytes", "seconds")

_AXIS: dict[str, Callable[[Metric], float | None]] = {
    "iterations": lambda m: m.iteration,
    "gradients": lambda m: None if m.calls is None else m.calls.gradients,
    "messages": lambda m: m.messages_sent,
    "bytes": lambda m: m.bytes_sent,
    "seconds": lambda m: m.seconds if m.simulated_seconds is None else m.simulated_seconds,
}


def at(metric: Metric, axis: str) -> float | None:
    """How far the network was on this axis."""
    return _AXIS[axis](metric)


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation; of one trial there is none."""

    mean: float
    std: float | None

    @classmethod
    def of(cls, numbers: Sequence[float | None]) -> Spread | None:
        known = [float(x) for x in numbers if x is not None]
        if not known:
            return None
        return cls(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else None)


@dataclass(frozen=True, slots=True)
class Figures:
    """One group's; None where it cannot be known or no trial has it.

    Attributes:
        good: trials that are in the means.
        reached: good trials that reached the tolerance; `to` has what it took them, by axis.
        rate: what the distance to the limit shrank by in an iteration; see `reporting.rates`.
        predicted: that rate as told before the runs.
        others: what became of the trials that are in no mean.
        outcome: where no trial is good, what they are instead: "refused", "diverged, failed".
    """

    label: str
    trials: int
    good: int
    reached: int
    gap: Spread | None
    consensus_error: Spread | None
    accuracy: Spread | None
    test_accuracy: Spread | None
    rate: Spread | None
    predicted: Spread | None
    to: dict[str, Spread | None]
    others: list[str]
    outcome: str | None

    def to_plain(self) -> dict[str, Plain]:
        return asdict(self)


def figures_of(group: Group, tol: float | None) -> Figures:
    good = group.good
    ends = [trial.metrics[-1] for trial in good if trial.metrics]
    there = [metric for trial in good if (metric := reached(trial, tol)) is not None]
    return Figures(
        label=group.label,
        trials=len(group.trials),
        good=len(good),
        reached=len(there),
        gap=Spread.of([m.gap for m in ends]),
        consensus_error=Spread.of([m.consensus_error for m in ends]),
        accuracy=Spread.of([m.accuracy for m in ends]),
        test_accuracy=Spread.of([m.test_accuracy for m in ends]),
        rate=Spread.of([observed_rate(trial.metrics) for trial in good]),
        predicted=Spread.of([trial.predicted for trial in good]),
        to={axis: Spread.of([at(m, axis) for m in there]) for axis in AXES},
        others=group.others_in_words(),
        outcome=_outcome(group),
    )


def _outcome(group: Group) -> str | None:
    found = {trial.status.value for trial in group.others}
    return None if group.good or not found else ", ".join(sorted(found))


def reached(trial: Trial, tol: float | None) -> Metric | None:
    """The first observation within the tolerance."""
    if tol is None:
        return None
    return next((m for m in trial.metrics if is_within(m, tol)), None)


def is_within(metric: Metric, tol: float) -> bool:
    gap, error = metric.gap, metric.consensus_error
    return gap is not None and error is not None and max(gap, error) <= tol


def ranked(figures: Sequence[Figures], against: str) -> list[Figures]:
    """The cheapest to the tolerance first; who never reached it last, by gap."""

    def price(one: Figures) -> tuple[float, float, float]:
        cost, gap = one.to[against], one.gap
        most = float("inf")
        return (-one.reached if cost else 1, cost.mean if cost else most, gap.mean if gap else most)

    return sorted(figures, key=price)


def tolerance_of(groups: Sequence[Group]) -> float | None:
    """The one that all runs were given; None where there is none, or not one."""
    given = _settings(groups, "tol")
    return float(given.pop()) if len(given) == 1 else None


def check_axis(name: str) -> str:
    """Refuses what runs cannot be compared against.

    Raises:
        ConfigError: it is none of the axes.
    """
    if name not in AXES:
        raise ConfigError(f"nothing is plotted against '{name}'", hint=f"one of {', '.join(AXES)}")
    return name


def observed_every(groups: Sequence[Group]) -> int | None:
    """Iterations between observations, where all runs agree."""
    found = _settings(groups, "observe_every")
    return int(found.pop()) if len(found) == 1 else None


def _settings(groups: Sequence[Group], name: str) -> set[float]:
    """What the runs were given under this name."""
    trials = [trial for group in groups for trial in group.trials]
    return {trial.settings[name] for trial in trials if name in trial.settings}
