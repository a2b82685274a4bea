"""A node's settings out of its file and its flags; a flag that was given wins.

Without a file nothing of what reads one is imported: a node has that memory for values.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2pdo.node.control_words import Pull
from p2pdo.node.run import NodeSettings

if TYPE_CHECKING:
    from p2pdo.node.configuration.reading import Source

REQUIRED = ("coordinator", "name", "state")


def said_by(source: Source, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says under the flags that were given."""
    table = source.configuration.node
    said = table.model_dump(exclude={"python_path"})
    return {**said, "state": table.state and source.resolve(table.state), **flags}


def missing(said: Mapping[str, Any]) -> list[str]:
    """What nobody has said and a node cannot be without."""
    return [key for key in REQUIRED if said[key] is None]


def settings_of(said: Mapping[str, Any]) -> NodeSettings:
    """What a node is started with. Nothing may be `missing`."""
    return NodeSettings(
        coordinator=said["coordinator"],
        name=said["name"],
        state=Path(said["state"]),
        listen=said["listen"],
        advertise=said["advertise"],
        insecure=said["insecure"],
        pull=Pull(said["pull"], said["pull_interval"]),
        keep_states=said["keep_states"],
        value_limit=said["value_limit"],
        connect_timeout=said["connect_timeout"],
    )
