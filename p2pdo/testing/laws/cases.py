"""Where cases come from: the library's table, or a name that can be imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from p2pdo.algorithms import catalogue
from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm
from p2pdo.algorithms.base import Algorithm
from p2pdo.data.encode import load_object
from p2pdo.errors import ConfigError
from p2pdo.testing.laws.asynchronous import ASYNCHRONOUS_LAWS, AsynchronousCase
from p2pdo.testing.laws.case import Case
from p2pdo.testing.laws.held import LAWS

STEP_SIZE = 0.05


def library_cases() -> list[Case]:
    """Every synchronous algorithm of the library, as it comes."""
    return [case_of(cls) for cls in catalogue.ALGORITHMS.values()]


def laws_of(case: Case | AsynchronousCase) -> list[Callable[[Any], None]]:
    """The laws of its kind."""
    return list(ASYNCHRONOUS_LAWS if isinstance(case, AsynchronousCase) else LAWS)


def cases_at(where: str) -> list[Case | AsynchronousCase]:
    """What stands at "package:NAME": an algorithm's class or object, a case, or a list of these.

    Raises:
        ConfigError: there is no such name, or it is none of these.
    """
    found = load_object(where)
    return [_case(where, one) for one in (found if isinstance(found, list | tuple) else [found])]


def _case(where: str, found: Any) -> Case | AsynchronousCase:
    if isinstance(found, Case | AsynchronousCase):
        return found
    if isinstance(found, AsynchronousAlgorithm):
        return AsynchronousCase(found)
    if isinstance(found, type) and issubclass(found, AsynchronousAlgorithm):
        return AsynchronousCase(catalogue.build(found, {}, smoothness=1 / STEP_SIZE))
    if isinstance(found, Algorithm):
        return Case(found)
    if isinstance(found, type) and issubclass(found, Algorithm):
        return case_of(found)
    raise ConfigError(
        f"{where} is {type(found).__name__}, no algorithm",
        hint="name a class derived from p2pdo.algorithms.Algorithm or AsynchronousAlgorithm, an "
        "object of one, or a p2pdo.testing.laws.Case",
    )


def case_of(cls: type[Algorithm[Any]]) -> Case:
    """The class with its defaults, and with a small step where it has none.

    Raises:
        ConfigError: another parameter has no default.
    """
    return Case(catalogue.build(cls, {}, smoothness=1 / STEP_SIZE))
