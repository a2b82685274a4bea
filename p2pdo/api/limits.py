"""How many nodes one machine is asked to hold."""

from __future__ import annotations

from p2pdo.errors import ConfigError

MOST_NODES = 100_000
MOST_STACKED = 5_000_000
"""The same where a node is a row of an array and no object."""


def check_most(nodes: int, most: int = MOST_NODES) -> None:
    """Refuses a number of nodes that only fills the memory."""
    if nodes > most:
        raise ConfigError(f"{nodes:,} nodes are too many for one machine", hint=f"at most {most:,}")
