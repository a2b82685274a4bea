"""A stepper whose values tell the neighbours how far nodes moved; see `settling`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np

from p2pdo.algorithms.base import HasDecision
from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.coding import NONE
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.settling import Settle, Settling
from p2pdo.protocol.stepper import Stepper
from p2pdo.protocol.values import size_of
from p2pdo.types import Value

S = TypeVar("S", bound=HasDecision)


class SettlingStepper(Stepper[S]):
    """A value v is sent as (v, the largest move that is known)."""

    def __init__(self, settle: Settle, *arguments: Any, **options: Any) -> None:
        self._settling = Settling(settle)
        super().__init__(*arguments, **options)

    def advance_quietly(self, inbox: Mapping[int, Value] | None, pause_at: int) -> Outgoing | None:
        """As where nothing is told; at the boundary where all have settled it pauses too."""
        heard = None if inbox is None else self._heard(inbox)
        outgoing = super().advance_quietly(heard, pause_at)
        return None if outgoing is None else self._telling(outgoing)

    def _complete(self, state: S) -> None:
        before = self.state
        super()._complete(state)
        self.has_settled = self._settling.complete(float(np.linalg.norm(state.x - before.x)))

    def _telling(self, outgoing: Outgoing) -> Outgoing:
        known, each = self._settling.known, outgoing.each
        self.bytes_sent += len(self.place.out_neighbors) * size_of(known)
        if each is None:
            return outgoing._replace(value=(outgoing.value, known))
        return outgoing._replace(each={j: (value, known) for j, value in each.items()})

    def _heard(self, inbox: Mapping[int, Value]) -> dict[int, Value]:
        """The neighbours' values; what they know of moves is taken in.

        Raises:
            RemoteProtocolError: one does not tell it.
        """
        values: dict[int, Value] = {}
        told: list[float] = []
        for sender, carried in inbox.items():
            match carried:
                case (value, float(move)):
                    values[sender] = value
                    told.append(move)
                case _:
                    raise self._tells_no_moves(sender)
        self._settling.hear(told)
        return values

    def _tells_no_moves(self, sender: int) -> RemoteProtocolError:
        name = self.place.name_of(sender)
        return RemoteProtocolError(
            f"{name} does not tell {self.place.name} how far nodes moved, and this run is to end "
            "where they have settled",
            hint=f"run one version of p2pdo at all nodes; {name} has another",
            node=name,
            iteration=self.iteration,
        )


def stepper_that(settle: Settle | None, codec: str = NONE) -> Callable[..., Stepper[Any]]:
    """What makes the steppers of a run that ends there, coded so, from `Stepper`'s arguments."""
    make = Stepper if settle is None else partial(SettlingStepper, settle)
    return partial(make, codec=codec)
