"""A comparison runs: what has not ended yet, so many trials at a time, into one folder.

Trials are taken in the order of their numbers, so that after an interruption all algorithms have
about as many.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from p2pdo.api.comparisons.asked import Asked, Contender, plain_of
from p2pdo.api.comparisons.trial import run_trial
from p2pdo.api.comparisons.workers import Work, run_in_workers
from p2pdo.reporting.comparing.folder import LOG, ComparisonFolder
from p2pdo.reporting.comparing.progress import TrialsProgress
from p2pdo.reporting.comparing.trials import read_trial
from p2pdo.reporting.records import Metric


async def run_comparison(
    asked: Asked, folder: ComparisonFolder, jobs: int, progress: TrialsProgress
) -> None:
    """Runs every trial that has not ended; each leaves its run folder.

    Raises:
        Conflict: the folder holds something else, or another process is at work on it.
        WorkloadFailed: no worker can be started.
    """
    folder.begin(asked.to_plain())
    with folder.worked_on():
        folder.grow(asked.to_plain())
        waiting = _waiting(asked, folder)
        progress.skipped(asked.trials * len(asked.contenders) - len(waiting))
        if asked.is_plain:
            await _in_workers(asked, folder, waiting, jobs, progress)
        else:
            await _here(asked, folder, waiting, progress)


def default_jobs(asked: Asked) -> int:
    """Trials at a time: a core each; of executors that fill the machine themselves one."""
    return 1 if asked.executor == "processes" or not asked.is_plain else os.cpu_count() or 1


def _waiting(asked: Asked, folder: ComparisonFolder) -> list[tuple[Contender, int]]:
    """What has not ended, cleared of what was begun; by force also what was refused."""
    waiting = [
        (contender, trial)
        for trial in range(asked.trials)
        for contender in asked.contenders
        if not folder.has_ended(contender.label, trial)
        or (asked.force and folder.is_refused(contender.label, trial))
    ]
    for contender, trial in waiting:
        folder.clear(contender.label, trial)
    return waiting


async def _in_workers(
    asked: Asked,
    folder: ComparisonFolder,
    waiting: list[tuple[Contender, int]],
    jobs: int,
    progress: TrialsProgress,
) -> None:
    places = {_name(contender, trial): (contender, trial) for contender, trial in waiting}
    works = [
        Work(
            name,
            {
                "request": plain_of(asked.request(contender, trial)),
                "executor": asked.executor,
                "force": asked.force,
                "folder": str(folder.trial(contender.label, trial)),
            },
        )
        for name, (contender, trial) in places.items()
    ]

    def told(work: Work, what: Mapping[str, Any]) -> None:
        if "iteration" in what:
            progress.reached(work.name, what["iteration"], what["gap"])
        else:
            if "died" in what:
                progress.message(f"the worker of {work.name} died: {what['died']}")
            _ended(asked, folder, *places[work.name], progress)

    log = folder.path / LOG
    try:
        await run_in_workers(works, jobs, log, told)
    finally:
        if log.exists() and not log.stat().st_size:
            log.unlink()


async def _here(
    asked: Asked,
    folder: ComparisonFolder,
    waiting: list[tuple[Contender, int]],
    progress: TrialsProgress,
) -> None:
    for contender, trial in waiting:
        name = _name(contender, trial)

        def tell(metric: Metric, name: str = name) -> None:
            progress.reached(name, metric.iteration, metric.gap)

        request = asked.request(contender, trial)
        into = folder.trial(contender.label, trial)
        await run_trial(request, asked.executor, into, tell, force=asked.force)
        await asyncio.to_thread(_ended, asked, folder, contender, trial, progress)


def _ended(
    asked: Asked,
    folder: ComparisonFolder,
    contender: Contender,
    trial: int,
    progress: TrialsProgress,
) -> None:
    path = folder.trial(contender.label, trial)
    seed = asked.base.seed + trial
    progress.ended(_name(contender, trial), read_trial(path, contender.label, trial, seed))


def _name(contender: Contender, trial: int) -> str:
    return f"{contender.label} trial {trial}"
