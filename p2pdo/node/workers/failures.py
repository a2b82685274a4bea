"""How the failures of worker processes are told.

What a handler raised in a worker is told as if it had been raised at the node, with the rank in
front. Its words, its traceback and the last lines of stderr are the site's, and stay there where
its policy redacts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from p2pdo.errors import P2pdoError, from_plain, legible
from p2pdo.node.failures import SiteFailure
from p2pdo.types import Plain

_TRACEBACK_LIMIT = 16 * 1024  # characters


class WorkerDied(SiteFailure):
    """A worker process ended that was not told to."""


class RemoteTraceback(Exception):
    """The traceback in the worker, shown as the cause of what the node raises."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def describe(error: BaseException) -> dict[str, Plain]:
    """What a worker says of an exception."""
    import traceback

    plain: dict[str, Plain] = {
        "type": type(error).__name__,
        "words": legible(_words(error)),
        "traceback": legible("".join(traceback.format_exception(error)), _TRACEBACK_LIMIT),
    }
    if isinstance(error, P2pdoError):
        plain["error"] = error.to_plain()
    return plain


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - its author's code, and the task fails anyway
        return "it cannot say what"


def task_failure(who: str, plain: Mapping[str, Any], *, memory: int | None) -> P2pdoError:
    """The failure of a task in the words of the rank that `who` names.

    An error of p2pdo's own keeps its code.
    """
    failure: P2pdoError
    if "error" in plain:
        failure = from_plain({**plain["error"], "message": f"{who}: {plain['error']['message']}"})
    else:
        failure = _site_failure(who, plain, memory)
    failure.__cause__ = RemoteTraceback(plain["traceback"])
    return failure


def start_failure(who: str, plain: Mapping[str, Any], *, memory: int | None) -> P2pdoError:
    """Why the processes of an executor could not be started."""
    told = f"{who} cannot start"
    failure: P2pdoError
    if "error" in plain:
        error = plain["error"]
        failure = SiteFailure(f"{told}: {error['message']}", hint=error.get("hint"))
    else:
        failure = _site_failure(told, plain, memory)
    failure.__cause__ = RemoteTraceback(plain["traceback"])
    return failure


def _site_failure(who: str, plain: Mapping[str, Any], memory: int | None) -> SiteFailure:
    bare = f"{who}: {plain['type']}"
    hint = None
    if plain["type"] == "MemoryError" and memory is not None:
        bare += f" at its limit of {memory} bytes"
        hint = "raise the executor's memory limit in the node's configuration, or do with less"
    words = plain["words"]
    return SiteFailure(f"{bare}: {words}" if words else bare, bare=bare, hint=hint)


def death(who: str, how: str, last_words: str, *, memory: int | None) -> WorkerDied:
    """A worker's end that nobody asked for."""
    bare = f"{who} {how}"
    hint = "look at its log file at the node; the next task gets fresh processes"
    if memory is not None:
        hint += f"; it may have met its limit of {memory} bytes of memory"
    words = f"; its last words on stderr:\n{last_words}" if last_words else ""
    return WorkerDied(f"{bare}{words}", bare=bare, hint=hint)
