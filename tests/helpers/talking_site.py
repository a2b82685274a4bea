"""An executor that asks and answers; for a node's own process and for worker processes alike."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import p2pdo
from p2pdo.node.topics import Message, Reply


class Talker(p2pdo.Executor):
    def __init__(self) -> None:
        self.released = threading.Event()
        self.heard: list[str] = []

    @p2pdo.on_message("rows")
    def rows(self, message: Message) -> object:
        return np.asarray(message.value) + 1.0

    @p2pdo.on_message("who")
    async def who(self, message: Message) -> object:
        await asyncio.sleep(0)
        return [message.sender, os.environ.get("RANK")]

    @p2pdo.on_message("fail")
    def fail(self, _message: Message) -> object:
        raise ValueError("no such column")

    @p2pdo.on_message("refuse")
    async def refuse(self, _message: Message) -> object:
        raise p2pdo.P2pdoError("not for you", hint="ask nicely")

    @p2pdo.on_message("leave")
    async def leave(self, _message: Message) -> object:
        raise SystemExit(3)

    @p2pdo.on_message("leave_from_thread")
    def leave_from_thread(self, _message: Message) -> object:
        raise SystemExit(3)

    @p2pdo.on_message("object")
    def give_object(self, _message: Message) -> object:
        return object()

    @p2pdo.on_message("silent")
    async def silent(self, message: Message) -> object:
        Path(message.value).touch()  # noqa: ASYNC240
        await asyncio.Event().wait()
        return None

    @p2pdo.on_message("release")
    def release(self, _message: Message) -> object:
        self.released.set()
        return True

    @p2pdo.on_message("release_on_loop")
    async def release_on_loop(self, _message: Message) -> object:
        self.released.set()
        return True

    @p2pdo.on_message("die")
    def die(self, _message: Message) -> object:
        os.kill(os.getpid(), 9)
        return None

    @p2pdo.task
    async def ask(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        return described(await context.request(**task.payload))

    @p2pdo.task
    def ask_from_thread(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        return described(context.ask(**task.payload))

    @p2pdo.task
    async def ask_on_the_loop(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        return described(context.ask(**task.payload))

    @p2pdo.task
    async def ask_wrongly(self, task: p2pdo.Task, context: p2pdo.Context) -> object:
        value = {"large": np.zeros(10**6), "set": {1}}[task.payload]
        return described(await context.request(["node-1"], "rows", value))

    @p2pdo.task
    async def everybody(self, _task: p2pdo.Task, context: p2pdo.Context) -> object:
        return await context.members()

    @p2pdo.task
    def compute(self, _task: p2pdo.Task) -> object:
        """Busy until somebody's message comes."""
        return self.released.wait(20)

    @p2pdo.task
    async def listen(self, _task: p2pdo.Task, context: p2pdo.Context) -> object:
        async def double(message: Message) -> object:
            context.fire_event("doubled")
            return message.value * 2

        context.on("own", double)
        return None

    @p2pdo.on("doubled")
    def hear(self, event: Any) -> None:
        self.heard.append(event.name)

    @p2pdo.task
    def what_was_heard(self, _task: p2pdo.Task) -> object:
        return self.heard

    @p2pdo.task
    def slowly(self, _task: p2pdo.Task, context: p2pdo.Context) -> object:
        while True:
            context.abort.check()
            time.sleep(0.001)


def described(replies: dict[str, Reply]) -> dict[str, Any]:
    return {
        node: reply.value
        if reply.error is None
        else f"{reply.error.code}: {reply.error} ({reply.error.hint})"
        for node, reply in replies.items()
    }
