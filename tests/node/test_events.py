from __future__ import annotations

import functools
import inspect
from typing import Any

import pytest

from p2pdo.node.events import takes


class Handlers:
    def one(self, event: object) -> None: ...
    def two(self, event: object, context: object) -> None: ...
    def with_default(self, event: object, context: object = None) -> None: ...
    def any_number(self, *args: object) -> None: ...
    def keywords_only(self, event: object, *, context: object) -> None: ...
    def keywords_with_default(self, event: object, *, context: object = None) -> None: ...
    def named_only_after(self, event: object, **more: object) -> None: ...
    @staticmethod
    def static(event: object, context: object) -> None: ...
    @classmethod
    def of_class(cls, event: object, context: object) -> None: ...
    async def coroutine(self, event: object, context: object) -> None: ...
    def __call__(self, event: object, context: object) -> None: ...


def plain(event: object, context: object) -> None: ...


@functools.wraps(plain)
def wrapped(*args: Any, **kwargs: Any) -> None: ...


HANDLERS = [getattr(Handlers(), name) for name in vars(Handlers) if not name.startswith("__")]
OTHERS = [plain, wrapped, Handlers(), functools.partial(plain, 1), lambda: None, Handlers.two]


@pytest.mark.parametrize("function", [*HANDLERS, *OTHERS])
def test_how_many_arguments_a_function_takes_is_what_its_signature_says(function: Any) -> None:
    for count in range(5):
        try:
            inspect.signature(function).bind(*range(count))
            fits = True
        except TypeError:
            fits = False

        assert takes(function, count) == fits
