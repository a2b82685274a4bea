"""A crowd: the nodes of one run take turns on the caller's loop; long turns go to threads.

A turn is one call of a node's stepper: from one exchange's values to what the next one sends. Who
has all the values it waits for stands in the queue. A node that waits has no task, no future and
no timer, so a thousand nodes cost their turns and little besides.

    queue ──▶ take values ──▶ turn ──▶ send ──▶ whoever is ready now joins the queue

How long turns take decides where they are taken. Who took longer than `LONG` on the loop takes
the next turn on a thread of its own, and comes back when one there was shorter than `SHORT`. The
first turns load and compile, and say little of the rest. Of each kind of them one node's is taken
on its thread while all who come to theirs wait: how long it was is what is expected of theirs.

The queue is served for `SLICE` at a time; between slices the loop does whatever else it has to.
The judge hears of states as they are reached. A node that is `SNAPSHOTS` observations ahead of
what was judged last waits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from p2pdo.protocol.exchanging import Outgoing
from p2pdo.protocol.handover import Seat, seats_of
from p2pdo.protocol.judging import Judge, Judgement, Report
from p2pdo.protocol.monitoring import Monitor, Watch, monitor_of
from p2pdo.protocol.plan import Plan
from p2pdo.protocol.settling_stepper import stepper_that
from p2pdo.protocol.stepper import Stepper, quiet
from p2pdo.runtime.compute import ThreadCompute, limit_blas_threads
from p2pdo.runtime.judged import SNAPSHOTS
from p2pdo.runtime.timeline import Timeline, timed_stepper_that
from p2pdo.simulation.waits import Waits
from p2pdo.types import Value

LONG = 1e-3
"""Seconds; no turn should hold the loop for longer."""

SHORT = 2e-4
"""Seconds of computing; to wake a thread and hear of its end takes about as long."""

BLOCKED = 2e-2
"""Seconds that are long in any case: for a turn that computes little but waits, for a first one."""

SLICE = 5e-3
"""Seconds for which the queue is served at a time."""

FIRST = 3
"""First turns: making the stepper, up to the first exchange, up to the second."""

Inbox = Mapping[int, Value] | None


class _Member:
    """One node, and where it takes its turns."""

    def __init__(
        self, plan: Plan, seat: Seat, timeline: Timeline | None, watch: Watch | None
    ) -> None:
        self.seat = seat
        self.whole: Report | None = None
        self.turns = 0
        self.pause_at = 0
        self.is_exchanging = False
        self.is_long = False  # what is expected of its next turn
        self.has_settled = False
        self._plan = plan
        self._timeline = timeline
        self._watch = watch
        self._stepper: Stepper[Any] | None = None  # made in its first turn
        self._compute: ThreadCompute | None = None

    def take_over(self, stepper: Stepper[Any], pause_at: int) -> None:
        """It is made already."""
        self._stepper, self.pause_at, self.turns = stepper, pause_at, 1

    @property
    def stepper(self) -> Stepper[Any]:
        assert self._stepper is not None, "it has had a turn"
        return self._stepper

    def turn(self, inbox: Inbox) -> Outgoing | None:
        """What it sends; None at a boundary, where its state is in `whole`: that may be a copy."""
        outgoing: Outgoing | None = None
        if self._stepper is None:
            self._stepper = self._make()
        else:
            outgoing = self._stepper.advance_quietly(inbox, self.pause_at)
            self.has_settled = self._stepper.has_settled
        self.whole = self._stepper.report() if outgoing is None else None
        return outgoing

    def _make(self) -> Stepper[Any]:
        plan, node = self._plan, self.seat.node
        arguments = (plan.algorithm, plan.problems[node], self.seat.place, plan.starts[node])
        make = stepper_that(plan.settle, plan.codec)
        if self._timeline is not None:
            make = timed_stepper_that(plan.settle, self._timeline, plan.codec)
        stepper = make(*arguments, plan.seed)
        stepper.watch = self._watch
        return stepper

    async def turn_on_thread(self, inbox: Inbox) -> tuple[Outgoing | None, float, float]:
        """The same on its own thread, with the seconds that it took and those of them computing."""
        if self._compute is None:
            self._compute = ThreadCompute(self.seat.place.name)
        return await self._compute.run(self._timed, inbox)

    def _timed(self, inbox: Inbox) -> tuple[Outgoing | None, float, float]:
        wall, computing = time.perf_counter(), time.thread_time()
        with quiet():
            outgoing = self.turn(inbox)
        return outgoing, time.perf_counter() - wall, time.thread_time() - computing

    def close(self) -> None:
        if self._compute is not None:
            self._compute.close()


class Crowd:
    """The nodes of one plan. Used once."""

    def __init__(
        self,
        plan: Plan,
        judge: Judge,
        tell: Callable[[Judgement], None],
        timelines: Sequence[Timeline] | None = None,
        *,
        steppers: Sequence[Stepper[Any]] = (),
        judged: int = 0,
    ) -> None:
        """From the starts; or on from the boundary that these steppers have reached together.

        `judged` is the last one that was observed.
        """
        seats = seats_of([plan.place(i) for i in range(plan.nodes)])
        self._plan = plan
        self._judge = judge
        self._tell = tell
        watch = _in_turn(monitor_of(plan))
        self._members = [
            _Member(plan, seat, None if timelines is None else timelines[seat.node], watch)
            for seat in seats
        ]
        self._waits = None if timelines is None else Waits(seats, timelines)
        self._queue = deque(self._members)
        self._begun = 0  # kinds of first turns that somebody has begun
        self._expected: list[bool] = []  # and ended: whether they are long
        if steppers:
            self._begun, self._expected = 1, [False]
            for member, stepper in zip(self._members, steppers, strict=True):
                member.take_over(stepper, plan.boundary_after(judged))
        self.first_took = 0.0  # seconds of computing that the first turn of all took
        self._waits_for_first: list[_Member] = []
        self._on_threads: set[asyncio.Task[None]] = set()
        self._waits_for_judge: list[tuple[_Member, Report]] = []
        self._judged = judged if steppers else -plan.observe_every  # the iteration judged last
        self._final: dict[int, Report] = {}
        self._is_over = False
        self._slice_began = (0.0, 0.0)  # its clock, and what this thread had computed
        self._is_called = False  # whether the loop is going to serve the queue
        self._result: asyncio.Future[list[Report]]
        self._group: asyncio.TaskGroup

    async def run(self) -> list[Report]:
        """Runs to the end; returns each node's resulting state, in node order.

        Raises:
            ExceptionGroup: what ended the run, as a task group raises it.
        """
        limit_blas_threads()
        self._result = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as self._group:
                self._call()
                try:
                    reports = await self._result
                finally:
                    self._is_over = True  # a group that ends takes no new turns
                for turn in self._on_threads:  # where a tolerance was reached meanwhile
                    turn.cancel()
            return reports
        finally:
            self._is_over = True
            for member in self._members:
                member.close()

    @property
    def steppers(self) -> list[Stepper[Any]]:
        """Of all nodes, once each has had a turn."""
        return [member.stepper for member in self._members]

    # ---- turns ----

    def _call(self) -> None:
        if not (self._is_called or self._is_over):
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._serve)

    def _serve(self) -> None:
        self._is_called = False
        self._slice_began = time.perf_counter(), time.thread_time()
        until = self._slice_began[0] + SLICE
        try:
            with quiet():
                while self._queue and not self._is_over and time.perf_counter() < until:
                    self._take_turn(self._queue.popleft())
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the run
            self._end(error)
        if self._queue:
            self._call()

    def _take_turn(self, member: _Member) -> None:
        is_long = member.is_long
        if member.turns < FIRST:
            expected = self._expect(member)
            if expected is None:
                return
            is_long = expected
        inbox: Inbox = None
        if member.is_exchanging:
            if self._waits is not None:
                self._waits.turn(member.seat)
            inbox, ready = member.seat.take()
            if ready:
                self._line_up(ready)
        if is_long:
            turn = self._group.create_task(self._turn_on_thread(member, inbox))
            self._on_threads.add(turn)
            turn.add_done_callback(self._on_threads.discard)
            return
        began = time.perf_counter()
        outgoing = member.turn(inbox)
        member.is_long = self._was_long(began)
        self._go_on(member, outgoing)

    def _was_long(self, began: float) -> bool:
        """Whether a turn on the loop was; one that was only interrupted by another program is not.

        What the slice has computed and its earlier turns have not, this one has.
        """
        now = time.perf_counter()
        if now - began <= LONG:
            return False
        wall, computing = self._slice_began
        return now - began > BLOCKED or time.thread_time() - computing - (began - wall) > LONG

    def _expect(self, member: _Member) -> bool | None:
        """Whether a first turn is to be on a thread; None: the member waits to be told."""
        kind = member.turns
        if self._begun == kind:  # nobody has been there
            self._begun += 1
            return True
        if len(self._expected) <= kind:
            self._waits_for_first.append(member)
            return None
        return self._expected[kind]

    async def _turn_on_thread(self, member: _Member, inbox: Inbox) -> None:
        try:
            outgoing, wall, computing = await member.turn_on_thread(inbox)
            del inbox  # used values are let go
            member.is_long = computing > SHORT or wall > BLOCKED
            if len(self._expected) == member.turns < FIRST:
                self.first_took = self.first_took or computing
                self._expected.append(computing > BLOCKED or wall > 10 * BLOCKED)
                self._queue.extend(self._waits_for_first)
                self._waits_for_first = []
            self._go_on(member, outgoing)
        except BaseException:
            self._is_over = True
            raise
        self._call()

    def _go_on(self, member: _Member, outgoing: Outgoing | None) -> None:
        member.turns += 1
        member.is_exchanging = outgoing is not None
        if outgoing is not None:
            if self._waits is not None:
                self._waits.send(member.seat)
            ready = member.seat.send(outgoing)
            if ready:
                self._line_up(ready)
        else:
            assert member.whole is not None, "the state is whole at boundaries"
            self._observe(member, member.whole)

    def _line_up(self, seats: Sequence[Seat]) -> None:
        if self._waits is not None:
            self._waits.ready(seats)
        self._queue.extend([self._members[seat.node] for seat in seats])

    # ---- boundaries ----

    def _observe(self, member: _Member, report: Report) -> None:
        """At a boundary: the judge is told, and the next stretch or the end begins."""
        plan, k = self._plan, report.iteration
        if k - self._judged > SNAPSHOTS * plan.observe_every:
            self._waits_for_judge.append((member, report))
            return
        judgements = self._judge.receive(report)
        for judgement in judgements:
            self._tell(judgement)
            self._judged = judgement.iteration
            if judgement.stop:
                self._end(list(judgement.reports))
                return
        if k < plan.rounds and not member.has_settled:
            member.pause_at = plan.boundary_after(k)
            self._queue.append(member)
        else:
            self._finish(member, report)
        if judgements:
            waiting, self._waits_for_judge = self._waits_for_judge, []
            for one in waiting:
                self._observe(*one)

    def _finish(self, member: _Member, report: Report) -> None:
        member.seat.finish()
        self._final[member.seat.node] = report
        if len(self._final) == self._plan.nodes:
            self._end([self._final[i] for i in range(self._plan.nodes)])

    def _end(self, how: list[Report] | Exception) -> None:
        self._is_over = True
        if self._result.done():  # the first is the one that is told
            return
        if isinstance(how, Exception):
            self._result.set_exception(how)
        else:
            self._result.set_result(how)


def _in_turn(monitor: Monitor | None) -> Watch | None:
    """For turns on several threads."""
    if monitor is None:
        return None
    one = threading.Lock()

    def watch(node: int, iteration: int, state: Any) -> None:
        if iteration % monitor.every == 0:
            with one:
                monitor.take(node, iteration, state)

    return watch
