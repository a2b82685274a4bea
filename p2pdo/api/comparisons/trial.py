"""One trial into its run folder. Whatever goes wrong with it is kept there: the others go on.

A trial that cannot run, or that would diverge, is refused before it begins.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path

from p2pdo.api.executors import check_executable
from p2pdo.api.jobs import Job, resolve
from p2pdo.api.network import local
from p2pdo.api.preflight import look_before
from p2pdo.api.requests import Request
from p2pdo.api.runs import Executor
from p2pdo.errors import ConfigError, P2pdoError, WorkloadFailed, WorkloadStopped
from p2pdo.reporting.comparing.folder import failure
from p2pdo.reporting.records import Metric
from p2pdo.reporting.run_folder import RunFolder


def looked_at(request: Request, executor: Executor, *, force: bool) -> Job:
    """What runs, with what was predicted of it.

    Raises:
        ConfigError: it cannot run there, or would diverge and is not forced to.
    """
    job = resolve(request)
    check_executable(job, executor)
    return look_before(job, force=force)


async def run_trial(
    request: Request,
    executor: Executor,
    folder: Path,
    tell: Callable[[Metric], None],
    *,
    force: bool = False,
) -> None:
    """Runs it to its end, good or bad; `tell` is called at each observation.

    Raises:
        WorkloadStopped: it was stopped from outside, and may begin anew.
    """
    try:
        try:
            job = await asyncio.to_thread(looked_at, request, executor, force=force)
        except ConfigError as error:
            _keep(folder, "refused", error)
            return
        async with local(on=executor) as net:
            run = net.start(job, out=folder, draw=False)
            run.on_metric = tell
            await run.result()
    except WorkloadStopped:
        raise
    except P2pdoError as error:
        _keep(folder, "failed", error)
    except Exception as bug:  # noqa: BLE001 - kept with its traceback, and told with the trial
        failed = WorkloadFailed(f"{type(bug).__name__}: {bug}", hint="see crash.txt")
        _keep(folder, "failed", failed)
        text = "".join(traceback.format_exception(bug))
        (folder / "crash.txt").write_text(text, encoding="utf-8")


def _keep(folder: Path, event: str, error: P2pdoError) -> None:
    """What ended it, where the run has not kept that itself: it may not have begun."""
    with RunFolder(folder) as kept:
        folder.mkdir(parents=True, exist_ok=True)
        if failure(kept) is None:
            kept.append_event(event, seconds=0.0, **error.to_plain())
