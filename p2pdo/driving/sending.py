"""What goes to nodes: a payload as text, encoded once, and as many tasks as one message carries."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from p2pdo.errors import ConfigError
from p2pdo.types import NodeId
from p2pdo.wire.plain import encode_data, is_large

_MESSAGE_BYTES = 4 * 1024 * 1024  # of payloads in one message; gRPC's limit is 8 MiB

Order: TypeAlias = tuple[str, str, str]
"""Node, task and payload."""


async def encode_payload(payload: Any) -> str:
    """As text; on a thread where that takes long.

    Raises:
        ConfigError: it cannot travel.
    """
    return await asyncio.to_thread(_encode, payload) if is_large(payload) else _encode(payload)


def _encode(payload: Any) -> str:
    try:
        return encode_data(payload)
    except ValueError as error:
        raise ConfigError(
            f"a task's data cannot travel as JSON: {error}",
            hint="send numbers, text, lists, dicts and numpy arrays; no NaN outside arrays",
        ) from None


def batches_of(orders: Sequence[Order]) -> Iterable[list[Order]]:
    """As many as one message carries, and at least one."""
    batch: list[Order] = []
    size = 0
    for node, name, payload in orders:
        if batch and size + len(payload) > _MESSAGE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append((NodeId(node), name, payload))
        size += len(payload)
    if batch:
        yield batch
