"""An asynchronous algorithm wakes by its own clock and waits for nobody's iteration.

    init(x, problem, here)              -> state             from a start x of shape (d,)
    wake(state, problem, here)          -> state, {j: parts} what it sends to out-neighbours
    receive(state, sender, parts, here) -> state, reply      what it sends back, or None

One call at a time; each is pure, and what it was given is never changed. `here.iteration` counts
the node's own wake-ups. The state is a NamedTuple with the decision variable in `x`, whole between
any two calls, so limits, tolerance, observation and resuming belong to whoever makes the calls.

What is sent to a neighbour has named parts, each on the channel that the class declares for it:

- `Channel.LATEST`: only the newest counts; an older one that comes later is dropped.
- `Channel.RUNNING_SUM`: what is sent adds up. The author sends and receives increments; on the way
  go the sums of all of them, so that what is lost, doubled or overtaken changes nothing: the next
  one that arrives brings it. Sums are arrays, kept in float64.

A wake-up need not name every out-neighbour, a reply goes to the sender alone; whatever is sent has
all parts. Out of that a rule follows that the runtime can check at any time on one node alone, the
ledger: what a node holds of a sum (`mass`), with all that it sent and less all that it received, is
what it began with.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar, Generic, TypeAlias, TypeVar

from p2pdo.algorithms.base import HasDecision, Method
from p2pdo.effects import Here
from p2pdo.types import Array, Value

S = TypeVar("S", bound=HasDecision)

Parts: TypeAlias = Mapping[str, Value]
"""What is sent to one neighbour: a value for each name of `channels`."""


class Channel(Enum):
    """What becomes of a part that is lost, doubled or overtaken on its way."""

    LATEST = "only the newest counts"
    RUNNING_SUM = "adds up: nothing is lost or counted twice"


class AsynchronousAlgorithm(Method, Generic[S]):
    """One asynchronous method; see the module's docstring for the contract."""

    channels: ClassVar[Mapping[str, Channel]]
    """Of each part of what is sent."""

    @abstractmethod
    def init(self, x: Array, problem: Any, here: Here) -> S:
        """The state before the first wake-up."""

    @abstractmethod
    def wake(self, s: S, problem: Any, here: Here) -> tuple[S, Mapping[int, Parts]]:
        """One wake-up: the next state, and what is sent to which out-neighbours."""

    @abstractmethod
    def receive(self, s: S, sender: int, parts: Parts, here: Here) -> tuple[S, Parts | None]:
        """What an in-neighbour sent; a reply goes to it, where it is an out-neighbour too."""

    def mass(self, s: S) -> Mapping[str, Array]:  # noqa: ARG002 - the newest need no book
        """What the node holds of each running sum, without what it made by itself.

        Of a tracker y of gradients g that is y − g. A method that has running sums tells this; it
        is what the ledger is made of.
        """
        return {}
