"""Lock-step: all nodes advance together in one thread, each exchange resolved for all at once.

The dense reference. It has no messages, no order of arrival and no time, and it runs every
synchronous algorithm on every problem with the bits that all other executors must reproduce.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from p2pdo.errors import RemoteProtocolError
from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.judging import Judge, Judgement, Report
from p2pdo.protocol.monitoring import monitor_of
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.settling_stepper import stepper_that
from p2pdo.protocol.stepper import Stepper
from p2pdo.runtime.compute import limit_blas_threads
from p2pdo.types import Value


def run_lockstep(
    plan: Plan,
    judge: Judge,
    tell: Callable[[Judgement], None],
    check_stop: Callable[[], None] = lambda: None,
) -> list[Report]:
    """Runs the plan; returns each node's resulting state, in node order.

    `check_stop` is called before every exchange and after every observation; it raises what ends
    the run.
    """
    limit_blas_threads()
    steppers = steppers_of(plan)
    monitor = monitor_of(plan)
    for stepper in steppers:
        stepper.watch = None if monitor is None else monitor.take
    iteration = 0
    while True:
        reports = [stepper.report() for stepper in steppers]
        for report in reports:
            for judgement in judge.receive(report):
                tell(judgement)
        has_ended = iteration >= plan.rounds or steppers[0].has_settled
        if has_ended or judge.stopped_at is not None:
            return reports
        iteration = plan.boundary_after(iteration)
        advance_to(steppers, iteration, check_stop)


def steppers_of(plan: Plan) -> list[Stepper[Any]]:
    """One for each node, at iteration 0."""
    make = stepper_that(plan.settle, plan.codec)
    return [
        make(plan.algorithm, plan.problems[i], plan.place(i), plan.starts[i], plan.seed)
        for i in range(plan.nodes)
    ]


def advance_to(
    steppers: Sequence[Stepper[Any]],
    iteration: int,
    check_stop: Callable[[], None] = lambda: None,
) -> None:
    """Advances all nodes to the boundary of `iteration`.

    Raises:
        RemoteProtocolError: nodes disagree on the exchanges of an iteration.
    """
    check_stop()  # here too: there may be no exchange
    outgoing = [stepper.advance(None, iteration) for stepper in steppers]
    while (sent := _whole(outgoing)) is not None:
        check_stop()
        outgoing = [stepper.advance(_inbox(stepper, sent), iteration) for stepper in steppers]


def _inbox(stepper: Stepper[Any], sent: Sequence[Outgoing]) -> dict[int, Value]:
    place = stepper.place
    return {j: sent[j].to(place.node) for j in place.in_neighbors}


def _whole(outgoing: Sequence[Outgoing | None]) -> list[Outgoing] | None:
    """All nodes' values of one exchange, or None where all are at the boundary."""
    first = outgoing[0]
    for node, other in enumerate(outgoing):
        ours = first.tag if first else None
        theirs = other.tag if other else None
        if ours != theirs:
            iteration = min(tag.iteration for tag in (ours, theirs) if tag is not None)
            raise RemoteProtocolError(
                f"nodes disagree on the exchanges of iteration {iteration}: "
                f"at node 0 it is {ours}, at node {node} {theirs}",
                hint="how often a step exchanges must not depend on local data",
                iteration=iteration,
            )
    return None if first is None else [other for other in outgoing if other is not None]
