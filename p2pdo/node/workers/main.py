"""A worker process: one rank of an executor; started by a node, see `node.workers`.

The main thread makes the executor and does what the node asks, one thing after the other: tasks
and events. A coroutine runs on a loop of the process, which has a thread; so have messages. Another
reads what the node says, so that an abort is heard in the midst of a task; when the node is gone it
ends the whole process group.

    python -m p2pdo.node.workers.main SOCKET LIFELINE LOG    # numbers of inherited descriptors
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import io
import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

from p2pdo.errors import ConfigError, TaskAborted, UnknownTask, did_you_mean
from p2pdo.node.context import Abort, WorkloadContext
from p2pdo.node.events import END_RUN, START_RUN, Event, Events
from p2pdo.node.executors import Executor, Handlers, Task, encode_result
from p2pdo.node.workers.failures import describe
from p2pdo.node.workers.frames import (
    Kind,
    event_data,
    pack,
    pack_text,
    receive_frame,
    restore_event_data,
    unpack,
)
from p2pdo.node.workers.loop import LoopThread, is_on_loop
from p2pdo.node.workers.messages import WorkerMailbox
from p2pdo.node.workers.parts import make_part
from p2pdo.runtime.compute import InlineCompute

_LOG_LIMIT = 16 * 1024  # characters of a record
_BROKEN = 70  # exit code where the node's words cannot be taken, as in sysexits.h


def main() -> None:
    connection, lifeline, log = (int(word) for word in sys.argv[1:4])
    for fd in (connection, lifeline, log):
        os.set_inheritable(fd, False)
    faulthandler.enable(all_threads=False)  # a crash says where, on stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the node decides what Ctrl-C means
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    wire = Wire(socket.socket(fileno=connection))
    hello = wire.receive_hello()
    _enter(hello)
    _open_log(hello, log)
    loop = LoopThread()
    mailbox = WorkerMailbox(wire.send, loop)
    orders = Orders(wire, mailbox)
    orders.start()
    try:
        rank = _make_rank(hello, wire, orders, loop, mailbox)
    except BaseException as error:  # noqa: BLE001 - the site's code may raise anything
        wire.say(Kind.FAILED, describe(error))
    else:
        rank.run()


def _enter(hello: Mapping[str, Any]) -> None:
    """Takes on what holds for the whole process, before any code of the site is imported."""
    if (path := hello["python_path"]) is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = path
    if nice := hello["nice"]:
        os.nice(nice)
        with contextlib.suppress(OSError):  # where Linux shares cores between sessions first
            Path("/proc/self/autogroup").write_text(str(nice))
    if (memory := hello["memory"]) is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


class Wire:
    """The socket to the node; any thread may send."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def receive(self) -> tuple[Kind, bytes] | None:
        return receive_frame(self._connection)

    def receive_hello(self) -> dict[str, Any]:
        frame = self.receive()
        if frame is None:
            raise SystemExit(_BROKEN)
        said: dict[str, Any] = unpack(frame[1])
        return said

    def send(self, frame: bytes) -> None:
        with self._lock:
            self._connection.sendall(frame)

    def say(self, kind: Kind, value: Any = None) -> None:
        self.send(pack(kind, value))


class Orders:
    """What the node says: aborts and messages at once, all else in order."""

    def __init__(self, wire: Wire, mailbox: WorkerMailbox) -> None:
        self._wire = wire
        self._mailbox = mailbox
        self._waiting: queue.SimpleQueue[tuple[Kind | None, bytes, Abort]] = queue.SimpleQueue()
        self._abort = Abort()  # of the latest task

    def start(self) -> None:
        threading.Thread(target=self._listen, name="node", daemon=True).start()

    def next(self) -> tuple[Kind | None, bytes, Abort]:
        """Without a kind: there may be events to be heard."""
        return self._waiting.get()

    def nudge(self) -> None:
        """Has events heard that were fired outside of a task."""
        self._waiting.put((None, b"", self._abort))

    def _listen(self) -> None:
        try:
            while frame := self._wire.receive():
                self._take(*frame)
        except BaseException:
            logging.getLogger(__name__).exception("what the node says cannot be taken")
            os._exit(_BROKEN)
        os.killpg(os.getpgrp(), signal.SIGKILL)

    def _take(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.ABORT:
            self._abort.set(unpack(body))
            return
        if kind is Kind.ANSWER:
            self._mailbox.take_answer(body)
            return
        if kind is Kind.MESSAGE:
            self._mailbox.take_message(body)
            return
        if kind is Kind.TASK:
            self._abort = Abort()
        self._waiting.put((kind, body, self._abort))


async def _cancellable(coroutine: Coroutine[Any, Any, Any], abort: Abort) -> Any:
    """Awaits it; an abort cancels it where it waits."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    abort.then(lambda: loop.call_soon_threadsafe(task.cancel))  # of a task that is done: nothing
    return await coroutine


class WorkerEvents(Events):
    """Events in a worker: handled on the main thread, never in the midst of a coroutine."""

    def fire(self, name: str, data: Mapping[str, Any], context: WorkloadContext) -> None:
        event = Event(name, data)
        if is_on_loop():
            self.waiting.append((event, context))
        else:
            self._handle(event, context)

    def handle_waiting(self) -> None:
        """Handles what a coroutine has fired."""
        while self.waiting:
            self._handle(*self.waiting.popleft())

    @property
    def names(self) -> list[str]:
        """What somebody here listens to."""
        return sorted(self._listeners)


class Rank:
    """An executor in its process, and all that a workload's context holds."""

    def __init__(
        self,
        name: str,
        handlers: Handlers,
        context: WorkloadContext,
        events: WorkerEvents,
        *,
        wire: Wire,
        orders: Orders,
        loop: LoopThread,
        mailbox: WorkerMailbox,
    ) -> None:
        self._name = name
        self._handlers = handlers
        self._context = context
        self._events = events
        self._wire = wire
        self._orders = orders
        self._loop = loop
        self._mailbox = mailbox

    def run(self) -> None:
        """Does what the node asks until it says that this is the end."""
        self._events.deliver(Event(START_RUN), self._context)
        topics = self._mailbox.tell_topics()
        self._wire.say(Kind.READY, {"events": self._events.names, "topics": topics})
        while True:
            kind, body, abort = self._orders.next()
            if kind is Kind.TASK:
                self._perform(restore_event_data(unpack(body))["task"], abort)
            elif kind is Kind.EVENT:
                said = unpack(body)
                event = Event(said["name"], restore_event_data(said["data"]))
                self._events.deliver(event, self._context)
            elif kind is Kind.END:
                self._close()
                return
            else:
                self._events.handle_waiting()

    def _close(self) -> None:
        self._events.deliver(Event(END_RUN), self._context)
        self._loop.run(self._handlers.executor.close())
        self._loop.close()

    def _perform(self, task: Task, abort: Abort) -> None:
        try:
            text = self._answer(task, self._context.for_task(abort))
        except BaseException as error:  # noqa: BLE001 - SystemExit too: the task asked, not the node
            if isinstance(error, CancelledError) and abort.is_set:
                error = TaskAborted(f"aborted: {abort.reason}")
            self._wire.say(Kind.FAILED, describe(error))
        else:
            self._wire.send(pack_text(Kind.DONE, text))

    def _answer(self, task: Task, context: WorkloadContext) -> str:
        context.abort.check()
        handler, is_async, wants = self._find(task.name)
        value: Any = handler(task, context) if wants else handler(task)
        if is_async:
            value = self._loop.run(_cancellable(value, context.abort))
            self._events.handle_waiting()
        return encode_result(value) if context.rank == 0 else "null"

    def _find(self, name: str) -> tuple[Any, bool, bool]:
        found = self._handlers.get(name)
        if found is None:
            raise UnknownTask(
                f"executor '{self._name}' has no task '{name}'",
                hint=did_you_mean(name, sorted(self._handlers.table)),
            )
        return found


def _make_rank(
    hello: Mapping[str, Any],
    wire: Wire,
    orders: Orders,
    loop: LoopThread,
    mailbox: WorkerMailbox,
) -> Rank:
    events = WorkerEvents()
    events.add_relay(lambda event: _relay(event, wire))
    components = {
        name: make_part(f"component '{name}'", part["path"], part["args"])
        for name, part in hello["components"].items()
    }
    executor = _make_executor(hello)
    handlers = Handlers.of(executor)
    _check_tasks(hello, list(handlers.table))
    about = {name: hello[name] for name in ("node", "workload_id", "rank")}
    parts = [*components.values(), executor]
    events.add(parts)
    mailbox.open(parts, hello["node"])
    mailbox.answered = orders.nudge
    context = mailbox.context = WorkloadContext(
        node=hello["node"],
        workload_id=hello["workload_id"],
        compute=InlineCompute(),
        log=logging.LoggerAdapter(logging.getLogger("p2pdo.worker"), about),
        site=hello["site"],
        components=components,
        events=events,
        mailbox=mailbox,
        rank=hello["rank"],
        world_size=hello["world_size"],
    )
    return Rank(
        hello["name"],
        handlers,
        context,
        events,
        wire=wire,
        orders=orders,
        loop=loop,
        mailbox=mailbox,
    )


def _make_executor(hello: Mapping[str, Any]) -> Executor:
    what = f"executor '{hello['name']}'"
    executor = make_part(what, hello["path"], hello["args"])
    if not isinstance(executor, Executor):
        raise ConfigError(
            f"{what}: {hello['path']} made a {type(executor).__name__}",
            hint="its class is to be one of p2pdo.node.executors.Executor",
        )
    return executor


def _check_tasks(hello: Mapping[str, Any], known: list[str]) -> None:
    for task in hello["tasks"]:
        if task not in known:
            raise ConfigError(
                f"executor '{hello['name']}' has no task '{task}'", hint=did_you_mean(task, known)
            )


def _relay(event: Event, wire: Wire) -> None:
    data = event_data(event.data)
    try:
        wire.say(Kind.EVENT, {"name": event.name, "data": data})
    except ValueError as error:
        logging.getLogger(__name__).warning(
            "event %s does not reach the node: %s", event.name, error
        )


class _LogToNode(logging.Handler):
    """Takes what is logged here to the node's log, and to this rank's file beside its prints."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._file = os.fdopen(fd, "wb", buffering=0)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = json.dumps([record.levelno, self.format(record)[:_LOG_LIMIT]])
            _write_all(self._file, f"{line}\n".encode())
        except Exception:  # noqa: BLE001 - as every handler of logging does
            self.handleError(record)


def _write_all(file: io.FileIO, data: bytes) -> None:
    while data:
        data = data[file.write(data) :]


def _open_log(hello: Mapping[str, Any], fd: int) -> None:
    root = logging.getLogger()
    root.addHandler(_LogToNode(fd))
    root.setLevel(hello["log_level"])


if __name__ == "__main__":
    main()
