"""How patient a coordinator is, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from p2pdo.driving.controllers import Controller


@dataclass(frozen=True, slots=True)
class Settings:
    """The coordinator's figures.

    Attributes:
        lease_seconds: a node that was not heard of for so long is lost.
        heartbeat_seconds: how often nodes are asked to say that they live.
        rejoin_grace: a node whose task stream broke is lost unless it is back by then; shorter
            than the lease because a broken stream is news and silence is not.
        driver_grace: seconds after which a workload of tasks that nobody watches is ended; more
            than the half-minute for which drivers look for their coordinator. See `abandonment`.
        local: it belongs to one user's local run, whose launcher may observe states and name
            algorithms and parts by their place on this machine.
        watch_backlog: metric points kept for a watcher that reads slowly; older ones are dropped.
        result_characters: so much of a workload's latest results is kept in memory; all of it is
            on disk.
        kept_ended: how many workloads of tasks keep their tasks and results when they are over,
            those that ended last.
        chunk_bytes: the size in which states are sent.
        controllers: what workloads of tasks may name to be driven by.
    """

    lease_seconds: float = 10.0
    heartbeat_seconds: float = 2.5
    rejoin_grace: float = 5.0
    driver_grace: float = 60.0
    local: bool = False
    watch_backlog: int = 1000
    result_characters: int = 8 * 1024 * 1024
    kept_ended: int = 100
    chunk_bytes: int = 256 * 1024
    controllers: Mapping[str, Controller] = field(default_factory=dict)
