"""The controllers of a coordinator: what is installed, and what its flags name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points

from p2pdo.data.encode import load_object
from p2pdo.driving.controllers import GROUP, Controller
from p2pdo.errors import ConfigError


def registered_controllers(flags: Sequence[str]) -> dict[str, Controller]:
    """Each controller by its name; a flag wins over what is installed.

    Raises:
        ConfigError: a flag is not of the form NAME=MODULE:FUNCTION, or nothing stands there.
    """
    found: dict[str, Controller] = {}
    for entry in entry_points(group=GROUP):
        found[entry.name] = entry.load()
    for flag in flags:
        name, equals, where = flag.partition("=")
        if not (equals and name and where):
            raise ConfigError(
                f"'{flag}' registers no controller", hint="--controller NAME=MODULE:FUNCTION"
            )
        found[name] = load_object(where)
    return found
