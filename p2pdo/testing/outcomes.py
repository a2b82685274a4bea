"""How a law ends that does not hold, or that has nothing to be held to."""

from __future__ import annotations

from typing import NoReturn
from unittest import SkipTest


class BrokenLaw(AssertionError):
    """A law does not hold; says where."""


class NothingToTest(SkipTest):
    """A law has nothing to say of the case; says what was not given.

    pytest and unittest report a test that raises it as skipped, with the reason.
    """


def hold(holds: bool, message: str) -> None:
    if not holds:
        raise BrokenLaw(message)


def skip(reason: str) -> NoReturn:
    raise NothingToTest(reason)
