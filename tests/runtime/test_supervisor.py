from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from p2pdo.errors import LocalProtocolError
from p2pdo.runtime.actor import Actor, ActorDead, ActorRef
from p2pdo.runtime.supervisor import GiveUp, Supervisor
from p2pdo.testing import clock


class Child(Actor[str]):
    def __init__(self, log: list[str]) -> None:
        super().__init__("child")
        self._log = log

    async def receive(self, message: str) -> object:
        if message == "fail":
            raise ValueError("boom")
        if message == "work":
            await asyncio.sleep(100)
        self._log.append(message)
        return message

    async def on_stop(self) -> None:
        self._log.append("stopped")


class Parent:
    """A supervisor whose callbacks are written down; the latest ref of each child."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.refs: dict[str, ActorRef[str]] = {}
        self.restarts: list[tuple[float, str]] = []
        self.given_up: list[tuple[str, str]] = []
        self.supervisor: Supervisor[str, str] = Supervisor(
            restarted=self._restarted, gave_up=self._gave_up
        )

    def add(self, key: str) -> None:
        self.refs[key] = self.supervisor.add(key, lambda: Child(self.log))

    async def fail(self, key: str) -> None:
        await self.refs[key].tell("fail")
        await asyncio.sleep(0.001)

    def _restarted(self, key: str, ref: ActorRef[str], error: Exception) -> None:
        self.refs[key] = ref
        self.restarts.append((round(asyncio.get_running_loop().time()), str(error)))

    def _gave_up(self, key: str, error: Exception) -> None:
        self.given_up.append((key, str(error)))


def test_a_child_that_fails_is_made_anew_and_its_siblings_go_on() -> None:
    async def main() -> None:
        parent = Parent()
        async with parent.supervisor.running():
            parent.add("a")
            parent.add("b")
            await parent.refs["b"].tell("work")
            await parent.fail("a")
            assert await parent.refs["a"].ask("again") == "again"
            await asyncio.sleep(200)
        assert parent.restarts == [(0, "boom")]
        assert "work" in parent.log

    clock.run(main())


def test_the_fourth_failure_in_a_minute_is_final_and_its_reason_is_told() -> None:
    async def main() -> None:
        parent = Parent()
        async with parent.supervisor.running():
            parent.add("a")
            parent.add("b")
            for _ in range(4):
                await parent.fail("a")
                await asyncio.sleep(10)
            assert len(parent.restarts) == 3
            assert parent.given_up == [("a", "boom")]
            with pytest.raises(ActorDead):
                await parent.refs["a"].tell("anything")
            assert await parent.refs["b"].ask("fine") == "fine"

    clock.run(main())


def test_failures_that_are_a_minute_apart_never_add_up() -> None:
    async def main() -> None:
        parent = Parent()
        async with parent.supervisor.running():
            parent.add("a")
            for _ in range(20):
                await parent.fail("a")
                await asyncio.sleep(20)  # three in any 60 s
        assert len(parent.restarts) == 20
        assert parent.given_up == []

    clock.run(main())


def test_a_child_can_be_added_and_removed_while_others_are_busy() -> None:
    async def main() -> None:
        parent = Parent()
        async with parent.supervisor.running():
            parent.add("busy")
            await parent.refs["busy"].tell("work")
            await asyncio.sleep(1)
            parent.add("late")
            assert await parent.refs["late"].ask("here") == "here"
            parent.supervisor.remove("busy")
            await asyncio.sleep(1)
            assert asyncio.get_running_loop().time() == 2
            assert parent.log == ["here", "stopped"]
            assert not parent.refs["busy"].is_alive
            parent.add("busy")  # the name is free at once
        assert parent.restarts == []

    clock.run(main())


def test_a_child_that_is_removed_before_its_first_step_is_dead() -> None:
    async def main() -> None:
        parent = Parent()
        async with parent.supervisor.running():
            parent.add("a")
            parent.supervisor.remove("a")
            await asyncio.sleep(1)
            assert not parent.refs["a"].is_alive

    clock.run(main())


def test_a_failure_at_the_end_of_a_removed_child_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class BadEnd(Child):
        async def on_stop(self) -> None:
            raise OSError("cannot clean up")

    async def main() -> None:
        parent = Parent()
        async with parent.supervisor.running():
            ref = parent.supervisor.add("a", lambda: BadEnd([]))
            await ref.ask("hello")
            parent.supervisor.remove("a")
            await asyncio.sleep(1)
        assert parent.given_up == []

    clock.run(main())
    assert "failed while it ended" in caplog.text


def test_a_child_that_gives_up_is_not_made_anew() -> None:
    class Resigned(Child):
        async def receive(self, message: str) -> object:
            raise GiveUp(message, hint="look at its log")

    async def main() -> None:
        parent = Parent()
        async with parent.supervisor.running():
            ref = parent.supervisor.add("a", lambda: Resigned([]))
            await ref.tell("it has tried three times")
            await asyncio.sleep(1)
        assert parent.restarts == []
        assert parent.given_up == [("a", "it has tried three times")]

    clock.run(main())


def test_two_children_cannot_have_one_name() -> None:
    async def main() -> None:
        parent = Parent()
        with pytest.raises(LocalProtocolError, match="inside its block"):
            parent.add("a")
        async with parent.supervisor.running():
            parent.add("a")
            with pytest.raises(LocalProtocolError, match="'a' already"):
                parent.add("a")

    clock.run(main())


class Large:
    """Stands for a state that is too large to wait for a collection of garbage."""


def test_a_child_that_is_ended_in_the_middle_of_its_work_lets_go_of_it_at_once() -> None:
    kept: list[weakref.ref[Large]] = []

    class Worker(Child):
        async def receive(self, message: str) -> object:
            large = Large()
            kept.append(weakref.ref(large))
            return await super().receive(message)

    async def main() -> None:
        supervisor = Parent().supervisor
        async with supervisor.running():
            ref = supervisor.add("a", lambda: Worker([]))
            await ref.tell("work")
            await asyncio.sleep(1)
            supervisor.remove("a")
            await asyncio.sleep(1)
            assert [large() for large in kept] == [None]
            assert not ref.is_alive

    gc.disable()
    try:
        clock.run(main())
    finally:
        gc.enable()
