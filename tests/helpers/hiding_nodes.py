"""Nodes that tell a monitor what they hide, in virtual time or in lock-step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from p2pdo.protocol.judging import Report
from p2pdo.protocol.masking import SHARE, Masks, agree
from p2pdo.protocol.monitoring import Hiding, MaskedMonitor
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import InlineCompute
from p2pdo.runtime.driver import Driver
from p2pdo.runtime.exchange import Exchanger
from p2pdo.simulation.lockstep import advance_to, steppers_of
from p2pdo.simulation.members import first_error
from p2pdo.simulation.network import SimulatedNetwork, Weather
from p2pdo.testing import clock

Tell = Callable[[int, int, bytes], None]


def monitor_of(plan: Plan) -> MaskedMonitor:
    names = [each.name for each in plan.algorithm.invariants]
    return MaskedMonitor(names, plan.nodes, plan.monitor_every or 1)


def hide(plan: Plan, stepper: Stepper[Any], masks: Callable[[], Masks], tell: Tell) -> None:
    if plan.monitor_every is not None:
        node = stepper.place.node
        stepper.watch = Hiding(
            plan.algorithm.invariants,
            plan.monitor_every,
            plan.seed,
            masks,
            lambda iteration, hidden: tell(node, iteration, hidden),
        ).take


def run_in_lockstep(plan: Plan, tell: Tell) -> None:
    draw = np.random.default_rng(3).bytes
    shares = [draw(SHARE) for _ in range(plan.nodes)]
    steppers = steppers_of(plan)
    for i, stepper in enumerate(steppers):
        near = {*plan.graph.in_neighbors(i), *plan.graph.out_neighbors(i)}
        masks = Masks(i, {j: agree(shares[i], shares[j]) for j in near})
        hide(plan, stepper, lambda masks=masks: masks, tell)
    advance_to(steppers, plan.rounds)


def run_under_weather(plan: Plan, tell: Tell, weather: Weather, seed: int = 5) -> list[Report]:
    """Sessions that agree on their secrets over links that delay, repeat and break."""
    try:
        return clock.run(_run_all(plan, tell, SimulatedNetwork(seed, weather)))
    except BaseExceptionGroup as errors:
        raise first_error(errors) from None


async def _run_all(plan: Plan, tell: Tell, network: SimulatedNetwork) -> list[Report]:
    draw = np.random.default_rng(7).bytes

    async def member(stepper: Stepper[Any]) -> Report:
        place = stepper.place
        names = {j: plan.name(j) for j in (*place.in_neighbors, *place.out_neighbors)}
        exchanger = Exchanger(place, names, b"", draw=lambda: draw(SHARE))
        hide(plan, stepper, lambda: Masks(place.node, exchanger.secrets), tell)
        asked: Any = {"rounds": plan.rounds, "observe_every": plan.observe_every, "judged": False}
        driver = Driver(stepper, exchanger, InlineCompute(), None, **asked)
        network.join(plan.name(place.node), exchanger)
        return await driver.run()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(member(stepper)) for stepper in steppers_of(plan)]
    return [task.result() for task in tasks]


def dense_sums(plan: Plan, part: Callable[[Any], Any]) -> dict[int, Sequence[float]]:
    """Of each iteration the sum of a part over all nodes, entry by entry."""
    steppers = steppers_of(plan)
    found: dict[int, Sequence[float]] = {}
    for iteration in range(1, plan.rounds + 1):
        advance_to(steppers, iteration)
        found[iteration] = sum(part(stepper.state) for stepper in steppers)
    return found
