"""Counting what a step asks of its node's cost: the price at which methods are compared.

A step is handed the problem in a thin cover that counts the calls of its oracles and is otherwise
the problem. What a problem calls of itself is its own affair and is not counted, and neither is
what judges the run from outside.

    gradients    of the whole cost; k of the m terms of a finite sum are k/m of one, and one of a
                 mini-batch is one
    values       f(x)
    proxes       proximal maps, of the cost or of its rest, gradients of its conjugate, and
                 multipliers: all are minimisations
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from p2pdo.types import Array


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of oracles: of one node, or of all."""

    gradients: float = 0.0
    values: int = 0
    proxes: int = 0

    def __add__(self, other: Calls) -> Calls:
        return Calls(
            self.gradients + other.gradients,
            self.values + other.values,
            self.proxes + other.proxes,
        )

    def times(self, nodes: int) -> Calls:
        """Of so many nodes that called alike."""
        return Calls(nodes * self.gradients, nodes * self.values, nodes * self.proxes)

    def to_plain(self) -> dict[str, float]:
        return asdict(self)


NO_CALLS = Calls()


class Counter:
    """The calls so far."""

    __slots__ = ("gradients", "proxes", "values")

    def __init__(self) -> None:
        self.gradients = 0.0
        self.values = 0
        self.proxes = 0

    @property
    def calls(self) -> Calls:
        return Calls(self.gradients, self.values, self.proxes)


class _Cover:
    """A problem with its oracles counted."""

    def __init__(self, problem: Any, counter: Counter) -> None:
        self._problem = problem
        self._counter = counter

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._problem)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._problem, name)


def _value(self: _Cover, *given: Any) -> Any:
    self._counter.values += 1
    return self._problem.value(*given)


def _gradient(self: _Cover, *given: Any) -> Any:
    self._counter.gradients += 1
    return self._problem.gradient(*given)


def _smooth_gradient(self: _Cover, *given: Any) -> Any:
    self._counter.gradients += 1
    return self._problem.smooth_gradient(*given)


def _term_gradients(self: _Cover, x: Array, rows: Array) -> Any:
    self._counter.gradients += len(rows) / self._problem.terms
    return self._problem.term_gradients(x, rows)


def _prox(self: _Cover, *given: Any) -> Any:
    self._counter.proxes += 1
    return self._problem.prox(*given)


def _rest_prox(self: _Cover, *given: Any) -> Any:
    self._counter.proxes += 1
    return self._problem.rest_prox(*given)


def _dual_gradient(self: _Cover, *given: Any) -> Any:
    self._counter.proxes += 1
    return self._problem.dual_gradient(*given)


def _response(self: _Cover, *given: Any) -> Any:
    self._counter.gradients += 1  # of the dual cost it is all but a multiplication
    return self._problem.response(*given)


def _multiplier(self: _Cover, *given: Any) -> Any:
    self._counter.proxes += 1
    return self._problem.multiplier(*given)


_ORACLES: Mapping[str, Callable[..., Any]] = {
    "value": _value,
    "gradient": _gradient,
    "smooth_gradient": _smooth_gradient,
    "term_gradients": _term_gradients,
    "prox": _prox,
    "rest_prox": _rest_prox,
    "dual_gradient": _dual_gradient,
    "response": _response,
    "multiplier": _multiplier,
}


class Covering:
    """Covers one node's problem, or the mini-batches of it one after the other."""

    def __init__(self) -> None:
        self._counter = Counter()
        self._kind: type | None = None
        self._cover: type[_Cover] = _Cover

    @property
    def calls(self) -> Calls:
        """All so far."""
        return self._counter.calls

    def add_gradients(self, number: int) -> None:
        """Counts gradients that were not asked of a cover."""
        self._counter.gradients += number

    def cover(self, problem: Any) -> Any:
        """The problem, its oracles counted; an oracle that it lacks is lacked by its cover too.

        To `isinstance` it is of its own class.
        """
        if type(problem) is not self._kind:
            self._kind = type(problem)
            self._cover = _cover(tuple(name for name in _ORACLES if hasattr(problem, name)))
        return self._cover(problem, self._counter)


@lru_cache(maxsize=64)
def _cover(names: tuple[str, ...]) -> type[_Cover]:
    return type("Counted", (_Cover,), {name: _ORACLES[name] for name in names})
