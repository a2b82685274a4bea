"""Which keys a file's tables may have, as their pydantic models say it."""

from __future__ import annotations

from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from p2pdo.node.configuration.lines import Location


def dotted(place: Location) -> str:
    return ".".join(str(part) for part in place)


def guess(model: type[BaseModel], place: Location) -> str:
    """What the unknown key at that place may have been meant to be; what a sentence ends with."""
    known = _keys_at(model, place[:-1])
    near = get_close_matches(str(place[-1]), known, n=1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(known)}" if known else ""


def _keys_at(model: Any, place: Location) -> list[str]:
    """The keys of the table at that place."""
    for part in place:
        model = _inner(model, part)
    return [f.alias or name for name, f in model.model_fields.items()] if _is_table(model) else []


def _inner(model: Any, part: str | int) -> Any:
    if _is_table(model):
        known = model.model_fields.get(str(part))
        return None if known is None else _without_union(known.annotation)
    if get_origin(model) in (dict, list):
        return _without_union(get_args(model)[-1])
    return None


def _without_union(model: Any) -> Any:
    """Of a union the table, or else its first type but None."""
    if get_origin(model) not in (Union, UnionType):
        return model
    args = [arg for arg in get_args(model) if arg is not type(None)]
    return next((arg for arg in args if _is_table(arg)), args[0])


def _is_table(model: Any) -> bool:
    return isinstance(model, type) and issubclass(model, BaseModel)
