"""What a node and its worker processes say to each other, over one socket for each.

A frame is its length and its kind in five bytes, then JSON with arrays in it. The kind stands
apart so that the node's event loop can pass a large body on unread: it is read on a thread.

    node   ▸ worker    HELLO  TASK  EVENT  ABORT  END            ANSWER  MESSAGE
    worker ▸ node      READY  DONE  FAILED  EVENT         TOPIC  ASK     REPLY

HELLO is answered by READY or FAILED, TASK by DONE or FAILED, ASK by ANSWER and MESSAGE by REPLY;
the rest is not answered. The socket
is nobody's stdout, so nothing that a worker prints can come between.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from p2pdo.errors import TaskFailed
from p2pdo.protocol.handed import Task
from p2pdo.wire.plain import decode_data, encode_data

if TYPE_CHECKING:
    import socket

    from p2pdo.node.events import Event

FRAME_LIMIT = 256 * 1024 * 1024  # bytes; a task and its result are far below
_HEAD = struct.Struct(">IB")
_TASK = "__task__"


class Kind(IntEnum):
    HELLO = 1
    TASK = 2
    EVENT = 3
    ABORT = 4
    END = 5
    READY = 6
    DONE = 7
    FAILED = 8
    ASK = 9
    ANSWER = 10
    MESSAGE = 11
    REPLY = 12
    TOPIC = 13


def pack(kind: Kind, value: Any) -> bytes:
    """The frame that says it.

    Raises:
        ValueError: the value cannot travel as JSON, or is too large.
    """
    return pack_text(kind, encode_data(value))


def pack_text(kind: Kind, text: str) -> bytes:
    """The frame of a text that is JSON already."""
    body = text.encode()
    if len(body) > FRAME_LIMIT:
        raise ValueError(f"it has {len(body)} bytes, more than {FRAME_LIMIT}")
    return _HEAD.pack(len(body), kind) + body


def unpack(body: bytes) -> Any:
    """What the body of a frame says."""
    return decode_data(json.loads(body))


async def read_frame(reader: asyncio.StreamReader) -> tuple[Kind, bytes] | None:
    """The next frame that a worker sent; None at its end."""
    try:
        size, kind = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return Kind(kind), await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def receive_frame(connection: socket.socket) -> tuple[Kind, bytes] | None:
    """The next frame that the node sent; None at its end. Blocks."""
    head = _receive(connection, _HEAD.size)
    if head is None:
        return None
    size, kind = _HEAD.unpack(head)
    body = _receive(connection, size)
    return None if body is None else (Kind(kind), bytes(body))


def _receive(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view = memoryview(data)
    while view:
        try:
            count = connection.recv_into(view)
        except ConnectionError:
            return None
        if count == 0:
            return None
        view = view[count:]
    return data


def event_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """An event's data as it travels: the task of BEFORE_TASK and AFTER_TASK becomes plain."""
    return {
        key: {_TASK: asdict(value)} if isinstance(value, Task) else value
        for key, value in data.items()
    }


def restore_event_data(data: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `event_data`."""
    return {
        key: Task(**value[_TASK]) if isinstance(value, dict) and _TASK in value else value
        for key, value in data.items()
    }


def pack_event(event: Event) -> bytes:
    """An event as it travels to the workers.

    Raises:
        ValueError: its data cannot.
    """
    return pack(Kind.EVENT, {"name": event.name, "data": event_data(event.data)})


def pack_task(task: Task) -> bytes:
    """A task as it travels to the workers.

    Raises:
        TaskFailed: its data cannot.
    """
    try:
        return pack(Kind.TASK, event_data({"task": task}))
    except ValueError as error:
        raise TaskFailed(
            f"the data of task '{task.name}' cannot travel to worker processes: {error}",
            hint="task filters give numbers, text, lists, dicts and numpy arrays",
        ) from None
