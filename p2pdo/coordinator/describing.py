"""A workload as users are told it."""

from __future__ import annotations

import json
from collections.abc import Iterable

from p2pdo.coordinator.monitoring import looks
from p2pdo.coordinator.records import WorkloadRecord
from p2pdo.coordinator.watching import Point
from p2pdo.protocol.tasks import TaskState
from p2pdo.wire.v1 import coordinator_pb2 as wire

_LIST_BYTES = 4 << 20  # of one list of workloads; gRPC's limit is 8 MiB


def describe(record: WorkloadRecord, now: float) -> wire.Workload:
    """All of it; `now` is the wall clock's time."""
    machine = record.machine
    return wire.Workload(
        workload_id=machine.workload,
        status=str(machine.status),
        spec=record.spec_text,
        error=json.dumps(machine.error) if machine.error is not None else "",
        age_seconds=max(0.0, now - record.created),
        members=[_describe_member(record, i) for i in range(len(record.members))],
        resolved=json.dumps({**machine.resolved, **looks(record)}),
        tasks=record.sent,
        results=len(record.results),
        acknowledged=record.results.acknowledged,
    )


def list_briefly(latest_first: Iterable[WorkloadRecord], now: float) -> list[wire.Workload]:
    """Oldest first, without results, errors and graphs, which need room.

    The oldest are left out where a message could not carry them.
    """
    found: list[wire.Workload] = []
    room = _LIST_BYTES
    for record in latest_first:
        brief = _describe_briefly(record, now)
        room -= brief.ByteSize()
        if room < 0:
            break
        found.append(brief)
    found.reverse()
    return found


def describe_point(point: Point, alive: int) -> wire.NetworkPoint:
    """An iteration of the whole network, with how many of its nodes are up now."""
    return wire.NetworkPoint(
        iteration=point.iteration,
        seconds=point.seconds,
        bytes_sent=point.bytes_sent,
        messages_sent=point.messages_sent,
        nodes_alive=alive,
        logged=json.dumps(point.logged) if point.logged else "",
    )


def _describe_briefly(record: WorkloadRecord, now: float) -> wire.Workload:
    described = describe(record, now)
    described.ClearField("error")
    described.ClearField("resolved")
    spec = json.loads(record.spec_text)
    if not isinstance(spec.get("topology", ""), str):
        del spec["topology"]
        described.spec = json.dumps(spec)
    for member in described.members:
        member.ClearField("result")
        member.ClearField("lanes")
    return described


def _describe_member(record: WorkloadRecord, index: int) -> wire.Member:
    name = record.members[index].name
    task, point = record.latest.get(name), record.meter.latest.get(name)
    return wire.Member(
        node=name,
        index=index,
        task=task.name if task else "",
        state=_in_words(task.state) if task else "",
        result=record.shown.get(name, ""),
        iteration=point.iteration if point else 0,
        bytes_sent=point.bytes_sent if point else 0,
        messages_sent=point.messages_sent if point else 0,
        lanes=record.lanes.get(name),
    )


def _in_words(state: TaskState) -> str:
    """As users are told; a lease is between coordinator and node."""
    return "at the node" if state is TaskState.LEASED else str(state)
