"""Asynchronous nodes in one event loop: what runs between processes, over a network in memory.

In the machine's time each computes on a thread of its own, so who wakes when is up to the machine:
one seed is not one order of events here, as it is not between processes. In virtual time it is, and
`Clocks` may say who is up when; see `inprocess.Simulation`.
"""

from __future__ import annotations

from collections.abc import Sequence

from p2pdo.protocol.asynchronous.member import Member
from p2pdo.protocol.asynchronous.plan import AsynchronousPlan
from p2pdo.protocol.judging import Judge, Report
from p2pdo.runtime.asynchronous import AsynchronousDriver, Mailbox
from p2pdo.runtime.compute import Compute, ThreadCompute
from p2pdo.runtime.groups import task_group
from p2pdo.simulation.asynchronous import member_of
from p2pdo.simulation.members import LocalObserver, Tell, run_all
from p2pdo.simulation.pacing import Clocks
from p2pdo.transports.memory import MemoryNetwork


async def run_asynchronous_in_process(
    plan: AsynchronousPlan, judge: Judge, tell: Tell
) -> list[Report]:
    """Runs the plan in the running loop; returns each node's resulting state, in node order."""
    computes: list[Compute] = [ThreadCompute(plan.name(i)) for i in range(plan.nodes)]
    return await run_asynchronous_members(plan, judge, tell, MemoryNetwork(), computes)


async def run_asynchronous_members(
    plan: AsynchronousPlan,
    judge: Judge,
    tell: Tell,
    network: MemoryNetwork,
    computes: Sequence[Compute],
    *,
    clocks: Clocks | None = None,
) -> list[Report]:
    """Runs one member a node over `network`; the first failure ends all."""
    observer = LocalObserver(judge, tell)

    async def run(node: int) -> Report:
        compute = computes[node]
        member: Member[object] = await compute.run(member_of, plan, node)  # type: ignore[type-var]
        mailbox = _mailbox_of(plan, node, clocks)
        driver = AsynchronousDriver(
            member,
            mailbox,
            compute,
            observer,
            rounds=plan.rounds,
            observe_every=plan.observe_every,
            judged=plan.tol is not None,
            pace=None if clocks is None else clocks.pace(node, mailbox),
        )
        observer.add(driver)
        network.join(plan.name(node), mailbox)
        report = await driver.run()
        if clocks is not None:
            clocks.has_ended(node, driver.say_again)
        return report

    if clocks is None:
        return await run_all(plan, run, computes)
    async with task_group() as group:
        ringing = group.create_task(clocks.run(), name="clocks")
        try:
            return await run_all(plan, run, computes)
        finally:
            ringing.cancel()


def _mailbox_of(plan: AsynchronousPlan, node: int, clocks: Clocks | None) -> Mailbox:
    place = plan.place(node)
    names = {j: plan.name(j) for j in (*place.in_neighbors, *place.out_neighbors)}
    if clocks is not None:
        return clocks.mailbox(node, names)
    return Mailbox(place, names, plan.weights.digest())
