"""Loans: places in a slot that are lent before anything is published there.

A weighted sum is mostly what is sent next, or is written over by it. So it is made in the slot of
the next exchange, where nobody reads: what is then sent from there is neither copied nor in the
caches twice.

    lend ─▶ the step computes, and keeps what it likes ─▶ fill

A place that was lent is not written as long as any array looks at it, whoever holds it: a state, an
observer, a neighbour's session. Where one is still there when the slot is needed, the record goes
elsewhere, and nothing is lent in this workload any more: such a step keeps what it exchanged.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from p2pdo.effects import Loan
from p2pdo.types import Array, Value


class Loans:
    """Of one slot: the places of a value's arrays, and who has them."""

    __slots__ = ("_lent", "_places")

    def __init__(self, value: Value) -> None:
        """`value` is made of the slot's memory."""
        self._places = list(_arrays(value))
        self._lent: list[weakref.ref[Loan] | None] = [None] * len(self._places)

    def lend(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
        """An array of a place of that shape that nobody looks at; None where there is none."""
        for k, place in enumerate(self._places):
            if place.shape == shape and place.dtype == dtype and self._loan(k) is None:
                loan = Loan(place)
                self._lent[k] = weakref.ref(loan)
                return np.asarray(loan)
        return None

    def held(self) -> list[Loan]:
        """What somebody looks at."""
        return [loan for k in range(len(self._lent)) if (loan := self._loan(k)) is not None]

    def fill(self, value: Value) -> bool:
        """Copies what is not in its place; False, and nothing is done: somebody looks at it.

        `value` is laid out as the places are.
        """
        arrays = list(_arrays(value))
        elsewhere = []
        for k, a in enumerate(arrays):
            base: object = a.base
            loan = self._loan(k)
            if loan is None:
                elsewhere.append(k)
            elif base is not loan:
                return False
        for k in elsewhere:
            self._places[k][...] = arrays[k]
        return True

    def _loan(self, k: int) -> Loan | None:
        lent = self._lent[k]
        return None if lent is None else lent()


def when_gone(loans: Sequence[Loan], then: Callable[[], None]) -> None:
    """Calls `then` once nobody looks at any of them, on whichever thread that ends."""
    left = set(map(id, loans))

    def gone(one: int) -> None:
        left.discard(one)
        if not left:
            then()

    for loan in loans:
        weakref.finalize(loan, gone, id(loan)).atexit = False


def _arrays(value: Value) -> Iterator[Array]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _arrays(item)
    elif isinstance(value, dict):
        for key in sorted(value):
            yield from _arrays(value[key])
