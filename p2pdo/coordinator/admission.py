"""What a node may tell of a workload: only as its member, only what can be, only what was asked."""

from __future__ import annotations

from collections.abc import Iterable

from p2pdo.config import OptimizationSpec
from p2pdo.coordinator.records import WorkloadRecord
from p2pdo.coordinator.watching import Point
from p2pdo.errors import ConfigError, NotFound
from p2pdo.types import NodeId

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
