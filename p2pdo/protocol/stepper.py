"""A stepper runs one algorithm at one node: inboxes in, outgoing values out, states in between.

It is what every executor drives, so a step that runs in a loop in one process and one that runs
between hospitals are the same code with the same bits:

    outgoing = stepper.advance(None, pause_at=10)       # up to the first exchange
    while outgoing is not None:
        outgoing = stepper.advance(inbox_for(outgoing), pause_at=10)
    stepper.iteration == 10, stepper.state is whole

Around the author's code it keeps the promises that the author need not think of: what is sent is
frozen and finite, what comes has the shape of the own value, the decision variable keeps its shape
and dtype, and whatever goes wrong is told with node and iteration. Where the problem is stochastic
the code is handed the mini-batch of its iteration in the problem's place.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from types import GeneratorType
from typing import Any, Generic, TypeVar

import numpy as np

from p2pdo.algorithms.base import Algorithm, HasDecision
from p2pdo.effects import Here, Step, VaryingHere, freeze
from p2pdo.errors import (
    InvariantBroken,
    LocalProtocolError,
    P2pdoError,
    RemoteProtocolError,
    WorkloadFailed,
)
from p2pdo.problems.base import is_stochastic
from p2pdo.protocol.coding import NONE, coder_of
from p2pdo.protocol.counting import Calls, Covering
from p2pdo.protocol.exchanging import Exchanging, Outgoing, Place
from p2pdo.protocol.oracles import lack_of
from p2pdo.protocol.reports import Report
from p2pdo.protocol.values import describe, is_finite
from p2pdo.types import Array, Value

S = TypeVar("S", bound=HasDecision)

_NONE: Mapping[int, Value] = {}


def quiet() -> np.errstate:
    """What overflows is not warned of by NumPy: it is told as not finite, with the node."""
    return np.errstate(over="ignore", invalid="ignore")


class Stepper(Exchanging, Generic[S]):
    """One algorithm at one node."""

    def __init__(
        self,
        algorithm: Algorithm[S],
        problem: Any,
        place: Place,
        x: Array,
        seed: int,
        *,
        codec: str = NONE,
    ) -> None:
        """Makes the state of iteration 0 from the start `x` of shape (d,).

        What is mixed is coded by `codec`; what its coder keeps is the node's as the state is.

        Raises:
            WorkloadFailed: the author's `init` or the problem's gradient went wrong.
        """
        super().__init__(place, coder_of(codec, len(x), place, seed))
        self._algorithm = algorithm
        self.problem = problem
        self.is_stochastic = is_stochastic(problem)
        self._covering = Covering()
        self._covered = self._covering.cover(problem)
        self.watch: Callable[[int, int, S], None] | None = None  # is shown (node, iteration, state)
        self.has_settled = False  # then no iteration follows; see `settling`
        self._step: Step[S] | None = None
        self._received = _NONE  # until the next value is found to be finite
        self._x_like = freeze(x)
        ends = place.in_neighbors, place.out_neighbors
        kind = VaryingHere if place.row.varies else Here
        self._start = kind(0, place.node, *ends, seed, place.row)
        self._check_problem(self._x_like)
        try:
            here = self._here()
            self.state: S = algorithm.init(self._x_like, self._cost(here), here)
        except P2pdoError as error:
            self._locate(error)
            raise
        except (Exception, SystemExit) as error:
            raise self._failure(error) from error
        self._check_decision()
        self._x_like = np.broadcast_to(x.dtype.type(0), x.shape)  # the start may be large

    @property
    def x(self) -> Array:
        """The decision variable, frozen."""
        return freeze(self.state.x)

    def report(self) -> Report:
        """What an observer is told at a boundary."""
        sent = self.bytes_sent, self.messages_sent
        return Report(self.place.node, self.iteration, self.x, *sent, self.calls, self.dropped)

    @property
    def calls(self) -> Calls:
        """What the steps have asked of the problem so far, `init` included."""
        return self._covering.calls

    def go_on_from(
        self, iteration: int, state: S, *, exchanges: int, bytes_each: int, gradients: int
    ) -> None:
        """Takes over a later boundary, which was reached by one step for all nodes.

        `exchanges` and `gradients` have been made since the own one; to each out-neighbour it would
        have sent `bytes_each` meanwhile.
        """
        self.iteration, self.state = iteration, state
        self.exchanges += exchanges
        self.messages_sent += self._told * exchanges
        self.bytes_sent += self._told * bytes_each
        self._covering.add_gradients(gradients)

    def blame(self, error: BaseException) -> BaseException:
        """What is told of an error of the author's code at this node."""
        if isinstance(error, P2pdoError):
            self._locate(error)
            return error
        return self._failure(error)

    def advance(self, inbox: Mapping[int, Value] | None, pause_at: int) -> Outgoing | None:
        """Goes on with the values that the last exchange asked for.

        Returns what the next exchange sends, or None at the boundary of iteration `pause_at`.

        Raises:
            WorkloadFailed: the author's code went wrong or a value is not finite.
            RemoteProtocolError: an in-neighbour's value does not have the shape of the own one.
        """
        with quiet():
            return self.advance_quietly(inbox, pause_at)

    def advance_quietly(self, inbox: Mapping[int, Value] | None, pause_at: int) -> Outgoing | None:
        """The same, for those who say `with quiet():` once for many calls."""
        if inbox is None:
            reply = None
        else:
            self._received = inbox
            reply = self.reply(inbox)
        try:
            while True:
                if self._step is None:
                    if self.iteration >= pause_at or self.has_settled:
                        self._check_finite(self.state.x)  # what nobody will send is shown too
                        return None
                    self._step, reply = self._begin(), None
                try:
                    effect = self._step.send(reply)
                except StopIteration as stop:
                    self._complete(stop.value)
                else:
                    outgoing = self.outgoing(effect)
                    self._received = _NONE  # what it was made of is not looked at again
                    return outgoing
        except P2pdoError as error:
            self._locate(error)
            raise
        except (Exception, SystemExit) as error:
            raise self._failure(error) from error

    def _begin(self) -> Step[S]:
        here = self._here()
        self.row = here.row
        step = self._algorithm.step(self.state, self._cost(here), here)
        if not (type(step) is GeneratorType or isinstance(step, Generator)):
            raise LocalProtocolError(
                f"step() of {type(self._algorithm).__name__} returned {describe(step)}",
                hint="it must be a generator: ask for exchanges with 'yield from mix(…)'",
            )
        return step

    def _complete(self, state: S) -> None:
        self.state = state
        self._step = None
        self._check_decision()
        self.iteration += 1
        if self.watch is not None:
            self.watch(self.place.node, self.iteration, state)

    def _here(self) -> Here:
        return self._start.at(self.iteration)

    def _cost(self, here: Here) -> Any:
        """What a step sees of the problem: it, or its mini-batch, with the calls counted."""
        return self._covering.cover(self.problem.at(here)) if self.is_stochastic else self._covered

    def unlike(self, own: tuple[Value, ...], theirs: Value, sender: int) -> RemoteProtocolError:
        name = self.place.name_of(sender)
        return RemoteProtocolError(
            f"{name} sent {describe(theirs)} where {self.place.name} has {describe(own)}",
            hint="all nodes must run one algorithm on problems of one dimension and dtype",
            node=name,
            iteration=self.iteration,
        )

    def not_finite(self, _value: Value) -> WorkloadFailed:
        self._check_received()
        return WorkloadFailed(
            f"a value of {self.place.name} is not finite (NaN or infinite) "
            f"in iteration {self.iteration}",
            hint="a smaller step size (--set step_size=…), or look at the gradient there",
            node=self.place.name,
            iteration=self.iteration,
        )

    def _check_received(self) -> None:
        """Once a value of ours is not finite: whose fault is it?

        Senders check what they send, so a value that came so was sent by one that does not; its
        neighbours are not to be blamed. Nothing is looked at while all goes well.
        """
        for sender, value in self._received.items():
            if not is_finite(value):
                name = self.place.name_of(sender)
                raise RemoteProtocolError(
                    f"{name} sent {self.place.name} a value that is not finite (NaN or infinite)",
                    hint=f"{name} is faulty: leave it out of the workload",
                    node=name,
                )

    def _check_problem(self, x: Array) -> None:
        """The first gradient's shape tells most mistakes in a user's problem at once."""
        needed = self._algorithm.requires.oracle
        lack = lack_of(type(self._algorithm), self.problem)
        if lack is not None:
            raise WorkloadFailed(lack.message, hint=lack.hint, node=self.place.name)
        if not (hasattr(self.problem, "gradient") and hasattr(needed, "gradient")):
            return
        try:
            problem: Any = self.problem  # and not its cover: this gradient is ours
            g = (problem.at(self._here()) if self.is_stochastic else problem).gradient(x)
        except P2pdoError as error:
            self._locate(error)
            raise
        except (Exception, SystemExit) as error:
            raise self._failure(error) from error
        if not (isinstance(g, np.ndarray) and g.shape == x.shape):
            raise WorkloadFailed(
                f"the gradient of {self.place.name}'s problem is {describe(g)}, "
                f"expected {describe(x)}",
                hint="gradient(x) must return an array of the shape of x",
                node=self.place.name,
                iteration=0,
            )

    def _check_decision(self) -> None:
        if not hasattr(self.state, "x"):
            raise WorkloadFailed(
                f"in iteration {self.iteration} the step of {self.place.name} returned "
                f"{type(self.state).__name__}, which has no x",
                hint="a step returns the next state, a NamedTuple with the decision variable in x",
                node=self.place.name,
                iteration=self.iteration,
            )
        x: Any = self.state.x
        like = self._x_like
        if not (isinstance(x, np.ndarray) and x.shape == like.shape and x.dtype == like.dtype):
            raise WorkloadFailed(
                f"after iteration {self.iteration} the decision variable of {self.place.name} is "
                f"{describe(x)}, expected {describe(like)}",
                hint="check the shape and dtype that the problem's gradient returns",
                node=self.place.name,
                iteration=self.iteration,
            )

    def _failure(self, error: BaseException) -> WorkloadFailed:
        """An exception of the author's code, with node, iteration and the line it came from."""
        return WorkloadFailed(
            f"{type(error).__name__}: {error}",
            hint=f"look at the algorithm or problem of {self.place.name}{line_of(error)}",
            node=self.place.name,
            iteration=self.iteration,
        )

    def _locate(self, error: P2pdoError) -> None:
        if isinstance(error, InvariantBroken):  # it is all nodes', and knows its iteration
            return
        error.node = error.node or self.place.name
        error.iteration = self.iteration if error.iteration is None else error.iteration


def line_of(error: BaseException) -> str:
    """Where in the author's code: the innermost line that is neither ours nor a library's."""
    traceback, place = error.__traceback__, ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        module = str(traceback.tb_frame.f_globals.get("__name__", ""))
        if not (module.split(".", maxsplit=1)[0] == "p2pdo" or "site-packages" in file):
            place = f": {file}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place
