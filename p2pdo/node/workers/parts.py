"""Things of a site's own code, made in a worker process from their path and arguments.

Whatever keeps one from being made is told as the site's operator needs it: which part, what is
wrong with its path or its arguments, and the nearest name that would have been right.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from p2pdo.errors import ConfigError, did_you_mean


def make_part(what: str, path: str, args: Mapping[str, Any]) -> Any:
    """Calls what stands at "package.module:Class" or "script.py:Class" with the arguments.

    Raises:
        ConfigError: there is nothing of that name, or it cannot be called like that.
        Exception: whatever it raised itself.
    """
    make = _find(what, path)
    if not callable(make):
        raise ConfigError(
            f"{what}: {path} is a {type(make).__name__}", hint="name a class or a function"
        )
    _check_arguments(what, path, make, args)
    return make(**args)


def _find(what: str, path: str) -> Any:
    place, _, name = path.rpartition(":")
    if not (place and name):
        raise ConfigError(f"the path of {what} is '{path}'", hint="write package.module:Class")
    if place.endswith(".py"):
        from p2pdo.data.encode import load_object  # with numpy, which others start without

        return load_object(path)
    return _attribute(what, _module(what, place), name)


def _module(what: str, name: str) -> ModuleType:
    parent = ""
    for part in name.split("."):
        full = f"{parent}.{part}" if parent else part
        if not _is_there(full):
            raise ConfigError(
                f"{what}: there is no module '{full}'",
                hint=did_you_mean(part, _modules_in(parent)) if parent else _WHERE,
            )
        parent = full
    return importlib.import_module(name)


_WHERE = "install the package in the node's Python, or put its folder in PYTHONPATH"


def _is_there(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ValueError:  # a module that was made without a spec
        return True


def _modules_in(package: str) -> list[str]:
    paths = getattr(importlib.import_module(package), "__path__", ())
    return [found.name for found in pkgutil.iter_modules(paths)]


def _attribute(what: str, module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [word for word in dir(found) if not word.startswith("_")]
            raise ConfigError(
                f"{what}: '{module.__name__}' has no '{name}'", hint=did_you_mean(part, known)
            )
        found = getattr(found, part)
    return found


def _check_arguments(what: str, path: str, make: Any, args: Mapping[str, Any]) -> None:
    """Says which arguments it takes, which Python's own words do not."""
    import inspect

    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):  # it does not say
        return
    try:
        signature.bind(**args)
    except TypeError as error:
        raise ConfigError(f"{what}: {path}{signature}: {error}", hint="correct its args") from None
