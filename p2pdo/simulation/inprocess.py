"""All nodes in one event loop, fast or under the real machinery.

`run_in_process` is the executor of that name. Nothing is lost in one memory, so its nodes hand
their values over without sessions; see `crowd`.

`run_simulated` runs what runs between processes, sessions, rounds and drivers, over a network in
memory, on one thread in virtual time under seeded conditions: no real time passes, and one seed is
one order of events. `Simulation` tells how long it would have taken. Nodes of an asynchronous plan
wake at their own pace there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.judging import Judge, Judgement, Report
from p2pdo.protocol.monitoring import monitor_of
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.settling_stepper import stepper_that
from p2pdo.runtime.compute import Compute, limit_blas_threads
from p2pdo.runtime.driver import Driver
from p2pdo.runtime.exchange import Exchanger
from p2pdo.runtime.timeline import Timeline
from p2pdo.simulation.asynchronous_in_process import run_asynchronous_members
from p2pdo.simulation.clock import VirtualTimeLoop
from p2pdo.simulation.computing import SimulatedCompute, measured
from p2pdo.simulation.crowd import BLOCKED, SLICE, Crowd
from p2pdo.simulation.links.conditions import Conditions, conditions_of
from p2pdo.simulation.members import LocalObserver, Tell, first_error, run_all
from p2pdo.simulation.network import SimulatedNetwork, Traffic, Weather
from p2pdo.simulation.pacing import Clocks
from p2pdo.simulation.unison import Parted, Unison, may_step_in_unison
from p2pdo.transports.memory import MemoryNetwork


async def run_in_process(
    plan: Plan, judge: Judge, tell: Tell, timelines: Sequence[Timeline] | None = None
) -> list[Report]:
    """Runs the plan in the running loop; returns each node's resulting state, in node order.

    `timelines` take where each node's time goes, each in steps of its own.
    """
    try:
        if timelines is None and may_step_in_unison(plan):
            return await _run_in_unison(plan, judge, tell)
        return await Crowd(plan, judge, tell, timelines).run()
    except BaseExceptionGroup as group_of_errors:
        raise first_error(group_of_errors) from None


async def _run_in_unison(plan: Plan, judge: Judge, tell: Tell) -> list[Report]:
    """Nodes make their states by themselves, and go on so from where there is no step for all."""
    makers = Crowd(replace(plan, rounds=0), judge, tell)
    reports = await makers.run()
    steppers, judged = makers.steppers, 0
    try:
        unison = Unison(plan, steppers) if makers.first_took <= BLOCKED else None
        until = time.perf_counter() + SLICE
        while unison and judge.stopped_at is None and judged < plan.rounds:
            boundary = plan.boundary_after(judged)
            while unison.iteration < boundary:
                if time.perf_counter() > until:
                    await asyncio.sleep(0)  # the loop has its turn
                    until = time.perf_counter() + SLICE
                unison.advance()
            reports = unison.observe()
            for judgement in [one for report in reports for one in judge.receive(report)]:
                tell(judgement)
            judged = boundary
    except Parted:
        unison = None
    if unison or judge.stopped_at is not None or not plan.rounds:
        return reports
    return await Crowd(plan, judge, tell, steppers=steppers, judged=judged).run()


def run_simulated(
    plan: Plan,
    judge: Judge,
    tell: Tell,
    check_stop: Callable[[], None] = lambda: None,
    *,
    delay_seed: int = 0,
    weather: Weather | Conditions | None = None,
) -> list[Report]:
    """Runs the plan in a loop of its own whose time is virtual; see `Simulation`."""
    return Simulation(delay_seed, conditions_of(weather)).run(plan, judge, tell, check_stop)


class Simulation:
    """One run in simulated time, and what it came to.

    Attributes:
        conditions: as they were given, with the computing time that was measured.
        seconds: simulated, until the last judged iteration was reached by all nodes.
        computing: simulated seconds that the nodes have computed, all together.
        traffic: what the links have carried.
    """

    def __init__(self, seed: int, conditions: Conditions, *, measure: bool = False) -> None:
        """With `measure`, an iteration takes as long as it does on this machine."""
        self.conditions = conditions
        self.seconds = self.computing = 0.0
        self.traffic = Traffic()
        self._seed = seed
        self._measure = measure

    def run(
        self, plan: Plan, judge: Judge, tell: Tell, check_stop: Callable[[], None] = lambda: None
    ) -> list[Report]:
        """Returns each node's resulting state, in node order. Used once.

        `check_stop` is called before every computation, and raises what ends the run.
        """
        limit_blas_threads()
        if self._measure:
            compute = replace(self.conditions.compute, medians=measured(plan))
            self.conditions = replace(self.conditions, compute=compute)
        names = [plan.name(i) for i in range(plan.nodes)]
        network = SimulatedNetwork(self._seed, self.conditions, names)
        self.traffic = network.traffic
        computes = [
            SimulatedCompute(network, name, node, self._seed, check_stop)
            for node, name in enumerate(names)
        ]
        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            loop = runner.get_loop()

            def tell_when(judgement: Judgement) -> None:
                self.seconds = loop.time()
                self.computing = sum(compute.seconds for compute in computes)
                tell(replace(judgement, simulated_seconds=self.seconds))

            if isinstance(plan, AsynchronousPlan):
                clocks = Clocks(plan, self._seed, self.conditions.weather.resend)
                asked = (plan, judge, tell_when, network, computes)
                return runner.run(run_asynchronous_members(*asked, clocks=clocks))
            return runner.run(run_members(plan, judge, tell_when, network, computes))


async def run_members(
    plan: Plan, judge: Judge, tell: Tell, network: MemoryNetwork, computes: Sequence[Compute]
) -> list[Report]:
    """Runs one member a node over `network`; the first failure ends all."""
    observer, monitor = LocalObserver(judge, tell), monitor_of(plan)
    watch = None if monitor is None else monitor.take

    async def run(node: int) -> Report:
        place, compute = plan.place(node), computes[node]
        names = {j: plan.name(j) for j in (*place.in_neighbors, *place.out_neighbors)}
        stepper = await compute.run(
            stepper_that(plan.settle, plan.codec),
            plan.algorithm,
            plan.problems[node],
            place,
            plan.starts[node],
            plan.seed,
        )
        stepper.watch = watch
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

    return await run_all(plan, run, computes)
