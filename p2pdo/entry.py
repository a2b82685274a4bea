"""Where the programs begin: Ctrl-C ends one that is still being imported, and shows no traceback.

Nothing has begun then and nothing is to be cleaned up, so it is told and the process ends there.
Each program takes the signals over when it is ready for them. This module imports nothing that the
interpreter has not at hand, so that it stands before all that takes time.
"""

from __future__ import annotations

import os
import signal
import sys

_TOLD = "interrupted by SIGINT"
_ENVELOPE = (
    '{"schema": "p2pdo/1", "ok": false, "error": {"code": "interrupted", '
    f'"message": "{_TOLD}", "hint": null, "node": null, "workload": null, "iteration": null}}}}\n'
)


def p2pdo() -> None:
    signal.signal(signal.SIGINT, _end)
    from p2pdo.environment import keep_memory

    keep_memory()  # before NumPy starts threads
    from p2pdo.cli import main

    main()


def coordinator() -> None:
    signal.signal(signal.SIGINT, _end)
    from p2pdo.coordinator.daemon import main

    main()


def node() -> None:
    signal.signal(signal.SIGINT, _end)
    from p2pdo.node.daemon import main

    main()


def _end(number: int, _frame: object) -> None:
    where, text = (1, _ENVELOPE) if "--json" in sys.argv else (2, f"error[interrupted]: {_TOLD}\n")
    try:
        os.write(where, text.encode())
    finally:
        os._exit(128 + number)
