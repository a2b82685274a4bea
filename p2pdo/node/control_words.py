"""What a node and its coordinator tell each other: as the node knows it, and as protobuf."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import grpc
import grpc.aio

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.handed import Task
from p2pdo.transports.host import THIS_HOST
from p2pdo.types import TaskId, WorkloadId
from p2pdo.wire.plain import LARGE, parse_plain
from p2pdo.wire.v1 import coordinator_pb2 as pb

CHUNK = 1024 * 1024  # bytes of a state in one message


@dataclass(frozen=True)
class Identity:
    """Who this daemon is: its name, this start of it, and where peers dial it."""

    node: str
    address: str
    return_states: bool = True
    boot_id: str = field(default_factory=THIS_HOST.fresh_id)


@dataclass(frozen=True)
class Pull:
    """How orders come: a stream, or polling where a proxy kills long streams."""

    mode: Literal["stream", "poll"] = "stream"
    interval: float = 1.0


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """What one node tells about one iteration; `seconds` since it began iterating.

    `logged` is what a participant has logged, by name; None: not finite.
    """

    iteration: int
    seconds: float
    bytes_sent: int
    messages_sent: int
    logged: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HiddenPart:
    """What one node tells the monitor of one iteration; see `protocol.masking`."""

    iteration: int
    numbers: bytes


class Orders(Protocol):
    """Whoever carries out what the coordinator orders."""

    @property
    def default_credit(self) -> int: ...
    def take_orders(
        self, tasks: Sequence[Task], ends: Sequence[tuple[WorkloadId, str]]
    ) -> None: ...
    def stream_opened(self) -> None: ...


async def read_orders(call: Any) -> AsyncIterator[pb.NodeOrders]:
    while True:
        orders = await call.read()
        if orders is grpc.aio.EOF:
            return
        yield orders


async def decode_orders(orders: pb.NodeOrders) -> tuple[list[Task], list[tuple[WorkloadId, str]]]:
    if orders.ByteSize() > LARGE:
        return await asyncio.to_thread(_decode_here, orders)
    return _decode_here(orders)


def _decode_here(orders: pb.NodeOrders) -> tuple[list[Task], list[tuple[WorkloadId, str]]]:
    """The orders as the machine knows them; tasks in the order of their numbers.

    Raises:
        RemoteProtocolError: a payload is no JSON.
    """
    tasks = [
        Task(
            TaskId(task.task_id),
            WorkloadId(task.workload_id),
            task.executor,
            task.name,
            task.number,
            task.attempt,
            _plain(task.payload),
            task.aborted,
        )
        for task in orders.tasks
    ]
    return tasks, [(WorkloadId(end.workload_id), end.reason) for end in orders.ends]


def _plain(text: str) -> Any:
    try:
        return parse_plain(text) if text else None
    except ValueError:
        raise RemoteProtocolError("the coordinator sent a task whose payload is no JSON") from None


async def chunks_of(state: Path | bytes) -> AsyncIterator[bytes]:
    if isinstance(state, bytes):
        for start in range(0, max(len(state), 1), CHUNK):
            yield state[start : start + CHUNK]
        return
    with await asyncio.to_thread(state.open, "rb") as file:
        is_first = True
        while (data := await asyncio.to_thread(file.read, CHUNK)) or is_first:
            is_first = False
            yield data
