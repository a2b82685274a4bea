"""What is found on the way through a configuration file: its mistakes, each with its line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from p2pdo.data.encode import load_object
from p2pdo.errors import ConfigError
from p2pdo.node.configuration.lines import line_at
from p2pdo.node.configuration.reading import Mistake, Source, wrong


@dataclass
class Findings:
    """Goes along with whoever makes something of a file, and tells all mistakes at the end."""

    source: Source
    mistakes: list[Mistake] = field(default_factory=list)

    def add(self, words: str, *place: str | int) -> None:
        line = line_at(self.source.lines, place) or 0
        self.mistakes.append((line, f"{self.source.where(*place)}: {words}"))

    def load(self, where: str, *place: str | int) -> Any:
        """What stands at the path; None, and a mistake, where nothing does."""
        try:
            return load_object(self.source.locate(where))
        except ConfigError as error:
            hint = f" ({error.hint})" if error.hint else ""
            self.add(f"{error.message}{hint}", *place)
            return None

    def require_call(self, call: Callable[[], object], what: str, *place: str | int) -> None:
        """A mistake where `call`, which binds arguments, says that they do not fit."""
        try:
            call()
        except TypeError as error:
            self.add(f"{what}: {error}", *place)
        except ValueError:
            pass  # a builtin that does not tell its arguments

    def require_arguments(self, thing: Any, args: dict[str, Any], what: str, *place: Any) -> None:
        """A mistake where it cannot be called with exactly these."""
        self.require_call(lambda: inspect.signature(thing).bind(**args), what, *place)

    def check(self) -> None:
        """Ends the way.

        Raises:
            ConfigError: with every mistake and its line, if there is one.
        """
        if self.mistakes:
            raise wrong(self.mistakes, self.source.path)
