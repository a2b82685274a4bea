"""What a participant is: a plain function that owns its loop, and how its messages travel.

    @p2pdo.participant
    def train(me, *, lr=1e-3):
        for _ in me.rounds():
            ...
            x = me.mix(x)

The function's arguments behind `me` are its parameters. It is called on the sites by its name or
its place; neither it nor its data travel.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, overload

from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.types import Plain, Value


class Participant:
    """A training loop; still callable as the function that it was made from.

    Attributes:
        function: called as `function(me, **parameters)`; returns plain data or None.
        encode: a message of the author's own type as what can be exchanged; None: it can.
        decode: the way back.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        encode: Callable[[Any], Value] | None = None,
        decode: Callable[[Any], Any] | None = None,
    ) -> None:
        if not inspect.isfunction(function) or inspect.iscoroutinefunction(function):
            raise ConfigError(
                f"{getattr(function, '__qualname__', function)!s:.80} is no plain function",
                hint="write @p2pdo.participant above: def train(me, *, lr=1e-3): …",
            )
        if (encode is None) != (decode is None):
            raise ConfigError(
                f"{function.__qualname__} has encode without decode, or the other way round",
                hint="give both: what is sent must come back",
            )
        self.function = function
        self.encode = encode
        self.decode = decode
        # By these it is found again where it was written, as a class is.
        self.__module__ = function.__module__
        self.__qualname__ = function.__qualname__
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<participant {self.__qualname__}>"

    @property
    def name(self) -> str:
        return self.__name__

    def bind(self, parameters: Mapping[str, Plain]) -> dict[str, Any]:
        """Every parameter with its value, the defaults included.

        Raises:
            ConfigError: one is unknown, missing, or no plain data.
        """
        declared = _keywords(self.function)
        takes_any = any(
            p.kind is p.VAR_KEYWORD for p in inspect.signature(self.function).parameters.values()
        )
        for name in parameters:
            if name not in declared and not takes_any:
                known = did_you_mean(name, list(declared)) if declared else "it has none"
                raise ConfigError(f"{self.name} has no parameter '{name}'", hint=known)
        missing = [name for name, default in declared.items() if default is inspect.Parameter.empty]
        lacking = [name for name in missing if name not in parameters]
        if lacking:
            raise ConfigError(
                f"{self.name} needs its parameter '{lacking[0]}'",
                hint=f"parameters={{'{lacking[0]}': …}}, or give it a default",
            )
        defaults = {name: value for name, value in declared.items() if name not in missing}
        for name, value in parameters.items():
            require_plain(value, f"the parameter '{name}' of {self.name}")
        return {**defaults, **parameters}


def _keywords(function: Callable[..., Any]) -> dict[str, Any]:
    """Its arguments behind the first, with their defaults.

    Raises:
        ConfigError: it cannot be called as function(me, **parameters).
    """
    declared = list(inspect.signature(function).parameters.values())
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    behind = declared[1:]
    if (
        not declared
        or declared[0].kind not in by_place
        or any(p.kind is p.POSITIONAL_ONLY for p in behind)
    ):
        raise ConfigError(
            f"{function.__qualname__} cannot be called as {function.__name__}(me, **parameters)",
            hint="write def train(me, *, lr=1e-3): …",
        )
    return {p.name: p.default for p in behind if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}


@overload
def participant(function: Callable[..., Any], /) -> Participant: ...
@overload
def participant(
    *,
    encode: Callable[[Any], Value] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> Callable[[Callable[..., Any]], Participant]: ...
def participant(
    function: Callable[..., Any] | None = None,
    /,
    *,
    encode: Callable[[Any], Value] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> Any:
    """Makes a participant of a function `train(me, *, lr=1e-3, …)`.

    With `encode` and `decode` the author's own type of message is what `me.mix` and `me.exchange`
    take and give: `encode(message)` is arrays, numbers, or tuples and dicts of them, and
    `decode(value)` is a message again.

    Raises:
        ConfigError: it is no plain function, or one of the two is missing.
    """
    if function is None:
        return lambda wrapped: Participant(wrapped, encode, decode)
    return Participant(function, encode, decode)


class NotPlain(Exception):
    """Where in a value something stands that JSON cannot say."""

    def __init__(self, where: str, kind: str) -> None:
        super().__init__(where, kind)
        self.where = where
        self.kind = kind


def plain_of(value: Any, where: str = "") -> Plain:
    """The value as plain data; numbers of NumPy, PyTorch and JAX become Python's.

    Raises:
        NotPlain: it holds something else.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, list | tuple):
        return [plain_of(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain_of(item, f"{where}[{key!r}]") for key, item in value.items()}
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        return plain_of(value.item(), where)
    is_number = isinstance(value, float)
    kind = f"something of type {type(value).__qualname__}"
    raise NotPlain(where, "a number that is not finite" if is_number else kind)


def is_plain(value: Any) -> bool:
    try:
        plain_of(value)
    except NotPlain:
        return False
    return True


def require_plain(value: Any, what: str) -> None:
    """Refuses a value that is not plain data already."""
    try:
        plain_of(value)
    except NotPlain as odd:
        raise ConfigError(
            f"{what} holds {odd.kind}{f' at {odd.where}' if odd.where else ''}",
            hint="parameters are plain data: numbers, text, lists and dicts; data stay at the site",
        ) from None
