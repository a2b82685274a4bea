"""What whoever asked is told of a failure at this site, and what of it stays here."""

from __future__ import annotations

import traceback

from p2pdo.errors import P2pdoError, TaskFailed, legible
from p2pdo.types import Plain

_TRACEBACK_LIMIT = 16 * 1024  # characters
_KEPT = "its words are kept in the node's log"


class SiteFailure(TaskFailed):
    """A task's failure in words of the site; where its policy redacts, `bare` is told instead."""

    def __init__(self, message: str, *, bare: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.bare = bare or message

    def redacted(self) -> TaskFailed:
        return TaskFailed(self.bare, hint=self.hint)


def failure(
    error: BaseException, *, node: str, workload: str, redacted: bool = False
) -> dict[str, Plain]:
    """What the submitter is told: code, message, hint, node, workload, iteration, traceback."""
    told: P2pdoError
    if isinstance(error, P2pdoError):
        told = error.redacted() if redacted and isinstance(error, SiteFailure) else error
    else:
        words = "" if redacted else str(error)
        name = type(error).__name__
        told = TaskFailed(
            f"{name}: {words}" if words else name,
            hint=_KEPT if redacted else None,
        )
    plain = {"node": node, "workload": workload, **told.to_plain()}
    if redacted:
        plain |= _without_words(told)
    else:
        plain["traceback"] = legible("".join(traceback.format_exception(error)), _TRACEBACK_LIMIT)
    return plain


def _without_words(told: P2pdoError) -> dict[str, Plain]:
    """What is told instead where an error of ours repeats what an exception of the site's said."""
    cause = told.__cause__
    if cause is None or isinstance(cause, P2pdoError) or not str(cause):
        return {}
    message = told.message.replace(str(cause), "…")
    return {"message": legible(message), "hint": _KEPT}
