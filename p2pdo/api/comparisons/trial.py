"""One trial into its run folder. Whatever goes wrong with it is kept there: the others go on."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from pathlib import Path

from p2pdo.api.jobs import resolve
from p2pdo.api.network import local
from p2pdo.api.requests import Request
from p2pdo.api.runs import Executor
from p2pdo.errors import P2pdoError, WorkloadFailed, WorkloadStopped
from p2pdo.reporting.comparing.folder import failure
from p2pdo.reporting.records import Metric
from p2pdo.reporting.run_folder import RunFolder


async def run_trial(
    request: Request, executor: Executor, folder: Path, tell: Callable[[Metric], None]
) -> None:
    """Runs it to its end, good or bad; `tell` is called at each observation.

    Raises:
        WorkloadStopped: it was stopped from outside, and may begin anew.
    """
    try:
        async with local(on=executor) as net:
            run = net.start(await asyncio.to_thread(resolve, request), out=folder, draw=False)
            run.on_metric = tell
            await run.result()
    except WorkloadStopped:
        raise
    except P2pdoError as error:
        _keep(folder, error)
    except Exception as bug:  # noqa: BLE001 - kept with its traceback, and told with the trial
        _keep(folder, WorkloadFailed(f"{type(bug).__name__}: {bug}", hint="see crash.txt"))
        text = "".join(traceback.format_exception(bug))
        (folder / "crash.txt").write_text(text, encoding="utf-8")


def _keep(folder: Path, error: P2pdoError) -> None:
    """The failure, where the run has not kept it itself: it may not have begun."""
    with RunFolder(folder) as kept:
        folder.mkdir(parents=True, exist_ok=True)
        if failure(kept) is None:
            kept.append_event("failed", seconds=0.0, **error.to_plain())
