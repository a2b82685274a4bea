"""Algorithms of other packages: those that are installed under the entry points `p2pdo.algorithms`.

    [project.entry-points."p2pdo.algorithms"]        in the pyproject.toml of a package
    my-method = "my_package.methods:MyMethod"

They are looked for when a name is asked for that the library does not have, so that nothing is
imported that nobody asked for. The library's own names are always its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.base import Algorithm
from p2pdo.errors import ConfigError
from p2pdo.on_use import installed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "p2pdo.algorithms"


def installed_algorithms() -> dict[str, EntryPoint]:
    """By name, in alphabetical order; nothing is imported for it."""
    return installed(GROUP)


def load(entry: EntryPoint) -> type[Algorithm[Any] | AsynchronousAlgorithm[Any]]:
    """The class.

    Raises:
        ConfigError: its import fails, or it is no algorithm.
    """
    origin = f"the installed algorithm '{entry.name}' ({entry.value})"
    try:
        found = entry.load()
    except Exception as error:
        raise ConfigError(
            f"{origin} cannot be imported: {type(error).__name__}: {error}",
            hint="is its package whole, and of a version for this p2pdo?",
        ) from error
    if not (isinstance(found, type) and issubclass(found, Algorithm | AsynchronousAlgorithm)):
        raise ConfigError(
            f"{origin} is no algorithm",
            hint="derive it from p2pdo.algorithms.Algorithm or .AsynchronousAlgorithm",
        )
    return found
