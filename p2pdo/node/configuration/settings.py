"""A node's settings out of its file and its flags; a flag that was given wins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from p2pdo.node.configuration.reading import Source
from p2pdo.node.control import Pull
from p2pdo.node.run import NodeSettings

REQUIRED = ("coordinator", "name", "state")


def missing(source: Source, flags: Mapping[str, Any]) -> list[str]:
    """What neither says and a node cannot be without."""
    table = source.configuration.node
    return [key for key in REQUIRED if flags.get(key) is None and getattr(table, key) is None]


def settings_of(source: Source, flags: Mapping[str, Any]) -> NodeSettings:
    """What a node is started with. Nothing may be `missing`."""
    table = source.configuration.node
    said = {**table.model_dump(exclude={"python_path"}), **flags}
    state = flags.get("state") or (table.state and source.resolve(table.state))
    return NodeSettings(
        coordinator=said["coordinator"],
        name=said["name"],
        state=Path(state or "."),
        listen=said["listen"],
        advertise=said["advertise"],
        insecure=said["insecure"],
        pull=Pull(said["pull"], said["pull_interval"]),
        keep_states=said["keep_states"],
        value_limit=said["value_limit"],
        connect_timeout=said["connect_timeout"],
    )
