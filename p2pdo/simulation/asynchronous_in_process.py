"""Asynchronous nodes in one event loop: what runs between processes, over a network in memory.

Each computes on a thread of its own, so who wakes when is up to the machine: one seed is not one
order of events here, as it is not between processes. `simulation.asynchronous` has that.
"""

from __future__ import annotations

import asyncio

from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.judging import Judge, Report
from p2pdo.runtime.asynchronous import AsynchronousDriver, Mailbox
from p2pdo.runtime.compute import Compute, ThreadCompute
from p2pdo.simulation.asynchronous import member_of
from p2pdo.simulation.inprocess import Tell, first_error
from p2pdo.transports.memory import MemoryNetwork


async def run_asynchronous_in_process(
    plan: AsynchronousPlan, judge: Judge, tell: Tell
) -> list[Report]:
    """Runs the plan in the running loop; returns each node's resulting state, in node order."""
    computes: list[Compute] = [ThreadCompute(plan.name(i)) for i in range(plan.nodes)]
    return await run_members(plan, judge, tell, MemoryNetwork(), computes)


async def run_members(
    plan: AsynchronousPlan,
    judge: Judge,
    tell: Tell,
    network: MemoryNetwork,
    computes: list[Compute],
) -> list[Report]:
    """Runs one member a node over `network`; the first failure ends all."""
    observer = _Observer(judge, tell)
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
    plan: AsynchronousPlan,
    node: int,
    observer: _Observer,
    network: MemoryNetwork,
    compute: Compute,
) -> Report:
    place = plan.place(node)
    names = {j: plan.name(j) for j in (*place.in_neighbors, *place.out_neighbors)}
    member: Member[object] = await compute.run(member_of, plan, node)  # type: ignore[type-var]
    mailbox = Mailbox(place, names, plan.weights.digest())
    driver = AsynchronousDriver(
        member,
        mailbox,
        compute,
        observer,
        rounds=plan.rounds,
        observe_every=plan.observe_every,
        judged=plan.tol is not None,
    )
    observer.drivers.append(driver)
    network.join(plan.name(node), mailbox)
    return await driver.run()


class _Observer:
    """Judges in the same loop and tells all drivers at its next turn."""

    def __init__(self, judge: Judge, tell: Tell) -> None:
        self.drivers: list[AsynchronousDriver] = []
        self._judge = judge
        self._tell = tell

    def observe(self, report: Report) -> None:
        loop = asyncio.get_running_loop()
        for judgement in self._judge.receive(report):
            self._tell(judgement)
            for driver in self.drivers:
                loop.call_soon(self._verdict, driver, judgement.iteration, judgement.stop)

    @staticmethod
    def _verdict(driver: AsynchronousDriver, iteration: int, stop: bool) -> None:
        driver.judge(iteration, stop=stop)
