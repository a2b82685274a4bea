"""What a node may tell of a workload: only as its member, only what can be, only what was asked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from p2pdo.config import OptimizationSpec
from p2pdo.coordinator.records import WorkloadRecord
from p2pdo.coordinator.watching import Point
from p2pdo.errors import ConfigError, NotFound
from p2pdo.protocol.session import Lane
from p2pdo.types import NodeId

_SHOWN = 20  # names in an error
_COUNT_LIMIT = 1 << 53  # that no honest counter reaches


def require_member(record: WorkloadRecord, node: NodeId) -> None:
    """Refuses a node that does not take part.

    Raises:
        NotFound: it does not.
    """
    if node not in record.index:
        raise NotFound(
            f"node '{node[:80]}' is no member of workload {record.workload}",
            hint="its members are those that it was submitted with",
        )


def require_target(record: WorkloadRecord, node: NodeId) -> None:
    """The same for who sends tasks, who may know the members.

    Raises:
        NotFound: it does not; says which name is near.
    """
    if node not in record.index:
        names = [str(member.name) for member in record.members]
        near = difflib.get_close_matches(node, names, n=1)
        guess = f"did you mean '{near[0]}'? " if near else ""
        rest = ", …" if len(names) > _SHOWN else ""
        raise NotFound(
            f"node '{node[:80]}' is no member of workload {record.workload}",
            hint=f"{guess}its members: {', '.join(names[:_SHOWN])}{rest}",
        )


def require_states(record: WorkloadRecord) -> None:
    """Refuses states that nobody has asked for.

    Raises:
        ConfigError: nobody has.
    """
    if not (isinstance(record.spec, OptimizationSpec) and record.spec.return_states):
        raise ConfigError(
            f"workload {record.workload} does not return states",
            hint="submit with --return-states",
        )


def known_lanes(record: WorkloadRecord, lanes: Mapping[str, str]) -> dict[str, str]:
    """Of the lanes that a node tells, those between members, by names that there are."""
    names = [lane.value for lane in Lane]
    return {peer: lane for peer, lane in lanes.items() if peer in record.index and lane in names}


def check_points(node: NodeId, points: Iterable[Point]) -> None:
    """Refuses figures that cannot be.

    Raises:
        ConfigError: these are no counters.
    """
    for point in points:
        if max(point.iteration, point.bytes_sent, point.messages_sent) >= _COUNT_LIMIT:
            raise ConfigError(
                f"node {node} tells counters that nothing reaches",
                hint="that node is faulty: stop it, and run one version of p2pdo everywhere",
                node=node,
            )
