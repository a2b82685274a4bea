"""A site's own code, for worker processes to find: one handler for each thing that a test needs."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from p2pdo.errors import NotFound
from p2pdo.node.events import AFTER_TASK, BEFORE_TASK, END_RUN, START_RUN, Event, on
from p2pdo.node.executors import Context, Executor, Task, task

NOT_CALLABLE = 3


class Counter:
    """A component that hears and counts."""

    def __init__(self, start: int = 0, folder: str = "") -> None:
        self.count = start
        self.heard: list[str] = []
        self._folder = folder

    @on(START_RUN, BEFORE_TASK, AFTER_TASK)
    def note(self, event: Event) -> None:
        self.heard.append(event.name)

    @on("node-says")
    def note_data(self, event: Event, context: Context) -> None:
        self.heard.append(f"{event.name} {event.data['value']} at rank {context.rank}")

    @on("rank-says")
    def note_own(self, event: Event) -> None:
        self.heard.append(event.name)

    @on(END_RUN)
    def leave_a_mark(self, event: Event, context: Context) -> None:
        if self._folder:
            (Path(self._folder) / f"end-{context.rank}").touch()


class Site(Executor):
    def __init__(self, folder: str = "", greeting: str = "hello") -> None:
        self._folder = Path(folder)
        self._greeting = greeting
        self._waiter: asyncio.Event | None = None
        self._loops: list[Any] = []

    def _mark(self, name: str) -> None:
        """A file for the test to find; or a word in a pipe that it waits at."""
        (self._folder / name).write_text(str(os.getpid()))

    async def close(self) -> None:
        if str(self._folder) != ".":
            self._mark(f"closed-{os.environ['RANK']}")

    @task
    def where(self, task: Task, context: Context) -> object:
        return {
            "pid": os.getpid(),
            "rank": context.rank,
            "world_size": context.world_size,
            "node": context.node,
            "workload": context.workload_id,
            "site": context.site,
            "greeting": self._greeting,
            "count": context.components["counter"].count if context.components else None,
            "imported": [name for name in ("numpy", "grpc", "uvloop") if name in sys.modules],
            "environment": dict(os.environ),
            "nice": os.nice(0),
        }

    @task
    def echo(self, task: Task) -> object:
        return task.payload

    @task
    async def echo_later(self, task: Task, context: Context) -> object:
        await asyncio.sleep(0)
        self._loops.append(asyncio.get_running_loop())
        return [task.payload, len({id(loop) for loop in self._loops}) == 1]

    @task
    def double(self, task: Task) -> object:
        return {"array": task.payload["array"] * 2}

    @task
    def fail(self, task: Task, context: Context) -> object:
        if context.rank == task.payload["rank"]:
            raise ValueError("cannot do it")
        return "fine"

    @task
    def fail_alone(self, task: Task, context: Context) -> object:
        if context.rank == 1:
            raise ValueError("cannot do it")
        while True:
            context.abort.wait(60)

    @task
    def refuse(self, task: Task) -> object:
        raise NotFound("no such column", hint="try age")

    @task
    def fail_badly(self, task: Task) -> object:
        class Mute(Exception):
            def __str__(self) -> str:
                raise OSError("no words")

        raise Mute

    @task
    def leave(self, task: Task) -> object:
        raise SystemExit("I leave")

    @task
    def give_object(self, task: Task) -> object:
        return object()

    @task
    def give_much(self, task: Task) -> object:
        return "x" * task.payload

    @task
    def die(self, task: Task, context: Context) -> object:
        if context.rank != task.payload.get("rank", 0):
            time.sleep(60)  # as one that waits in a collective operation
        print("these are my last words", file=sys.stderr)  # noqa: T201
        match task.payload["how"]:
            case "segfault":
                ctypes.string_at(0)
            case "exit":
                os._exit(3)
            case "sigkill":
                os.kill(os.getpid(), signal.SIGKILL)
        return None

    @task
    def lean_on_1(self, task: Task, context: Context) -> object:
        """Rank 0 learns of rank 1's death before the node does, and raises."""
        pipe = self._folder / "lean"
        if context.rank == 1:
            with pipe.open("w"):
                os.kill(os.getpid(), signal.SIGKILL)
        pipe.read_text()
        raise RuntimeError("connection closed by peer")

    @task
    def spin(self, task: Task, context: Context) -> object:
        self._mark(f"spins-{context.rank}")
        while True:
            pass

    @task
    def burn(self, task: Task, context: Context) -> object:
        """As spin, but it looks."""
        self._mark(f"burns-{context.rank}")
        while True:
            context.abort.check()

    @task
    def hold(self, task: Task, context: Context) -> object:
        self._mark(f"holds-{context.rank}")
        while True:
            context.abort.wait(60)

    @task
    async def hold_later(self, task: Task, context: Context) -> object:
        self._mark(f"holds-{context.rank}")
        await asyncio.Event().wait()
        return None

    @task
    def print_much(self, task: Task) -> object:
        line = b"x" * 99 + b"\n"
        for _ in range(task.payload // (200 * 100)):
            os.write(1, line * 100)
            os.write(2, line * 100)
        os.write(1, b"y" * 1_000_000)  # and a line that does not end
        return "done"

    @task
    def log_much(self, task: Task, context: Context) -> object:
        for _ in range(task.payload):
            context.log.info("logged")
        return "done"

    @task
    def talk(self, task: Task, context: Context) -> object:
        print(f"printed by {context.rank}")  # noqa: T201
        print(f"complained by {context.rank}", file=sys.stderr)  # noqa: T201
        context.log.info("logged by %d", context.rank)
        logging.getLogger("a.library").warning("a library in %d", context.rank)
        return None

    @task
    def fire(self, task: Task, context: Context) -> object:
        context.fire_event("rank-says", value=context.rank)
        return list(context.components["counter"].heard)

    @task
    async def fire_later(self, task: Task, context: Context) -> object:
        context.fire_event("rank-says", value=context.rank)
        before = list(context.components["counter"].heard)
        await asyncio.sleep(0)
        return before

    @task
    def heard(self, task: Task, context: Context) -> object:
        return list(context.components["counter"].heard)

    @task
    def allocate(self, task: Task) -> object:
        return len(bytearray(task.payload))

    @task
    def start_child(self, task: Task, context: Context) -> object:
        return subprocess.Popen(["sleep", "1000"]).pid

    @task
    def call_c_for_ever(self, task: Task, context: Context) -> object:
        """Holds the interpreter's lock, so that no thread here runs any more."""
        self._mark(f"spins-{context.rank}")
        ctypes.PyDLL(None).pause()
        return None


class Meeting(Executor):
    def __init__(self) -> None:
        import torch.distributed as dist

        dist.init_process_group("gloo")

    @task
    def add(self, task: Task, context: Context) -> object:
        import torch
        import torch.distributed as dist

        value = torch.tensor(task.payload + context.rank)
        dist.all_reduce(value)
        return value.item()


class Raising(Executor):
    def __init__(self) -> None:
        raise OSError("no data here")


class Dying(Executor):
    def __init__(self) -> None:
        os._exit(4)


class Hanging(Executor):
    def __init__(self, folder: str) -> None:
        if os.environ["RANK"] == "1":
            (Path(folder) / "starts-1").write_text(str(os.getpid()))
            while True:
                time.sleep(60)

    @task
    def echo(self, task: Task) -> object:
        return task.payload


class NoExecutor:
    pass
