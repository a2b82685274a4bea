"""Computing in simulated time: an iteration is computed at once, then takes as long as it would.

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

from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import InlineCompute, limit_blas_threads
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
        self._stepper: Stepper[Any] | None = None

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        self._check_stop()
        before = self._iterations
        result = function(*args)
        if isinstance(result, Stepper):
            self._stepper = result
        compute = self._network.conditions.compute
        taking = sum(compute.draw(self._rng, self._node) for _ in range(self._iterations - before))
        self.seconds += taking
        if taking or self._network.conditions.freezes:
            await self._let_pass(taking)
        return result

    @property
    def _iterations(self) -> int:
        return 0 if self._stepper is None else self._stepper.iteration

    async def _let_pass(self, taking: float) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        ends = self._network.computed(self._name, now, taking)
        if math.isinf(ends):
            await loop.create_future()  # until the run is ended
        elif ends > now:
            await asyncio.sleep(ends - now)


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
    return tuple(statistics.median(of_node) if of_node else 0.0 for of_node in taken)
