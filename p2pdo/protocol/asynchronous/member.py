"""A member runs one asynchronous algorithm at one node: calls in, messages out.

    member.wake()              -> [(out-neighbour, message), …]
    member.receive(j, message) -> the reply for j, or None

Between calls its state is whole. All that it is, for resuming: `state`, `wakes`, `sending` and
`receiving`. Who calls it, a simulator's clocks or a process between hospitals, is not its
business; two questions tell when to:

- `may_wake`: no in-neighbour is known to be more than `max_staleness` wake-ups behind. This bounds
  how old the news are that an algorithm works with; its convergence assumes such a bound.
- `is_due`: since the last wake-up as many messages have come as there are in-neighbours, or one of
  them is ahead. Who woke at each message would make two of every one on a ring, until all are as
  far ahead as they may be, with old news. On links that lose nothing nobody waits for ever: who
  lags is due, and where all are equally far, who woke first has heard of all the others since.

A wake-up tells every out-neighbour at least how far this node is. `ledger` is zero to rounding at
any time: what is held of the running sums, with what was sent and less what was received, is what
there was in the beginning. Over all nodes it says that nothing was lost or counted twice, what is
under way included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from p2pdo.algorithms.asynchronous.contract import AsynchronousAlgorithm, Parts
from p2pdo.algorithms.base import HasDecision
from p2pdo.effects import Here, freeze
from p2pdo.errors import LocalProtocolError, P2pdoError, RemoteProtocolError, WorkloadFailed
from p2pdo.problems.base import is_stochastic
from p2pdo.protocol.asynchronous.channels import Message, ReceivingEnd, SendingEnd
from p2pdo.protocol.counting import Covering
from p2pdo.protocol.exchanging import Place
from p2pdo.protocol.judging import Report
from p2pdo.protocol.oracles import lack_of
from p2pdo.protocol.stepper import line_of, quiet
from p2pdo.protocol.values import describe, is_finite, size_of
from p2pdo.types import Array, Value

S = TypeVar("S", bound=HasDecision)
T = TypeVar("T")


class Balance(NamedTuple):
    """How far the books of one running sum are off, and their largest entry; see `ledger`."""

    off: float
    size: float


class Member(Generic[S]):
    """One asynchronous algorithm at one node.

    Attributes:
        state: the author's, whole between calls.
        wakes: how often it has woken.
        sending: the end of each out-edge here.
        receiving: the end of each in-edge here.
        watch: is shown the member after each wake-up; None: nobody looks.
    """

    watch: Callable[[Member[Any]], None] | None = None

    def __init__(
        self,
        algorithm: AsynchronousAlgorithm[S],
        problem: Any,
        place: Place,
        x: Array,
        seed: int,
        *,
        max_staleness: int,
    ) -> None:
        """Makes the first state from the start `x` of shape (d,).

        Raises:
            WorkloadFailed: the author's `init` or the problem's gradient went wrong.
        """
        self.place = place
        self.wakes = 0
        self.messages_sent = 0
        self.bytes_sent = 0
        self.sending = {j: SendingEnd(algorithm.channels) for j in place.out_neighbors}
        self.receiving = {
            j: ReceivingEnd(place.name_of(j), algorithm.channels) for j in place.in_neighbors
        }
        self._algorithm = algorithm
        self._problem = problem
        self._is_stochastic = is_stochastic(problem)
        self._covering = Covering()
        self._covered = self._covering.cover(problem)
        self._max_staleness = max_staleness
        self._news = len(place.in_neighbors)  # messages since the last wake-up; all, to begin with
        ends = place.in_neighbors, place.out_neighbors
        self._start = Here(0, place.node, *ends, seed, place.row)
        x = freeze(x)
        self._x_like = x
        self._check_problem(x)
        here = self._here()
        self.state: S = self._call(lambda: algorithm.init(x, self._cost(here), here))
        self._check_decision()
        self._x_like = np.broadcast_to(x.dtype.type(0), x.shape)  # the start may be large
        self._mass = self._held()
        self._like: Parts = self._mass  # what is known of the layout of the parts

    @property
    def x(self) -> Array:
        """The decision variable, frozen."""
        return freeze(self.state.x)

    def report(self) -> Report:
        """What an observer is told.

        Raises:
            WorkloadFailed: x is not finite.
        """
        self._check_finite(self.state.x)
        sent = self.bytes_sent, self.messages_sent
        return Report(self.place.node, self.wakes, self.x, *sent, self._covering.calls)

    # ---- when ----

    @property
    def may_wake(self) -> bool:
        limit = self.wakes - self._max_staleness
        return all(end.wakes > limit for end in self.receiving.values())

    @property
    def is_due(self) -> bool:
        """Whether it may wake, and has a reason to."""
        wakes = self.wakes
        limit, is_behind = wakes - self._max_staleness, False
        for end in self.receiving.values():  # once: it is asked at each message
            if end.wakes <= limit:
                return False
            is_behind = is_behind or end.wakes > wakes
        return is_behind or self._news >= len(self.receiving)

    def waits_for(self) -> list[str]:
        """The in-neighbours that it is too far ahead of."""
        limit = self.wakes - self._max_staleness
        return [end.sender for end in self.receiving.values() if end.wakes <= limit]

    # ---- what ----

    def wake(self) -> list[tuple[int, Message]]:
        """One wake-up; what it sends to each out-neighbour.

        Raises:
            WorkloadFailed: the author's code went wrong, or a value is not finite.
        """
        here = self._here()
        self.state, sent = self._call(lambda: self._wake(here))
        self._check_decision()
        self.wakes += 1
        self._news = 0
        messages = self._call(lambda: self._messages(sent))
        if self.watch is not None:
            self.watch(self)
        return messages

    def _wake(self, here: Here) -> tuple[S, Mapping[int, Parts]]:
        state, sent = self._algorithm.wake(self.state, self._cost(here), here)
        strangers = sorted(sent.keys() - self.sending.keys())
        if strangers:
            raise LocalProtocolError(
                f"wake() sends to {strangers}, the out-neighbours are {list(self.sending)}",
                hint="send to some or all of here.out_neighbors",
            )
        return state, sent

    def receive(self, sender: int, message: Message) -> Message | None:
        """What came from in-neighbour `sender`; the reply, where there is one.

        Raises:
            WorkloadFailed: the author's code went wrong.
            RemoteProtocolError: the message is not what this algorithm sends.
        """
        end = self.receiving.get(sender)
        if end is None:
            raise RemoteProtocolError(f"node {sender}, which is no in-neighbour here, sent a value")
        parts = end.take(message, self._like)
        self._news += 1
        if parts is None:
            return None
        here = self._here()
        self.state, reply = self._call(
            lambda: self._algorithm.receive(self.state, sender, parts, here)
        )
        self._check_decision()
        return None if reply is None else self._reply(sender, reply)

    def _reply(self, sender: int, parts: Parts) -> Message:
        end = self.sending.get(sender)
        if end is None:
            raise LocalProtocolError(
                f"receive() replies to node {sender}, which does not hear this one",
                hint="an algorithm that replies needs an undirected graph: Requires(undirected=…)",
                node=self.place.name,
                iteration=self.wakes,
            )
        return self._count(self._call(lambda: self._give(end, parts, set())))

    def again(self) -> list[tuple[int, Message]]:
        """All there is to know for each out-neighbour, once more: for links that lose messages."""
        return [(j, self._count(end.again(self.wakes))) for j, end in self.sending.items()]

    def _messages(self, sent: Mapping[int, Parts]) -> list[tuple[int, Message]]:
        """Of a wake-up, for each out-neighbour; who is sent nothing hears how far this node is."""
        messages: list[tuple[int, Message]] = []
        checked: set[int] = set()  # what all are sent is looked at once
        for j, end in self.sending.items():
            message = self._give(end, sent[j], checked) if j in sent else end.tell(self.wakes)
            messages.append((j, self._count(message)))
        return messages

    def _give(self, end: SendingEnd, parts: Parts, checked: set[int]) -> Message:
        message = end.give(parts, self.wakes)
        for part in message.parts.values():
            if id(part) not in checked:
                self._check_finite(part)
                checked.add(id(part))
        self._like = message.parts
        return message

    def _count(self, message: Message) -> Message:
        self.messages_sent += 1
        self.bytes_sent += sum(map(size_of, message.parts.values()))
        return message

    # ---- the ledger ----

    def ledger(self) -> float:
        """How far the books are off, relative to the largest of them.

        Zero to rounding, at any time.
        """
        found = self.balances().values()
        return max((each.off / max(1.0, each.size) for each in found), default=0.0)

    def balances(self) -> dict[str, Balance]:
        """Of each running sum: mass + Σ σ − Σ ρ − mass⁰."""
        found = {}
        for name, held in self._held().items():
            began = self._mass[name]
            sent = [end.sums[name] for end in self.sending.values() if name in end.sums]
            came = [end.sums[name] for end in self.receiving.values() if name in end.sums]
            off = float(np.abs(held + sum(sent) - sum(came) - began).max(initial=0))
            found[name] = Balance(off, float(np.abs([began, *sent, *came]).max(initial=0)))
        return found

    def mass(self) -> dict[str, Array]:
        """What is held of each running sum, without what was made here."""
        return self._held()

    def _held(self) -> dict[str, Array]:
        held = self._algorithm.mass(self.state)
        return {name: np.asarray(value, np.float64) for name, value in held.items()}

    # ---- the author's code ----

    def _here(self) -> Here:
        return self._start.at(self.wakes)

    def _cost(self, here: Here) -> Any:
        """What a wake-up sees of the problem: it, or its mini-batch, with the calls counted."""
        if not self._is_stochastic:
            return self._covered
        return self._covering.cover(self._problem.at(here))

    def _call(self, code: Callable[[], T]) -> T:
        """Calls the author's code; what goes wrong is told with node and wake-up."""
        try:
            with quiet():
                return code()
        except P2pdoError as error:
            error.node = error.node or self.place.name
            error.iteration = self.wakes if error.iteration is None else error.iteration
            raise
        except (Exception, SystemExit) as error:
            raise self._failure(
                f"{type(error).__name__}: {error}",
                f"look at the algorithm or problem of {self.place.name}{line_of(error)}",
            ) from error

    def _failure(self, what: str, hint: str) -> WorkloadFailed:
        return WorkloadFailed(what, hint=hint, node=self.place.name, iteration=self.wakes)

    def _check_finite(self, value: Value) -> None:
        if not is_finite(value):
            raise self._failure(
                f"a value of {self.place.name} is not finite (NaN or infinite) "
                f"in wake-up {self.wakes}",
                "a smaller step size (--set step_size=…), or look at the gradient there",
            )

    def _check_decision(self) -> None:
        x, like = getattr(self.state, "x", None), self._x_like
        if not (isinstance(x, np.ndarray) and x.shape == like.shape and x.dtype == like.dtype):
            raise self._failure(
                f"after wake-up {self.wakes} the decision variable of {self.place.name} is "
                f"{describe(x)}, expected {describe(like)}",
                "check the shape and dtype that the problem's gradient returns",
            )

    def _check_problem(self, x: Array) -> None:
        needed, lack = (
            self._algorithm.requires.oracle,
            lack_of(type(self._algorithm), self._problem),
        )
        if lack is not None:
            raise self._failure(lack.message, lack.hint)
        if not (hasattr(self._problem, "gradient") and hasattr(needed, "gradient")):
            return
        here = self._here()
        problem: Any = self._problem  # and not its cover: this gradient is ours
        cost = problem.at(here) if self._is_stochastic else problem
        g = self._call(lambda: cost.gradient(x))
        if not (isinstance(g, np.ndarray) and g.shape == x.shape):
            raise self._failure(
                f"the gradient of {self.place.name}'s problem is {describe(g)}, "
                f"expected {describe(x)}",
                "gradient(x) must return an array of the shape of x",
            )
