"""Asking: a participant's exchanges. It owns its loop and asks in the middle of it.

An algorithm yields the same effects to a stepper; see `exchanging` for what both share.
"""

from __future__ import annotations

from p2pdo.errors import RemoteProtocolError, WorkloadFailed
from p2pdo.protocol.exchanging import Exchanging
from p2pdo.protocol.values import differences, is_finite, leaves
from p2pdo.types import Value


class Asking(Exchanging):
    """One node's questions, in order; their owner sets the iteration."""

    def unlike(self, own: tuple[Value, ...], theirs: Value, sender: int) -> RemoteProtocolError:
        name = self.place.name_of(sender)
        if isinstance(theirs, tuple) and len(theirs) == len(own) == 1:
            own_one, their_one = own[0], theirs[0]  # so that names are told without an index
        else:
            own_one, their_one = own, theirs
        told = next(differences(own_one, their_one))
        return RemoteProtocolError(
            f"{name} and {self.place.name} mix values of different layouts: {told}",
            hint="all nodes must mix values of the same names, shapes and dtypes: "
            "do they build the same model?",
            node=name,
            iteration=self.iteration,
        )

    def not_finite(self, value: Value) -> WorkloadFailed:
        name = next(name for name, leaf in leaves(value) if not is_finite(leaf))
        which = f"'{name}'" if name else "a value"
        return WorkloadFailed(
            f"{which} of {self.place.name} is not finite (NaN or infinite) "
            f"in round {self.iteration}",
            hint="a smaller step size or learning rate, or look at the loss there",
            node=self.place.name,
            iteration=self.iteration,
        )
