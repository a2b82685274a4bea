"""How a problem or an algorithm crosses to another process: as data, never as code.

    plain, arrays = to_fields(problem)          plain: what JSON can say; arrays: a safetensors file
    where = locate(type(problem))               "module:Class" or "/abs/path/script.py:Class"
    from_fields(load(where), plain, arrays)     the same problem, in another process

Only dataclasses cross, field by field: a field is plain data, an array, a tuple of arrays, or a
function or class that can be imported. The arrays of a tuple are named `field.0`, `field.1` … and
its length stands at `field.length` in the plain data, as the place of a function at `field.place`;
no field's name has a dot, so nothing else can be meant.

A class is imported from where it was written. That of a script run by its path is imported again
under a name made from the path: once per process, and never as `__main__`, so that what the script
does under `if __name__ == "__main__":` is not done again. The script's folder is put at the end of
`sys.path`, so that it finds the modules beside it, and stays there for imports at run time. What
exists only in a notebook or inside a function cannot be imported and is refused. So is a run that a
script starts while it is imported: each of its nodes would import it again, and start the next.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import sys
import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.types import Array, Plain

T = TypeVar("T")

SCRIPT_PREFIX = "p2pdo_script_"
_NOT_FOUND = "is it installed in this environment? a file is named by its path: DIR/FILE.py:NAME"
GUARD_HINT = 'put what the script does under: if __name__ == "__main__":'
FILE_HINT = "put it into a file, at the top level of a module, and import it from there"
_importing: ContextVar[Path | None] = ContextVar("importing", default=None)
"""The script that is being imported here."""

_scripts = threading.RLock()
"""Held while a script is imported: a second thread must not see half of it."""


# Fields


def to_fields(problem: object) -> tuple[dict[str, Plain], dict[str, Array]]:
    """The fields of a dataclass as plain data and arrays.

    Raises:
        ConfigError: it is no dataclass, or a field is neither; names the field and the remedy.
    """
    plain: dict[str, Plain] = {}
    arrays: dict[str, Array] = {}
    for field in _init_fields(type(problem)):
        value = getattr(problem, field.name)
        where = f"{type(problem).__qualname__}.{field.name}"
        if type(value) is np.ndarray:
            arrays[field.name] = _portable(where, value)
        elif _is_tuple_of_arrays(value):
            plain[f"{field.name}.length"] = len(value)
            for i, item in enumerate(value):
                arrays[f"{field.name}.{i}"] = _portable(f"{where}[{i}]", item)
        elif callable(value):
            plain[f"{field.name}.place"] = _place(where, value)
        else:
            plain[field.name] = _plain(where, value)
    return plain, arrays


def from_fields(cls: type[T], plain: Mapping[str, Plain], arrays: Mapping[str, Array]) -> T:
    """The object that `to_fields` took apart; its arrays own their data.

    Raises:
        ConfigError: a field is missing or unknown, or the class refuses what it is given.
    """
    declared = {field.name: field for field in _init_fields(cls)}
    given = {key.partition(".")[0] for key in (*plain, *arrays)}
    for name in sorted(given - declared.keys()):
        raise ConfigError(
            f"{cls.__qualname__} has no field '{name}'",
            hint=f"it has {', '.join(declared) or 'none'}: are both sides of one version?",
        )
    missing = [name for name, field in declared.items() if name not in given and _is_needed(field)]
    if missing:
        raise ConfigError(
            f"{cls.__qualname__} lacks its field '{missing[0]}'",
            hint="were its plain data and its arrays both handed over?",
        )
    return cls(**{name: _field_value(cls, name, plain, arrays) for name in given})


def _init_fields(cls: type) -> list[Field[Any]]:
    if not is_dataclass(cls):
        raise ConfigError(
            f"{cls.__qualname__} cannot cross to another process: it is no dataclass",
            hint="make it @dataclass(frozen=True) with fields of arrays and plain data",
        )
    return [field for field in fields(cls) if field.init]


def _is_needed(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _field_value(
    cls: type, name: str, plain: Mapping[str, Plain], arrays: Mapping[str, Array]
) -> object:
    if name in plain:
        return plain[name]
    if name in arrays:
        return _own(arrays[name])
    if f"{name}.place" in plain:
        return load_object(str(plain[f"{name}.place"]))
    length = plain.get(f"{name}.length")
    keys = [f"{name}.{i}" for i in range(length)] if isinstance(length, int) else [f"{name}.length"]
    for key in keys:
        if key not in arrays:
            raise ConfigError(
                f"{cls.__qualname__} lacks '{key}'",
                hint="were its plain data and its arrays both handed over?",
            )
    return tuple(_own(arrays[key]) for key in keys)


def _own(array: Array) -> Array:
    """The array in memory of its own: a file's buffer may lie at any address."""
    return np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED", "OWNDATA"])


def _is_tuple_of_arrays(value: object) -> bool:
    return type(value) is tuple and all(type(item) is np.ndarray for item in value)


def _portable(where: str, array: Array) -> Array:
    """The array in row order and in this machine's bytes, which is what a file is written from."""
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > np.dtype(np.float64).itemsize:
        raise ConfigError(
            f"{where} is an array of {array.dtype}, which cannot cross to another process",
            hint="use booleans, integers or floats of at most 64 bits",
        )
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _plain(where: str, value: object) -> Plain:
    """`value` where JSON can say it and gives it back as it was."""
    if value is None or type(value) in (bool, int, str):
        return value  # type: ignore[return-value]
    if type(value) is float and math.isfinite(value):
        return value
    if type(value) is list:
        return [_plain(f"{where}[{i}]", item) for i, item in enumerate(value)]
    if type(value) is dict and all(type(key) is str for key in value):
        return {key: _plain(f"{where}[{key!r}]", item) for key, item in value.items()}
    raise ConfigError(
        f"{where} is of type {type(value).__qualname__}, which cannot cross to another process",
        hint=_remedy(value),
    )


def _place(where: str, function: Any) -> str:
    """Where a field's function or class is imported from."""
    if not hasattr(function, "__qualname__"):
        raise ConfigError(
            f"{where} is an object of type {type(function).__qualname__} that can be called, "
            "which cannot cross to another process",
            hint="write a function at the top level of a file, and give that",
        )
    try:
        return locate(function)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", hint=error.hint) from None


def _remedy(value: object) -> str:
    match value:
        case np.generic():
            return f"make it a number of Python: {type(value.item()).__name__}(…)"
        case np.ndarray():
            return "make it a plain array: np.asarray(…)"
        case float():
            return "plain data have no infinity and no NaN: put it into an array"
        case tuple():
            return "a tuple may hold arrays only: make it a list or an array"
        case dict():
            return "the keys of plain data are text"
        case _:
            return (
                "use an array, a tuple of arrays, a number, text, None, or lists and dicts of "
                "these; make anything else in a cached_property from them"
            )


# Classes and functions


def locate(cls: Any) -> str:
    """Where `load` finds the class: "module:Class" or "/abs/path/script.py:Class".

    What else has a module and a qualified name, a function or a participant, is found by
    `load_object`.

    Raises:
        ConfigError: it cannot be imported again: it lives in a notebook, a prompt or a function.
    """
    if "<locals>" in cls.__qualname__:
        raise ConfigError(f"{cls.__qualname__} exists only inside a function", hint=FILE_HINT)
    home = str(getattr(cls, "__module__", None))
    module = sys.modules.get(home)
    if module is None or _find(module, cls.__qualname__) is not cls:
        raise ConfigError(
            f"{cls.__qualname__} is not what {home} has under that name", hint=FILE_HINT
        )
    return f"{_module_place(module, cls)}:{cls.__qualname__}"


def _module_place(module: ModuleType, cls: Any) -> str:
    """The module's name, or the path of a script."""
    name: str = cls.__module__
    if name != "__main__" and not name.startswith(SCRIPT_PREFIX):
        return name
    spec = getattr(module, "__spec__", None)
    if name == "__main__" and spec is not None and spec.parent:  # python -m package.module
        return str(spec.name)
    file = getattr(module, "__file__", None)
    if file is None or file == "<stdin>":
        raise ConfigError(
            f"{cls.__qualname__} exists only in this notebook or prompt", hint=FILE_HINT
        )
    return str(Path(file).resolve())


def load(where: str) -> type[Any]:
    """The class that `locate` placed.

    Raises:
        ConfigError: there is no such file, module or class, or its import fails.
    """
    module, qualname = _import(where)
    found = _find(module, qualname)
    if not isinstance(found, type):
        known = [name for name, value in vars(module).items() if isinstance(value, type)]
        place = where.removesuffix(f":{qualname}")
        raise ConfigError(f"{place} has no class '{qualname}'", hint=did_you_mean(qualname, known))
    return found


def load_object(where: str) -> Any:
    """Whatever stands at "module:name" or "script.py:name".

    Raises:
        ConfigError: there is no such file, module or name, or its import fails.
    """
    module, qualname = _import(where)
    found = _find(module, qualname)
    if found is None:
        known = [
            name
            for name, value in vars(module).items()
            if not (name.startswith("_") or isinstance(value, ModuleType))
        ]
        place = where.removesuffix(f":{qualname}")
        raise ConfigError(f"{place} has no '{qualname}'", hint=did_you_mean(qualname, known))
    return found


def _import(where: str) -> tuple[ModuleType, str]:
    place, _, qualname = where.rpartition(":")
    if not place or not qualname or place == "__main__":
        raise ConfigError(
            f"'{where}' names no class", hint="write module:Class or /abs/path/script.py:Class"
        )
    return (_script(Path(place)) if place.endswith(".py") else _module(place)), qualname


def _find(module: ModuleType, qualname: str) -> Any:
    found: object = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"cannot import {name}: {error}", hint=_NOT_FOUND) from error
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"cannot import {name}: {type(error).__name__}: {error}", hint=_import_remedy(error)
        ) from error


def _script(path: Path) -> ModuleType:
    path = path.resolve()
    name = _script_name(path)
    with _scripts:
        if name not in sys.modules:
            _import_script(path, name)
        return sys.modules[name]


def _script_name(path: Path) -> str:
    return f"{SCRIPT_PREFIX}{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"


def _import_script(path: Path, name: str) -> None:
    if not path.is_file():
        raise ConfigError(f"there is no script {path}", hint="was it moved or renamed?")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, "a .py file has a loader"
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    importing = _importing.set(path)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(
            f"cannot import {path}: {type(error).__name__}: {error}", hint=_import_remedy(error)
        ) from error
    finally:
        _importing.reset(importing)


def _import_remedy(error: BaseException) -> str:
    match error:
        case SyntaxError():
            return f"correct line {error.lineno} of {error.filename}"
        case ImportError():
            return "is it installed in this environment?"
        case _:
            return GUARD_HINT


def refuse_while_importing() -> None:
    """What only a script's main part may do.

    Raises:
        ConfigError: a script is being imported for what it defines.
    """
    path = _importing.get()
    if path is not None:
        raise ConfigError(f"{path.name} starts a run while it is imported", hint=GUARD_HINT)
