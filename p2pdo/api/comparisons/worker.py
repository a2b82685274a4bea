"""A worker: runs the trials that its launcher names, one after the other.

    launcher ──stdin: {"request", "executor", "force", "folder"}──▶ worker, a line a trial
    launcher ◀──stdout: {"ready": true}, {"iteration": …, "gap": …}, {"ended": true}── worker

A process of its own and not of `multiprocessing`'s pool: that imports the user's script again and
leaves its processes behind when the launcher is killed. Here the end of stdin, which the system
brings about however the launcher ends, is the end of the worker, whatever it is computing. What
trials print goes to stderr, which is a file of the comparison's.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pdo.api.comparisons.trial import run_trial
from p2pdo.api.requests import Request
from p2pdo.api.runs import check_executor
from p2pdo.environment import keep_memory
from p2pdo.reporting.json_lines import encode
from p2pdo.reporting.records import Metric

_TELL_EVERY = 0.5  # seconds


def main() -> None:
    """Until the end of stdin."""
    keep_memory()
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)

    def reply(**what: Any) -> None:
        replies.write(f"{encode(what)}\n")

    trials: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(trials.put,), daemon=True).start()
    reply(ready=True)
    while True:
        _run(trials.get(), reply)
        reply(ended=True)


def _listen(put: Callable[[dict[str, Any]], None]) -> None:
    for line in sys.stdin.buffer:
        put(json.loads(line))
    os._exit(0)


def _run(trial: dict[str, Any], reply: Callable[..., None]) -> None:
    told = 0.0

    def tell(metric: Metric) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _TELL_EVERY:
            told = now
            reply(iteration=metric.iteration, gap=metric.gap)

    request, folder = Request(**trial["request"]), Path(trial["folder"])
    executor, force = check_executor(trial["executor"]), trial["force"]
    asyncio.run(run_trial(request, executor, folder, tell, force=force))


if __name__ == "__main__":
    main()
