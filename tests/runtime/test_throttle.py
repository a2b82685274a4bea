from __future__ import annotations

import asyncio

import pytest

from p2pdo.runtime.throttle import Throttle


@pytest.mark.asyncio
async def test_a_crowd_passes_a_few_in_a_turn_in_the_order_of_its_coming() -> None:
    throttle, passed = Throttle(width=2), list[str]()

    async def enter(name: str) -> None:
        await throttle.enter()
        passed.append(name)

    async with asyncio.TaskGroup() as group:
        for name in "abcde":
            group.create_task(enter(name))
        seen = []
        while len(passed) < 5:
            await asyncio.sleep(0)
            seen.append(len(passed))

    assert passed == list("abcde")
    assert max(now - before for before, now in zip([0, *seen], seen, strict=False)) == 2


@pytest.mark.asyncio
async def test_what_is_under_way_goes_on_between_two_of_a_crowd() -> None:
    throttle, order = Throttle(width=1), list[str]()
    loop = asyncio.get_running_loop()

    async def enter(name: str) -> None:
        await throttle.enter()
        order.append(name)
        if name == "a":
            loop.call_soon(order.append, "a's result")

    await asyncio.gather(*(enter(name) for name in "abc"))
    await asyncio.sleep(0)

    assert order.index("a's result") < order.index("c")


@pytest.mark.asyncio
async def test_who_is_cancelled_while_it_waits_takes_nobodys_place() -> None:
    throttle, passed = Throttle(width=1), list[str]()

    async def enter(name: str) -> None:
        await throttle.enter()
        passed.append(name)

    tasks = [asyncio.create_task(enter(name)) for name in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert passed == ["a", "c"]
