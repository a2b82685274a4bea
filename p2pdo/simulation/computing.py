"""Computing in simulated time: an iteration is computed at once, then takes as long as it would.

Of an asynchronous algorithm that is a wake-up; what comes meanwhile is taken in no time.

SimulatedCompute    what a driver computes with, one a node
measured            how long an iteration takes here, node by node
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import InlineCompute, limit_blas_threads
from p2pdo.simulation.asynchronous import members_of
from p2pdo.simulation.links.conditions import COMPUTING, WEATHER_STREAM
from p2pdo.simulation.lockstep import advance_to
from p2pdo.simulation.network import SimulatedNetwork
from p2pdo.types import NodeId, Value

T = TypeVar("T")

WARM_UP, MEASURED = 2, 7
"""Iterations that load and compile, and those of which the median is taken."""


class SimulatedCompute(InlineCompute):
    """In place; each completed iteration takes the time that the network's conditions say.

    Attributes:
        seconds: simulated, spent on computing so far.
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        name: NodeId,
        node: int,
        seed: int,
        check_stop: Callable[[], None],
    ) -> None:
        """`check_stop` is called before each computation, and raises what ends the run."""
        self.seconds = 0.0
        self._network = network
        self._name = name
        self._node = node
        self._check_stop = check_stop
        self._rng = np.random.default_rng([seed, WEATHER_STREAM, COMPUTING, node])
        self._made: Callable[[], int] | None = None  # iterations, once there is what makes them
        self._counted = 0  # of these, what has taken its time

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        self._check_stop()
        result = function(*args)
        if self._made is None:
            self._made = _counter_of(result)
        made = 0 if self._made is None else self._made()
        conditions = self._network.conditions
        taking = 0.0
        while self._counted < made:
            taking += conditions.compute.draw(self._rng, self._node)
            self._counted += 1
        self.seconds += taking
        if taking or conditions.freezes or conditions.crashes:
            await self._let_pass(taking)
        return result

    async def _let_pass(self, taking: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        ends = self._network.computed(self._name, now, taking)
        if math.isinf(ends):
            await loop.create_future()  # until the run is ended
        elif ends > now:
            await asyncio.sleep(ends - now)


def _counter_of(result: object) -> Callable[[], int] | None:
    """What tells how many iterations it has made, if it makes any."""
    if isinstance(result, Member):
        return lambda: result.wakes
    return (lambda: result.iteration) if isinstance(result, Stepper) else None


class _Timed(Stepper[Any]):
    """Counts the seconds of CPU that its steps take."""

    seconds = 0.0

    def advance_quietly(self, inbox: Mapping[int, Value] | None, pause_at: int) -> Outgoing | None:
        began = time.thread_time()
        try:
            return super().advance_quietly(inbox, pause_at)
        finally:
            self.seconds += time.thread_time() - began


def measured(plan: Plan) -> tuple[float, ...]:
    """Seconds of this machine's CPU that an iteration takes at each node, in node order."""
    limit_blas_threads()
    taken = _of_wakes(plan) if isinstance(plan, AsynchronousPlan) else _of_steps(plan)
    return tuple(statistics.median(of_node) if of_node else 0.0 for of_node in taken)


def _of_steps(plan: Plan) -> list[list[float]]:
    steppers = [
        _Timed(plan.algorithm, plan.problems[i], plan.place(i), plan.starts[i], plan.seed)
        for i in range(plan.nodes)
    ]
    advance_to(steppers, min(WARM_UP, plan.rounds))
    taken: list[list[float]] = [[] for _ in steppers]
    for iteration in range(WARM_UP, min(WARM_UP + MEASURED, plan.rounds)):
        before = [stepper.seconds for stepper in steppers]
        advance_to(steppers, iteration + 1)
        for node, stepper in enumerate(steppers):
            taken[node].append(stepper.seconds - before[node])
    return taken


def _of_wakes(plan: AsynchronousPlan) -> list[list[float]]:
    """A wake-up with taking what has come for it; all wake in turn, and hear all."""
    members = members_of(plan)
    taken: list[list[float]] = [[] for _ in members]
    for wake in range(min(WARM_UP + MEASURED, plan.rounds)):
        seconds = [0.0] * plan.nodes
        for node, member in enumerate(members):
            began = time.thread_time()
            sent = member.wake()
            seconds[node] += time.thread_time() - began
            for receiver, message in sent:
                began = time.thread_time()
                members[receiver].receive(node, message)
                seconds[receiver] += time.thread_time() - began
        for node, spent in enumerate(seconds if wake >= WARM_UP else []):
            taken[node].append(spent)
    return taken
