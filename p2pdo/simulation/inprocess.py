"""All nodes in one event loop, fast or under the real machinery.

`run_in_process` is the executor of that name. Nothing is lost in one memory, so its nodes hand
their values over without sessions; see `crowd`.

`run_simulated` runs what runs between processes, sessions, rounds and drivers, over a network in
memory, on one thread in virtual time under a seeded weather: no real time passes, and one seed is
one order of events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from p2pdo.errors import P2pdoError
from p2pdo.protocol.judging import Judge, Judgement, Report
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import Compute, InlineCompute, limit_blas_threads
from p2pdo.runtime.driver import Driver
from p2pdo.runtime.exchange import Exchanger
from p2pdo.runtime.timeline import Timeline
from p2pdo.simulation.clock import VirtualTimeLoop
from p2pdo.simulation.crowd import Crowd
from p2pdo.simulation.network import SimulatedNetwork, Weather
from p2pdo.transports.memory import MemoryNetwork

T = TypeVar("T")
Tell = Callable[[Judgement], None]


async def run_in_process(
    plan: Plan, judge: Judge, tell: Tell, timelines: Sequence[Timeline] | None = None
) -> list[Report]:
    """Runs the plan in the running loop; returns each node's resulting state, in node order.

    `timelines` take where each node's time goes.
    """
    try:
        return await Crowd(plan, judge, tell, timelines).run()
    except BaseExceptionGroup as group_of_errors:
        raise first_error(group_of_errors) from None


def run_simulated(
    plan: Plan,
    judge: Judge,
    tell: Tell,
    check_stop: Callable[[], None] = lambda: None,
    *,
    delay_seed: int = 0,
    weather: Weather | None = None,
) -> list[Report]:
    """Runs the plan in a loop of its own whose time is virtual.

    `check_stop` is called before every computation, and raises what ends the run.
    """
    limit_blas_threads()
    network = SimulatedNetwork(delay_seed, weather or Weather())
    computes: list[Compute] = [_Interruptible(check_stop) for _ in range(plan.nodes)]
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run_members(plan, judge, tell, network, computes))


async def run_members(
    plan: Plan, judge: Judge, tell: Tell, network: MemoryNetwork, computes: list[Compute]
) -> list[Report]:
    """Runs one member a node over `network`; the first failure ends all."""
    observer = _LocalObserver(judge, tell)
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    _run_member(plan, i, observer, network, computes[i]), name=plan.name(i)
                )
                for i in range(plan.nodes)
            ]
    except BaseExceptionGroup as group_of_errors:
        raise first_error(group_of_errors) from None
    finally:
        for compute in computes:
            compute.close()
    return [task.result() for task in tasks]


async def _run_member(
    plan: Plan, node: int, observer: _LocalObserver, network: MemoryNetwork, compute: Compute
) -> Report:
    place = plan.place(node)
    names = {j: plan.name(j) for j in (*place.in_neighbors, *place.out_neighbors)}
    make = partial(Stepper, codec=plan.codec)
    given = (plan.algorithm, plan.problems[node], place, plan.starts[node], plan.seed)
    stepper = await compute.run(make, *given)
    exchanger = Exchanger(place, names, plan.weights.digest())
    driver = Driver(
        stepper,
        exchanger,
        compute,
        observer,
        rounds=plan.rounds,
        observe_every=plan.observe_every,
        judged=plan.tol is not None,
    )
    observer.add(driver)
    network.join(plan.name(node), exchanger)
    return await driver.run()


class _Interruptible(InlineCompute):
    """A loop of its own, which only computes, is told from without before each computation."""

    def __init__(self, check_stop: Callable[[], None]) -> None:
        self._check_stop = check_stop

    async def run(self, function: Callable[..., T], /, *args: Any) -> T:
        self._check_stop()
        return function(*args)


class _LocalObserver:
    """Judges in the same loop and tells all drivers at its next turn."""

    def __init__(self, judge: Judge, tell: Tell) -> None:
        self._judge = judge
        self._tell = tell
        self._drivers: list[Driver] = []

    def add(self, driver: Driver) -> None:
        self._drivers.append(driver)

    def observe(self, report: Report) -> None:
        for judgement in self._judge.receive(report):
            self._tell(judgement)
            for driver in self._drivers:
                asyncio.get_running_loop().call_soon(self._verdict, driver, judgement)

    @staticmethod
    def _verdict(driver: Driver, judgement: Judgement) -> None:
        driver.judge(judgement.iteration, stop=judgement.stop)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first failure of a group, the others being its consequences; a bug comes before it."""
    foreseen, bugs = group.split(P2pdoError)
    error: BaseException | None = bugs or foreseen
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert error is not None, "a group is never empty"
    return error
