"""The codecs by name: the library's, and those that are installed under `p2pdo.codecs`.

    [project.entry-points."p2pdo.codecs"]            in the pyproject.toml of a package
    my-codec = "my_package.codecs:MyCodec"

What is installed is a class derived from `Codec`, made without an argument or, where it is named
with a number, with that float.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from p2pdo.codecs.base import Codec
from p2pdo.codecs.floats import BFloat16, Float16, Uncompressed
from p2pdo.codecs.quantised import MaxQsgd, Qsgd, ScaledQsgd, ScaledSign
from p2pdo.codecs.sparse import RandK, TopK
from p2pdo.errors import ConfigError, did_you_mean
from p2pdo.on_use import installed

GROUP = "p2pdo.codecs"


@dataclass(frozen=True)
class Entry:
    """One of the library's.

    Attributes:
        make: from the number in its name, or without one where `number` is empty.
        number: what the number is, in words.
        example: one.
        summary: what it sends, in words.
    """

    make: Callable[..., Codec]
    summary: str
    number: str = ""
    example: float = 0
    of: Callable[[str], Any] = float


CODECS: Mapping[str, Entry] = {
    "none": Entry(Uncompressed, "every entry as it is"),
    "fp16": Entry(Float16, "16 bits an entry, beside a common power of two"),
    "bf16": Entry(BFloat16, "16 bits an entry, with the range of float32"),
    "top-k": Entry(TopK, "the largest entries", "share of entries", 0.1),
    "rand-k": Entry(RandK, "entries that are drawn", "share of entries", 0.1),
    "sign": Entry(ScaledSign, "one bit an entry"),
    "qsgd": Entry(Qsgd, "levels of the norm", "number of levels", 15, int),
    "scaled-qsgd": Entry(
        ScaledQsgd, "the same, shrunk to a contraction", "number of levels", 15, int
    ),
    "max-qsgd": Entry(
        MaxQsgd, "levels of the largest entry of each 512", "number of levels", 15, int
    ),
}


@lru_cache(maxsize=64)
def codec(text: str) -> Codec:
    """The codec of that name, as NAME or NAME:NUMBER.

    Raises:
        ConfigError: there is none, or its number is missing, too much, or out of range.
    """
    name, colon, number = text.partition(":")
    entry = CODECS.get(name)
    if entry is None:
        return _of_elsewhere(name, number)
    if not entry.number:
        if colon:
            raise ConfigError(f"codec '{name}' takes no number", hint=f"write {name}")
        return entry.make()
    try:
        value = entry.of(number)
    except ValueError:
        raise ConfigError(
            f"codec '{text}' does not give the {entry.number}",
            hint=f"for example {name}:{entry.example:g}",
        ) from None
    return entry.make(value)


def _of_elsewhere(name: str, number: str) -> Codec:
    others = installed(GROUP)
    if name not in others:
        raise ConfigError(f"unknown codec '{name}'", hint=did_you_mean(name, [*CODECS, *others]))
    origin = f"the installed codec '{name}' ({others[name].value})"
    try:
        made = others[name].load()(*([float(number)] if number else []))
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{origin} cannot be made: {type(error).__name__}: {error}",
            hint="does it want a number, as NAME:NUMBER? is its package whole?",
        ) from error
    if not isinstance(made, Codec):
        raise ConfigError(f"{origin} is no codec", hint="derive it from p2pdo.codecs.Codec")
    return made
