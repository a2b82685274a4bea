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
    │   └── TaskFailed            a handler raised; carries its words                   exit 1
    ├── LinkLost                  a peer's link is gone: dial again
    └── ProtocolError
        ├── LocalProtocolError    our own code broke a rule: a bug
        └── RemoteProtocolError   the peer broke a rule: drop its link

Every error says what happened and, in `hint`, what to try next. Where it is about a node, a
workload or an iteration it carries them, so that a failure anywhere can be told to the submitter
whole. `to_plain` and `from_plain` take an error across a process boundary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from p2pdo.types import Plain


class P2pdoError(Exception):
    """What happened (`message`), where (`node`, `workload`, `iteration`), what to try (`hint`)."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

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
        self.hint = hint
        self.node = node
        self.workload = workload
        self.iteration = iteration

    def to_plain(self) -> dict[str, Plain]:
        plain: dict[str, Plain] = {"code": self.code, "message": self.message}
        for name in ("hint", "node", "workload", "iteration"):
            value = getattr(self, name)
            if value is not None:
                plain[name] = value
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


class TaskFailed(WorkloadFailed):
    code = "task-failed"


class LinkLost(P2pdoError):
    code = "link-lost"


class ProtocolError(P2pdoError):
    code = "protocol"


class LocalProtocolError(ProtocolError):
    code = "local-protocol"


class RemoteProtocolError(ProtocolError):
    code = "remote-protocol"


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
        TaskFailed,
        LinkLost,
        LocalProtocolError,
        RemoteProtocolError,
    )
}


def from_plain(plain: dict[str, Plain]) -> P2pdoError:
    """The error that `to_plain` described; an unknown code becomes a plain `P2pdoError`."""
    cls = _BY_CODE.get(str(plain.get("code")), P2pdoError)

    def text(key: str) -> str | None:
        return str(plain[key]) if plain.get(key) is not None else None

    iteration = plain.get("iteration")
    return cls(
        str(plain.get("message", "unknown error")),
        hint=text("hint"),
        node=text("node"),
        workload=text("workload"),
        iteration=int(iteration) if isinstance(iteration, int | float) else None,
    )


def render(error: P2pdoError) -> str:
    """The error as a terminal shows it: what happened and where, then what to try."""
    places = [
        f"{name} {value}"
        for name in ("node", "workload", "iteration")
        if (value := getattr(error, name)) is not None
    ]
    where = f" ({', '.join(places)})" if places else ""
    remedy = f"\n  try: {error.hint}" if error.hint else ""
    return f"error[{error.code}]: {error.message}{where}{remedy}"


def did_you_mean(word: str, known: list[str]) -> str:
    """The remedy for an unknown word: the nearest known one, then all of them."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1)
    guess = f"did you mean '{near[0]}'? " if near else ""
    return f"{guess}known: {', '.join(sorted(known))}"
