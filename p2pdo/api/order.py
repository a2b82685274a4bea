"""`run(problem, algorithm)` and `submit(algorithm, problem)`: a mistaken order is told as such.

A script runs a problem, a network is sent an algorithm: both read well, and nobody remembers which
is which. What stands in the wrong place is known by its name in the catalogues, or by its type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from p2pdo.algorithms.base import Method
from p2pdo.algorithms.catalogue import is_known
from p2pdo.data.catalogue import PROBLEMS
from p2pdo.errors import ConfigError
from p2pdo.participants.definition import Participant


def check_run_order(problem: Any, algorithm: Any) -> None:
    """Refuses `run` with an algorithm for its problem, a problem for its algorithm, a participant.

    Raises:
        ConfigError: with the call as it should be.
    """
    if isinstance(problem, Participant):
        raise ConfigError(
            f"{problem.name} is a participant, which brings its cost itself; run takes a problem",
            hint=f"async with p2pdo.local(8) as net: run = await net.submit({problem.name}, …)",
        )
    _check(problem, algorithm, "run takes the problem first", "p2pdo.run({p}, algorithm={a})")


def check_submit_order(algorithm: Any, problem: Any) -> None:
    """Refuses `submit` with a problem for its algorithm, or an algorithm for its problem.

    Raises:
        ConfigError: with the call as it should be.
    """
    _check(problem, algorithm, "submit takes the algorithm first", "net.submit({a}, {p})")


def _check(problem: Any, algorithm: Any, rule: str, call: str) -> None:
    if not (_is_problem(algorithm) or _is_algorithm(problem)):
        return
    a = next((_shown(value) for value in (problem, algorithm) if _is_algorithm(value)), "ALGORITHM")
    p = next((_shown(value) for value in (algorithm, problem) if _is_problem(value)), "PROBLEM")
    wrong = f"{p} is a problem" if _is_problem(algorithm) else f"{a} is an algorithm"
    raise ConfigError(f"{wrong}; {rule}", hint=call.format(a=a, p=p))


def _is_problem(value: Any) -> bool:
    return value in PROBLEMS if isinstance(value, str) else isinstance(value, Sequence)


def _is_algorithm(value: Any) -> bool:
    if isinstance(value, str):
        return is_known(value)
    return isinstance(value, Method) or (isinstance(value, type) and issubclass(value, Method))


def _shown(value: Any) -> str:
    """The value as one writes it in the call."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, Sequence):
        return f"[{type(value[0]).__name__}(…), …]" if value else "[]"
    return f"{value.__name__ if isinstance(value, type) else type(value).__name__}(…)"
