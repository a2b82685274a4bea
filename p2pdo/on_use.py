"""What is imported when it is first used, and not with the package that it is in.

A node runs one algorithm on one problem, and each module that it imports stays in its memory. So
where there are many of a kind, tables say where each is, and this says how they are read:

    __getattr__ = attributes(__name__, {"consensus": "Consensus MaxConsensus"})    a package's names
    ALGORITHMS = ByName("p2pdo.algorithms", {"consensus": "Consensus"})            a catalogue
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


def attributes(package: str, places: Mapping[str, str]) -> Callable[[str], object]:
    """A package's `__getattr__`: by module the names that the package shows of it."""
    module_of = {name: module for module, names in places.items() for name in names.split()}

    def attribute(name: str) -> object:
        if name in places:
            return import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        value = getattr(import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return attribute


class ByName(Mapping[str, T]):
    """A catalogue: names of users, and what `package` calls each, as NAME or MODULE.NAME."""

    def __init__(self, package: str, called: Mapping[str, str]) -> None:
        self._package = package
        self._called = called

    def __getitem__(self, name: str) -> T:
        module, _, attribute = f"{self._package}.{self._called[name]}".rpartition(".")
        return cast("T", getattr(import_module(module), attribute))

    def __iter__(self) -> Iterator[str]:
        return iter(self._called)

    def __len__(self) -> int:
        return len(self._called)

    def __contains__(self, name: object) -> bool:
        return name in self._called

    def name_of(self, thing: Any) -> str | None:
        """The name in the catalogue of a class or function; None if it is not in it."""
        for name, called in self._called.items():
            if called.rpartition(".")[2] == thing.__name__ and self[name] is thing:
                return name
        return None


def installed(group: str) -> dict[str, EntryPoint]:
    """What other packages install under `group`, in alphabetical order; none of it is imported."""
    from importlib.metadata import entry_points

    return {entry.name: entry for entry in sorted(entry_points(group=group), key=lambda e: e.name)}
