"""What the nodes of a run tell its monitor, and what that comes to.

The sums of iterations under way are in memory alone. A coordinator that was restarted passes over
those of which it had heard some nodes already; the others' batches come to it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from p2pdo.config import OptimizationSpec
from p2pdo.coordinator.records import WorkloadRecord
from p2pdo.errors import ConfigError, InvariantBroken
from p2pdo.protocol.monitoring import MaskedMonitor
from p2pdo.types import NodeId, Plain

Hidden: TypeAlias = tuple[int, bytes]
"""(iteration, hidden numbers)"""


def find_breach(
    record: WorkloadRecord, node: NodeId, told: Sequence[Hidden]
) -> InvariantBroken | None:
    """Takes what a member tells, in order of iterations; the first breach that shows, if any.

    Raises:
        ConfigError: this run has no monitor, or these are no such numbers.
    """
    monitor = record.monitor = record.monitor or _monitor_of(record)
    for iteration, hidden in told:
        if not monitor.expects(iteration, hidden):
            raise ConfigError(
                f"node {node} tells {len(hidden)} bytes of iteration {iteration} to the monitor",
                hint="that node is faulty: stop it, and run one version of p2pdo everywhere",
                node=node,
            )
    index = record.index[node]
    try:
        for iteration, hidden in told:
            monitor.take(index, iteration, hidden)
    except InvariantBroken as broken:
        return broken
    return None


def looks(record: WorkloadRecord) -> dict[str, Plain]:
    """How many iterations the monitor has looked at, and of how many a report was lost."""
    if record.monitor is None:
        return {}
    sums = record.monitor.sums
    return {"monitor": {"looked_at": sums.looked_at, "passed_over": sums.passed_over}}


def end(record: WorkloadRecord) -> None:
    """Keeps the figures of a run that is over, and no more."""
    record.machine.resolved.update(looks(record))
    record.monitor = None


def _monitor_of(record: WorkloadRecord) -> MaskedMonitor:
    every = record.spec.monitor_every if isinstance(record.spec, OptimizationSpec) else None
    names = record.machine.resolved.get("invariants")
    if every is None or not isinstance(names, list):
        raise ConfigError(
            f"workload {record.workload} is not monitored", hint="submit it with --monitor observed"
        )
    return MaskedMonitor([str(name) for name in names], len(record.members), every)
