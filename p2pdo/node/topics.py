"""What a message between members is, and who answers it: without the network that carries it.

    @on_message("count")
    def count(self, message: Message, context: Context) -> object: ...   # or without the context

`messages` carries them from node to node; worker processes need no more than what is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from p2pdo.errors import NotFound, P2pdoError, did_you_mean
from p2pdo.node.context import WorkloadContext
from p2pdo.node.events import takes
from p2pdo.types import NodeId

_MARK = "__p2pdo_message__"
_NONE_YET = (
    "a method marked @p2pdo.on_message answers; one in worker processes from its executor's first "
    "task on"
)
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Message:
    """What a handler is given: who asks, about what, with which value."""

    sender: NodeId
    topic: str
    value: Any


@dataclass(frozen=True, slots=True)
class Reply:
    """One target's answer: its value, or the error that came instead."""

    node: NodeId
    value: Any = None
    error: P2pdoError | None = None

    def unwrap(self) -> Any:
        """The value.

        Raises:
            P2pdoError: what went wrong at, or on the way to, that node.
        """
        if self.error is not None:
            raise self.error
        return self.value


def on_message(topic: str) -> Callable[[F], F]:
    """Marks a method of an executor or component as the handler of a topic."""

    def mark(method: F) -> F:
        setattr(method, _MARK, topic)
        return method

    return mark


def handlers_of(things: Iterable[object]) -> Iterable[tuple[str, Callable[..., Any]]]:
    """The marked methods of each, by their topics."""
    for thing in things:
        for name in dir(type(thing)):
            topic = getattr(getattr(type(thing), name, None), _MARK, None)
            if isinstance(topic, str):
                yield topic, getattr(thing, name)


def topics_of(cls: object) -> list[str]:
    """What the marked methods of a class answer."""
    marks = (getattr(getattr(cls, name, None), _MARK, None) for name in dir(cls))
    return [mark for mark in marks if isinstance(mark, str)]


def called(handler: Callable[..., Any], message: Message, context: WorkloadContext | None) -> Any:
    """What a handler returns, which takes the context if it wants it."""
    return handler(message, context) if takes(handler, 2) else handler(message)


def nobody_answers(topic: str, known: Iterable[str], node: str) -> NotFound:
    return NotFound(
        f"nobody at {node} answers '{topic}'",
        hint=did_you_mean(topic, listed) if (listed := list(known)) else _NONE_YET,
        node=node,
    )
