from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from p2pdo.errors import LocalProtocolError
from p2pdo.runtime.actor import Actor, ActorDead, InboxFull
from p2pdo.testing import clock

Act = Callable[[], Awaitable[object]]


class Performer(Actor[Act]):
    """Does what it is told and writes down its life."""

    def __init__(self, *, inbox: int = 4) -> None:
        super().__init__("performer", inbox=inbox)
        self.events: list[str] = []

    async def on_start(self) -> None:
        self.events.append("start")

    async def receive(self, message: Act) -> object:
        return await message()

    async def on_stop(self) -> None:
        self.events.append("stop")


def note(actor: Performer, word: str, after: float = 0.0) -> Act:
    async def act() -> str:
        await asyncio.sleep(after)
        actor.events.append(word)
        return word

    return act


async def fail() -> None:
    raise ValueError("boom")


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def test_messages_are_received_one_at_a_time_and_in_order() -> None:
    async def main() -> list[str]:
        actor = Performer()
        async with actor.running() as ref:
            await ref.tell(note(actor, "slow", after=10))
            await ref.tell(note(actor, "quick"))
            assert await ref.ask(note(actor, "asked")) == "asked"
        return actor.events

    assert clock.run(main()) == ["start", "slow", "quick", "asked", "stop"]


def test_telling_waits_while_the_inbox_is_full() -> None:
    async def main() -> float:
        actor = Performer(inbox=2)
        async with actor.running() as ref:
            for word in "abcd":  # a is in hand after a moment, b and c in the inbox
                await ref.tell(note(actor, word, after=5))
            return asyncio.get_running_loop().time()

    assert clock.run(main()) == 5


def test_try_tell_never_waits() -> None:
    async def main() -> None:
        actor = Performer(inbox=1)
        async with actor.running() as ref:
            ref.try_tell(note(actor, "a"))
            with pytest.raises(InboxFull, match="1 messages"):
                ref.try_tell(note(actor, "b"))

    clock.run(main())


def test_several_are_told_in_order_or_none_of_them() -> None:
    async def main() -> None:
        actor = Performer(inbox=2)
        async with actor.running() as ref:
            with pytest.raises(InboxFull, match="2 messages"):
                ref.try_tell(*[note(actor, word) for word in "xyz"])
            ref.try_tell(note(actor, "a"), note(actor, "b"))
            await ref.ask(note(actor, "c"))
        assert actor.events == ["start", "a", "b", "c", "stop"]

    clock.run(main())


def test_an_error_in_ask_goes_to_the_asker_and_the_actor_lives_on() -> None:
    async def main() -> None:
        actor = Performer()
        async with actor.running() as ref:
            with pytest.raises(ValueError, match="boom"):
                await ref.ask(fail)
            assert await ref.ask(note(actor, "alive")) == "alive"

    clock.run(main())


def test_an_error_in_tell_ends_the_owners_block() -> None:
    async def main() -> None:
        actor = Performer()
        with pytest.raises(ValueError, match="boom"):
            await tell_and_wait(actor, fail)
        assert asyncio.get_running_loop().time() == 0
        assert actor.events == ["start", "stop"]
        assert not actor.ref.is_alive
        with pytest.raises(ActorDead, match="boom"):
            await actor.ref.tell(fail)

    clock.run(main())


def test_messages_left_in_the_inbox_are_answered_with_an_error() -> None:
    async def main() -> None:
        actor = Performer()
        async with asyncio.TaskGroup() as group:
            async with actor.running() as ref:
                askers = [
                    group.create_task(expect_dead(ref.ask(act)))
                    for act in (for_ever, note(actor, "never"))
                ]
                await asyncio.sleep(1)
            await asyncio.gather(*askers)
        assert actor.events == ["start", "stop"]

    clock.run(main())


def test_who_waits_for_room_learns_that_the_actor_has_ended() -> None:
    async def main() -> None:
        actor = Performer(inbox=1)
        async with asyncio.TaskGroup() as group, actor.running() as ref:
            await ref.tell(for_ever)
            await asyncio.sleep(1)
            await ref.tell(for_ever)
            for _ in range(3):
                group.create_task(expect_dead(ref.tell(for_ever)))
            await asyncio.sleep(1)

    clock.run(main())


def test_an_actor_that_is_cancelled_before_its_first_step_leaves_nobody_waiting() -> None:
    async def main() -> None:
        actor = Performer()
        async with asyncio.TaskGroup() as group:
            group.create_task(expect_dead(actor.ref.ask(for_ever)))
            await asyncio.sleep(0)
            async with actor.running():
                pass  # no await: the actor's task never took a step
        assert actor.events == []

    clock.run(main())


def test_a_place_in_the_inbox_is_not_lost_when_its_waiter_is_cancelled() -> None:
    async def main() -> None:
        actor = Performer(inbox=1)
        async with actor.running() as ref, asyncio.TaskGroup() as group:
            await ref.tell(note(actor, "first", after=5))
            await asyncio.sleep(1)
            await ref.tell(note(actor, "second"))
            loser = group.create_task(ref.tell(note(actor, "cancelled")))
            group.create_task(ref.tell(note(actor, "third")))
            await asyncio.sleep(1)
            loser.cancel()
            await asyncio.sleep(60)
        assert actor.events == ["start", "first", "second", "third", "stop"]

    clock.run(main())


def test_an_asker_that_gives_up_does_not_disturb_the_actor() -> None:
    async def main() -> None:
        actor = Performer()
        async with actor.running() as ref:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await ref.ask(note(actor, "late", after=2))
            assert await ref.ask(note(actor, "next")) == "next"
        assert actor.events == ["start", "late", "next", "stop"]

    clock.run(main())


def test_a_cancellation_that_nobody_asked_for_is_a_failure() -> None:
    async def cancelled() -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    async def main() -> None:
        with pytest.raises(LocalProtocolError, match="was cancelled"):
            await tell_and_wait(Performer(), cancelled)

    clock.run(main())


def test_a_failing_start_is_the_actors_failure() -> None:
    class Stillborn(Performer):
        async def on_start(self) -> None:
            raise OSError("no disk")

    async def main() -> None:
        with pytest.raises(OSError, match="no disk"):
            async with Stillborn().running():
                await asyncio.sleep(1)

    clock.run(main())


def test_an_error_of_the_block_is_raised_as_it_is() -> None:
    async def main() -> None:
        with pytest.raises(KeyError):
            async with Performer().running():
                raise KeyError("mine")

    clock.run(main())


async def tell_and_wait(actor: Performer, act: Act) -> None:
    async with actor.running() as ref:
        await ref.tell(act)
        await asyncio.sleep(60)


async def expect_dead(call: Awaitable[object]) -> None:
    with pytest.raises(ActorDead):
        await call
