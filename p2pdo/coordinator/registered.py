"""The controllers of a coordinator: what is installed, and what its flags name."""

from __future__ import annotations

from collections.abc import Sequence

from p2pdo.data.encode import load_object
from p2pdo.driving.controllers import GROUP, Controller
from p2pdo.errors import ConfigError
from p2pdo.on_use import installed


def registered_controllers(flags: Sequence[str]) -> dict[str, Controller]:
    """Each controller by its name; a flag wins over what is installed.

    Raises:
        ConfigError: a flag is not of the form NAME=MODULE:FUNCTION, or nothing stands there.
    """
    found: dict[str, Controller] = {}
    for name, entry in installed(GROUP).items():
        found[name] = entry.load()
    for flag in flags:
        name, equals, where = flag.partition("=")
        if not (equals and name and where):
            raise ConfigError(
                f"'{flag}' registers no controller", hint="--controller NAME=MODULE:FUNCTION"
            )
        found[name] = load_object(where)
    return found
