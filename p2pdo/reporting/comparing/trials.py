"""Trials, as their run folders tell them, and groups: trials that differ in nothing but the seed.

good        it ended, and did not diverge
diverged    a value was not finite any more, or see `reporting.diverging`
failed      anything else went wrong
refused     it did not begin: its method cannot run as it was asked to, or would diverge
unfinished  it was interrupted, or still runs
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from p2pdo.errors import NotFound
from p2pdo.reporting.comparing.folder import MANIFEST, ComparisonFolder, failure, refusal
from p2pdo.reporting.diverging import divergence
from p2pdo.reporting.formats import count
from p2pdo.reporting.records import Metric
from p2pdo.reporting.run_folder import RunFolder

_NOT_FINITE = "not finite"
_OF_ONE = frozenset({"seed", "record", "lane"})
"""Settings that may differ between trials of one kind: they are its seed, or change no figure."""


class Status(Enum):
    GOOD = "good"
    DIVERGED = "diverged"
    FAILED = "failed"
    REFUSED = "refused"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, eq=False)
class Trial:
    """One run of one algorithm.

    Attributes:
        number: among the trials of its kind, from 0.
        reason: why it is not good.
        predicted: the rate that its pre-flight told, where it could.
    """

    label: str
    number: int
    path: Path
    settings: Mapping[str, Any]
    status: Status
    reason: str | None
    metrics: Sequence[Metric]
    predicted: float | None = None

    @property
    def seed(self) -> int:
        return int(self.settings.get("seed", 0))


@dataclass(frozen=True, eq=False)
class Group:
    """Trials that differ in their seed only."""

    label: str
    trials: Sequence[Trial]

    @property
    def good(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.status is Status.GOOD]

    @property
    def others(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.status is not Status.GOOD]

    def others_in_words(self) -> list[str]:
        """What became of those that are not good; those with one reason together."""
        seeds: dict[str, list[int]] = {}
        for trial in self.others:
            seeds.setdefault(f"{trial.status.value}: {trial.reason}", []).append(trial.seed)
        return [
            f"{self.label}, seed{'s' if len(of) > 1 else ''} {', '.join(map(str, of))}: {became}"
            for became, of in seeds.items()
        ]

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of any of its trials that has some."""
        return next((trial.settings for trial in self.trials if trial.settings), {})


def read_trial(path: Path, label: str, number: int, seed: int | None = None) -> Trial:
    """What a run folder tells; of a folder that is not there, that it has not begun."""
    folder = RunFolder(path)
    if not path.is_dir():
        settings = {} if seed is None else {"seed": seed}
        return Trial(label, number, path, settings, Status.UNFINISHED, "it has not begun", ())
    settings = folder.read_settings() if (path / "run.toml").is_file() else {"seed": seed or 0}
    metrics = folder.read_metrics()
    ended = (path / "summary.json").is_file()
    status, reason = _judged(folder, metrics, ended=ended)
    predicted = folder.read_summary().rates.get("predicted") if ended else None
    return Trial(label, number, path, settings, status, reason, metrics, predicted)


def _judged(
    folder: RunFolder, metrics: Sequence[Metric], *, ended: bool
) -> tuple[Status, str | None]:
    if ended:
        reason = divergence(metrics)
        return (Status.GOOD, None) if reason is None else (Status.DIVERGED, reason)
    if (refused := refusal(folder)) is not None:
        return Status.REFUSED, str(refused.get("message"))
    failed = failure(folder)
    if failed is None:
        reached = f" after iteration {count(metrics[-1].iteration)}" if metrics else ""
        return Status.UNFINISHED, f"it was interrupted{reached}, or still runs"
    message = str(failed.get("message"))
    status = Status.DIVERGED if _NOT_FINITE in message else Status.FAILED
    iteration = failed.get("iteration")
    where = "" if iteration is None or str(iteration) in message else f" (iteration {iteration})"
    return status, f"{message}{where}"


def read_groups(paths: Iterable[Path]) -> list[Group]:
    """The trials in folders of comparisons and of single runs, by what they are trials of.

    Raises:
        NotFound: a path is neither.
    """
    kinds: dict[tuple[str, str], list[Trial]] = {}
    for path in paths:
        for kind, trial in _trials_of(path):
            kinds.setdefault((trial.label, kind), []).append(trial)
    return _labelled([Group(label, found) for (label, _), found in kinds.items()])


def _trials_of(path: Path) -> list[tuple[str, Trial]]:
    """With what is equal for trials that are repetitions of each other."""
    if (path / MANIFEST).is_file():
        return [(str(path), trial) for trial in read_comparison(ComparisonFolder(path))]
    if not (path / "run.toml").is_file():
        raise NotFound(
            f"{path} is neither the folder of a run nor of a comparison",
            hint="p2pdo run writes runs/ID; p2pdo run -a ONE,OTHER a comparison",
        )
    settings = RunFolder(path).read_settings()
    same = {name: value for name, value in settings.items() if name not in _OF_ONE}
    kind = json.dumps(same, sort_keys=True, default=str)
    return [(kind, read_trial(path, str(settings.get("algorithm", "?")), 0))]


def read_comparison(folder: ComparisonFolder) -> list[Trial]:
    """Every trial that was asked for, begun or not."""
    manifest = folder.manifest()
    first = int(manifest["settings"]["seed"])
    return [
        read_trial(folder.trial(label, number), label, number, first + number)
        for label in manifest["algorithms"]
        for number in range(int(manifest["trials"]))
    ]


def _labelled(groups: list[Group]) -> list[Group]:
    """Groups of one algorithm are told apart by the settings in which they differ."""
    told = []
    for group in groups:
        namesakes = [other for other in groups if other.label == group.label]
        if len(namesakes) == 1:
            told.append(group)
            continue
        words = _words(group, namesakes)
        label = f"{group.label} ({words})" if words else f"{group.label} ({group.trials[0].path})"
        told.append(Group(label, group.trials))
    return told


def _words(group: Group, namesakes: Sequence[Group]) -> str:
    flat = [_flat(other.settings) for other in namesakes]
    own = _flat(group.settings)
    names = sorted(
        {name for one in flat for name in one if any(o.get(name) != one[name] for o in flat)}
        - _OF_ONE
    )
    return ", ".join(f"{name}={own.get(name)}" for name in names)


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    parameters = settings.get("parameters", {})
    return {**{k: v for k, v in settings.items() if k not in ("parameters", "graph")}, **parameters}
