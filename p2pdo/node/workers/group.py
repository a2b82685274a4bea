"""The worker processes of one executor, from their start to their end; all fresh, or none.

    start ─▶ ready ─▶ task ─▶ done ─▶ task … ─▶ end
                        └─▶ a rank failed, or the task was aborted ─▶ the others are told;
                            who does not give it up within a second is killed, and so are all
                        └─▶ a rank died ─▶ all are killed

Ranks that meet in collective operations are of no use without each other, so a group that has lost
one is ended whole, and its executor makes another. For each rank one task here takes its frames in
order and waits for its end; frames that answer something go to the one who asked, through one
queue. A death is such an answer too, so nobody ever waits for a rank that is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from p2pdo.errors import TaskFailed
from p2pdo.node.context import WorkloadContext
from p2pdo.node.events import END_RUN, Event
from p2pdo.node.executors import Task
from p2pdo.node.topics import Message
from p2pdo.node.workers.failures import WorkerDied, death, start_failure, task_failure
from p2pdo.node.workers.frames import (
    Kind,
    pack,
    pack_task,
    read_frame,
    restore_event_data,
    unpack,
)
from p2pdo.node.workers.limit import CpuLimit
from p2pdo.node.workers.output import Output
from p2pdo.node.workers.process import Worker
from p2pdo.node.workers.relay import Relay
from p2pdo.node.workers.settings import environment_of, reserve_port
from p2pdo.reporting.file_names import to_file_name
from p2pdo.runtime.groups import task_group

if TYPE_CHECKING:
    from p2pdo.node.workers.spec import WorkerSpec

log = logging.getLogger(__name__)

GRACE = 1.0  # seconds to give up a task that was aborted
_END_GRACE = 0.4  # seconds to do so where the whole workload has ended
_CLOSE_GRACE = 0.7  # seconds to close an executor then; both and a kill are less than two
_DYING = 0.5  # seconds from a sign of death to its proof, and to the last line on stderr


@dataclass(frozen=True)
class _Answer:
    rank: int
    kind: Kind | None  # None: the rank is dead
    body: bytes = b""


class WorkerGroup:
    """Started once, ended once; performs one task at a time.

    Attributes:
        hears: the events that somebody in the workers listens to.
        topics: what rank 0 answers; `took_up` is told of those that it takes up later.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        context: WorkloadContext,
        gpus: Sequence[str],
        deliver: Callable[[int, Event], None],
        took_up: Callable[[str], None],
        *,
        limit: CpuLimit,
    ) -> None:
        self._spec = spec
        self._gpus = gpus
        self._context = context
        self._deliver = deliver
        self._took_up = took_up
        self._limit = limit
        self._holding: asyncio.Task[None] | None = None  # them to the limit
        self._relay = Relay(spec.name, context.mailbox)
        self._port = reserve_port()
        self._output = Output(context.log, _log_files(spec, context))
        self._workers: list[Worker] = []
        self._watches: list[asyncio.Task[None]] = []
        self._answers: asyncio.Queue[_Answer] = asyncio.Queue()
        self._waiting: set[int] = set()  # the ranks that have to answer
        self._dead: set[int] = set()
        self._lost: int | None = None  # the rank that died first, and not by us
        self._ending = False  # they have been told to
        self._killed = False
        self.hears: frozenset[str] = frozenset()
        self.topics: list[str] = []

    @property
    def is_whole(self) -> bool:
        return not self._dead and not self._killed

    def died_idle(self) -> WorkerDied | None:
        """The death of a rank since its last task."""
        return None if self._lost is None else self._death(self._lost, "between two tasks")

    def is_heard(self, event: str) -> bool:
        return event in self.hears or "*" in self.hears

    # ---- start ----

    async def start(self) -> None:
        """Returns when every rank has made its executor.

        Raises:
            TaskFailed: one could not; all are killed.
        """
        try:
            await self._start_processes()
        except OSError as error:
            raise TaskFailed(
                f"{self._who(len(self._workers))} cannot start: {error.strerror or error}",
                hint="this machine is out of processes, memory or file descriptors",
            ) from error
        hears: set[str] = set()
        self._waiting = set(range(self._spec.processes))
        while self._waiting:
            answer = await self._next_answer()
            if answer.kind is None:
                raise self._death(answer.rank, "while it started")
            said = await self._read(answer)
            if answer.kind is Kind.FAILED:
                raise start_failure(self._who(answer.rank), said, memory=self._spec.memory)
            hears.update(said["events"])
            if answer.rank == 0:
                self.topics = said["topics"]
        self.hears = frozenset(hears)

    async def _start_processes(self) -> None:
        self._holding = asyncio.create_task(self._hold_to_limit())
        try:
            for rank in range(self._spec.processes):
                await self._start_process(rank)
        finally:
            self._output.start()

    async def _start_process(self, rank: int) -> None:
        environment = environment_of(
            rank,
            self._spec.processes,
            port=self._port.getsockname()[1],
            gpus=self._gpus,
            threads=self._spec.threads,
        )
        worker = await Worker.start(rank, environment, self._output)
        self._workers.append(worker)
        watch = self._watch(worker)
        self._watches.append(asyncio.create_task(watch, name=f"{self._spec.name}, rank {rank}"))
        worker.say(Kind.HELLO, self._spec.hello(rank, self._context))
        self._limit.look()

    async def _hold_to_limit(self) -> None:
        try:
            await self._limit.hold(self._workers)
        except Exception:
            log.exception("executor '%s': its CPU limit cannot be held", self._spec.name)
            self.kill()

    # ---- a task ----

    async def perform(self, task: Task) -> Any:
        """What rank 0 returned, when all have.

        Raises:
            WorkerDied: a rank died; all are killed.
            P2pdoError: a rank raised; the others have given the task up, or all are killed.
        """
        frame = await self._context.compute.run(pack_task, task)
        self._send_all(frame)
        self._limit.look()
        self._waiting = set(range(self._spec.processes))
        value: Any = None
        while self._waiting:
            answer = await self._next_answer()
            if answer.kind is None:
                raise self._death(answer.rank, f"in task '{task.name}'")
            if answer.kind is Kind.FAILED:
                await self._fail(task, answer)
            if answer.rank == 0:
                value = await self._read(answer)
        return value

    async def _fail(self, task: Task, answer: _Answer) -> NoReturn:
        """Fails the task as its first failure says; but a death is always its own cause.

        Who meets a dead rank in a collective operation raises before the death is known here.
        """
        said = await self._read(answer)
        await self.give_up(f"rank {answer.rank} failed")
        failure = task_failure(self._who(answer.rank), said, memory=self._spec.memory)
        if self._lost is not None:
            raise self._death(self._lost, f"in task '{task.name}'") from failure
        raise failure

    async def give_up(self, reason: str, *, at_end: bool = False) -> None:
        """Returns when nobody is at the task any more; whoever does not heed is killed.

        At the workload's end that is after a shorter grace.
        """
        grace = _END_GRACE if at_end else GRACE
        if not self._waiting:
            return
        self._send_all(pack(Kind.ABORT, reason))
        timer = asyncio.get_running_loop().call_later(grace, self._kill_the_deaf, grace)
        try:
            with self._limit.lifted():
                while self._waiting:
                    await self._next_answer()
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            timer.cancel()

    def _kill_the_deaf(self, grace: float) -> None:
        self._context.log.warning(
            "executor '%s': rank %s did not give up the task within %g s; all are killed",
            self._spec.name,
            " and ".join(str(rank) for rank in sorted(self._waiting)),
            grace,
        )
        self.kill()

    async def _next_answer(self) -> _Answer:
        answer = await self._answers.get()
        self._waiting.discard(answer.rank)
        return answer

    async def _read(self, answer: _Answer) -> Any:
        return await self._context.compute.run(unpack, answer.body)

    # ---- events ----

    def tell(self, frame: bytes) -> None:
        """Sends an event to every rank."""
        if self.is_whole:
            self._send_all(frame)

    # ---- messages ----

    async def answer(self, message: Message) -> Any:
        """What rank 0 answers.

        Raises:
            P2pdoError: what went wrong there, or it is gone.
        """
        return await self._relay.ask(message, self._workers[0].send)

    # ---- end ----

    async def end(self, *, now: bool = False) -> None:
        """Has the executors closed, and returns when no process is left.

        `now` kills them without a word; otherwise that takes place after the grace.
        """
        timer = None
        self._ending = True
        self._relay.close()
        if now or not self.is_whole:
            self.kill()
        else:
            self._send_all(pack(Kind.END, {"event": END_RUN}))
            timer = asyncio.get_running_loop().call_later(_CLOSE_GRACE, self.kill)
        try:
            if self._watches:
                with self._limit.lifted():
                    await asyncio.wait(self._watches)
        except asyncio.CancelledError:
            self.kill()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if self._holding is not None:
                self._holding.cancel()
                await asyncio.wait({self._holding})
            self._port.close()
            for worker in self._workers:
                worker.release()
            await self._output.close()

    def kill(self) -> None:
        self._killed = True
        self._relay.close()
        for worker in self._workers:
            if worker.rank not in self._dead:  # the number of one that is gone may be another's
                worker.kill()

    # ---- one rank ----

    async def _watch(self, worker: Worker) -> None:
        """Takes what a rank says until it ends; whatever happens, its death is told."""
        try:
            await self._follow(worker)
        except Exception:
            log.exception("%s: what it says cannot be taken", self._who(worker.rank))
            worker.kill()
        finally:
            self._dead.add(worker.rank)
            self._answers.put_nowait(_Answer(worker.rank, None))
            if not self._ending and not self._killed:
                self._lost = worker.rank
                self.kill()

    async def _follow(self, worker: Worker) -> None:
        """Returns when the rank and all that it has started have ended."""
        async with task_group() as group:
            listening = group.create_task(self._listen(worker))
            exiting = group.create_task(worker.process.wait())
            await asyncio.wait({listening, exiting}, return_when=asyncio.FIRST_COMPLETED)
            if not exiting.done():
                await asyncio.wait({exiting}, timeout=_DYING)
            worker.kill()  # what it has started; itself, where only its connection has ended
            await asyncio.wait({exiting}, timeout=_DYING)
            await asyncio.wait({listening}, timeout=_DYING)
            drained = group.create_task(self._output.drained(worker.rank))
            await asyncio.wait({drained}, timeout=_DYING)
            for task in (listening, exiting, drained):
                task.cancel()

    async def _listen(self, worker: Worker) -> None:
        while frame := await self._next_frame(worker):
            kind, body = frame
            if kind is Kind.EVENT:
                await self._context.compute.run(self._take_event, worker.rank, body)
            elif kind is Kind.ASK:
                self._relay.take_question(body, worker.send)
            elif kind is Kind.REPLY:
                self._relay.take_reply(body)
            elif kind is Kind.TOPIC:
                self._take_topic(worker.rank, unpack(body))
            else:
                self._answers.put_nowait(_Answer(worker.rank, kind, body))

    async def _next_frame(self, worker: Worker) -> tuple[Kind, bytes] | None:
        try:
            return await read_frame(worker.reader)
        except ValueError as error:  # somebody else wrote to its socket
            self._context.log.warning("%s sent nonsense: %s", self._who(worker.rank), error)
            return None

    def _take_topic(self, rank: int, topic: str) -> None:
        if rank == 0:
            self._took_up(topic)

    def _take_event(self, rank: int, body: bytes) -> None:
        """On the workload's thread."""
        said = unpack(body)
        self._deliver(rank, Event(said["name"], restore_event_data(said["data"])))

    # ---- all ranks ----

    def _send_all(self, frame: bytes) -> None:
        for worker in self._workers:
            worker.send(frame)

    def _death(self, rank: int, when: str) -> WorkerDied:
        return death(
            self._who(rank),
            f"{self._workers[rank].how_it_ended()} {when}",
            self._output.last_words(rank),
            memory=self._spec.memory,
        )

    def _who(self, rank: int) -> str:
        return f"rank {rank} of executor '{self._spec.name}' at node '{self._context.node}'"


def _log_files(spec: WorkerSpec, context: WorkloadContext) -> list[Path | None]:
    if spec.logs is None:
        return [None] * spec.processes
    folder = spec.logs / to_file_name(context.workload_id)
    name = to_file_name(spec.name)
    return [folder / f"{name}.rank-{rank}.log" for rank in range(spec.processes)]
