"""Errors, by who must act.

    P2pdoError                    everything that p2pdo raises on purpose
    ├── ConfigError               a flag, file or value is wrong: correct it            exit 3
    │   └── MissingExtra          an optional dependency is not installed: install it   exit 3
    ├── NotFound                  no such workload, node or folder                      exit 4
    │   ├── NotEnoughNodes        fewer nodes are up than a workload needs: start more  exit 4
    │   ├── UnknownExecutor       the node has no executor of that name                 exit 4
    │   └── UnknownTask           the executor has no handler of that name              exit 4
    ├── Conflict                  the name or address is taken                          exit 4
    ├── Unreachable               nobody answers, or refuses us                         exit 5
    ├── DeadlineExceeded          a deadline that the caller set has passed             exit 6
    ├── WorkloadFailed            a run ended badly; says node and iteration            exit 1
    │   ├── WorkloadStopped       somebody stopped it                                   exit 1
    │   ├── InvariantBroken       what a method keeps was not kept; says iteration      exit 1
    │   └── TaskFailed            a handler raised; carries its words                   exit 1
    │       └── TaskAborted       somebody ended the task before it was done            exit 1
    ├── LinkLost                  a peer's link is gone: dial again
    └── ProtocolError
        ├── LocalProtocolError    our own code broke a rule: a bug
        └── RemoteProtocolError   the peer broke a rule: drop its link

Every error says what happened and, in `hint`, what to try next; a class for which that is always
the same says it in `remedy`. Where it is about a node, a
workload or an iteration it carries them, so that a failure anywhere can be told to the submitter
whole. `to_plain` and `from_plain` take an error across a process boundary; what crosses is short
and can be encoded, whatever an exception of somebody else's code had to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from p2pdo.types import Plain


LONGEST = 4000
"""Characters of a text that crosses a boundary."""


class P2pdoError(Exception):
    """What happened (`message`), where (`node`, `workload`, `iteration`), what to try (`hint`)."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    remedy: ClassVar[str | None] = None  # the hint where none is given

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        node: str | None = None,
        workload: str | None = None,
        iteration: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.remedy
        self.node = node
        self.workload = workload
        self.iteration = iteration
        if self.hint:
            self.add_note(f"try: {self.hint}")  # a traceback shows notes

    def to_plain(self) -> dict[str, Plain]:
        plain: dict[str, Plain] = {"code": self.code, "message": legible(self.message)}
        for name in ("hint", "node", "workload", "iteration"):
            value = getattr(self, name)
            if value is not None:
                plain[name] = legible(value) if isinstance(value, str) else value
        return plain


class ConfigError(P2pdoError):
    code = "config"
    exit_code = 3


class MissingExtra(ConfigError):
    code = "missing-extra"

    def __init__(self, what: str, module: str, extra: str) -> None:
        super().__init__(f"{what} needs {module}", hint=f"pip install 'p2pdo[{extra}]'")


class NotFound(P2pdoError):
    code = "not-found"
    exit_code = 4


class UnknownExecutor(NotFound):
    code = "unknown-executor"


class UnknownTask(NotFound):
    code = "unknown-task"


class NotEnoughNodes(NotFound):
    code = "not-enough-nodes"


class Conflict(P2pdoError):
    code = "conflict"
    exit_code = 4


class Unreachable(P2pdoError):
    code = "unreachable"
    exit_code = 5


class DeadlineExceeded(P2pdoError):
    code = "deadline"
    exit_code = 6


class WorkloadFailed(P2pdoError):
    code = "workload-failed"


class WorkloadStopped(WorkloadFailed):
    code = "workload-stopped"
    remedy = "start it again when it may run to its end"


class InvariantBroken(WorkloadFailed):
    code = "invariant-broken"


class TaskFailed(WorkloadFailed):
    code = "task-failed"
    remedy = "look at what handles the task, and at the log of the node that it ran on"


class TaskAborted(TaskFailed):
    code = "task-aborted"


class LinkLost(P2pdoError):
    code = "link-lost"
    remedy = "is the peer up, and can its address be reached from here?"


class ProtocolError(P2pdoError):
    code = "protocol"


class LocalProtocolError(ProtocolError):
    code = "local-protocol"
    remedy = "this is a bug of p2pdo: report it with these words"


class RemoteProtocolError(ProtocolError):
    code = "remote-protocol"
    remedy = "run one version of p2pdo at all nodes; a node that still does this is faulty"


_BY_CODE: dict[str, type[P2pdoError]] = {
    cls.code: cls
    for cls in (
        ConfigError,
        NotFound,
        NotEnoughNodes,
        UnknownExecutor,
        UnknownTask,
        Conflict,
        Unreachable,
        DeadlineExceeded,
        WorkloadFailed,
        WorkloadStopped,
        InvariantBroken,
        TaskFailed,
        TaskAborted,
        LinkLost,
        LocalProtocolError,
        RemoteProtocolError,
    )
}


def from_plain(plain: dict[str, Plain]) -> P2pdoError:
    """The error that `to_plain` described; an unknown code becomes a plain `P2pdoError`."""
    cls = _BY_CODE.get(str(plain.get("code")), P2pdoError)

    def text(key: str) -> str | None:
        return legible(str(plain[key])) if plain.get(key) is not None else None

    return cls(
        text("message") or "unknown error",
        hint=text("hint"),
        node=text("node"),
        workload=text("workload"),
        iteration=_whole(plain.get("iteration")),
    )


def legible(text: str, longest: int = LONGEST) -> str:
    """The text as every encoding and every message can carry it.

    Lone surrogates, which the names of files may hold, are replaced, and the middle of a long
    text is left out.
    """
    if len(text) > longest:
        text = f"{text[: longest // 2]} … {text[-longest // 2 :]}"
    return text.encode(errors="replace").decode()


def _whole(value: Plain) -> int | None:
    if not isinstance(value, int | float):
        return None
    try:
        return int(value)
    except (ValueError, OverflowError):  # NaN, infinite
        return None


def render(error: P2pdoError) -> str:
    """The error as a terminal shows it: what happened and where, then what to try."""
    places = [
        f"{name} {value}"
        for name in ("node", "workload", "iteration")
        if (value := getattr(error, name)) is not None
    ]
    where = f" ({', '.join(places)})" if places else ""
    remedy = f"\n  try: {error.hint}" if error.hint else ""
    return f"error[{error.code}]: {_in_lines(error.message)}{where}{remedy}"


def _in_lines(message: str) -> str:
    """In one line, but for those that were set in: a list, or somebody's last words."""
    first, *others = message.splitlines() or [""]
    return first + "".join(f"\n{o}" if o.startswith("  ") else f" {o}" for o in others)


def did_you_mean(word: str, known: list[str]) -> str:
    """The remedy for an unknown word: the nearest known one, then all of them."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    return f"{guess}known: {', '.join(sorted(known))}"
