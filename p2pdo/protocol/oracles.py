"""Whether a cost has what an algorithm calls on it, and what to do where it has not.

Asked before a run by who has all costs, and at each node by who has one.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from p2pdo.algorithms.base import Method
from p2pdo.algorithms.catalogue import ALGORITHMS, name_of

SUGGESTED = ("gradient-tracking", "prox-nids", "edge-admm")
"""One for each of the oracles that costs have most; a remedy names those that take the cost."""

_OTHER_METHODS = (
    "p2pdo algorithms tells what each needs of a problem; or give the problem these methods, see "
    "p2pdo.problems.base"
)
_HIDES_NOTHING = (
    "noise from the run's seed, which all know, hides nothing: give each node a cost "
    "with a secret of its own, such as p2pdo.problems."
)
_REMEDIES = {
    "Private": f"{_HIDES_NOTHING}PrivateLogistic; breast-cancer-private has one",
    "Secret": f"{_HIDES_NOTHING}PrivateDistance; averaging-private has one",
}


class Lack(NamedTuple):
    """What a cost does not have, in words, and a remedy."""

    message: str
    hint: str


def lack_of(algorithm: type[Method], problem: Any) -> Lack | None:
    """What the algorithm calls and the problem has not; None where it has all."""
    needed = algorithm.requires.oracle
    if isinstance(problem, needed):
        return None
    parts = [name for name in dir(needed) if not name.startswith("_")]
    lacks = ", ".join(name for name in parts if not hasattr(problem, name))
    return Lack(
        f"{name_of(algorithm)} needs a problem with the methods of {needed.__name__}; "
        f"{type(problem).__name__} lacks {lacks}",
        _REMEDIES.get(needed.__name__) or _others(problem),
    )


def _others(problem: Any) -> str:
    """Which algorithms would take it."""
    fitting = [name for name in SUGGESTED if isinstance(problem, ALGORITHMS[name].requires.oracle)]
    return f"--algorithm {' or '.join(fitting)}; {_OTHER_METHODS}" if fitting else _OTHER_METHODS
