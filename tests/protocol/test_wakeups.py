"""Six ways a naive wait goes wrong, and that ours does not.

The naive executor below waits as published ones do: one event for "all have arrived", not keyed by
iteration and not looked at again after waking. It replays the same recorded conversations as
`Rounds` (tests/scenarios/rounds_wakeup_*.txt) and must fail each: a scenario that it passes would
show nothing.
"""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from p2pdo.effects import Row
from p2pdo.errors import WorkloadFailed
from p2pdo.protocol.exchanging import Outgoing, Place
from p2pdo.protocol.frames import EffectKind, Tag
from p2pdo.protocol.rounds import WINDOW, Rounds
from p2pdo.runtime.exchange import Exchanger
from p2pdo.testing import clock
from p2pdo.types import NodeId, Value

SCENARIOS = Path(__file__).parent.parent / "scenarios"
WAKEUPS = sorted(SCENARIOS.glob("rounds_wakeup_*.txt"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"wakeups_{name}", SCENARIOS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Naive:
    """One event for all iterations; whoever is woken believes it."""

    def __init__(self, quota: int) -> None:
        self.values: dict[int, dict[int, Value]] = {}
        self._quota = quota
        self._all_arrived = False
        self.is_aborted = False

    def receive(self, sender: int, seq: int, tag: Tag, value: Value) -> None:
        values = self.values.setdefault(tag.iteration, {})
        values[sender] = value
        if len(values) >= self._quota:
            self._all_arrived = True

    def abort(self) -> None:
        self.is_aborted = True
        self._all_arrived = True

    def take(self, tag: Tag) -> dict[int, Value] | None:
        if not self._all_arrived:
            return None
        self._all_arrived = False
        return self.values.get(tag.iteration, {})

    def missing(self) -> list[str]:
        return ["somebody"]


def replayed_by_naive(recorded: str) -> str:
    runner, rounds = load("test_scenarios"), load("rounds")

    def interpreter_for(header: str) -> object:
        senders = tuple(header.split()[3:])
        return rounds.interpret(Naive(len(senders)), (*senders, "mallory"))

    runner.interpreter_for = interpreter_for
    return "\n\n".join(runner.replay(recorded)) + "\n"


def test_there_is_a_conversation_for_each_of_the_five_that_are_about_values() -> None:
    assert [path.stem.split("_")[2] for path in WAKEUPS] == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("path", WAKEUPS, ids=lambda path: path.stem)
def test_the_naive_executor_fails_what_ours_passes(path: Path) -> None:
    recorded = path.read_text()
    naive = replayed_by_naive(recorded)
    assert naive != recorded
    # Not by another wording: it took what it may not take, or accepted what it may not accept.
    told = ("took", "refused")
    assert [a for a in naive.splitlines() if a.startswith(told)] != [
        a for a in recorded.splitlines() if a.startswith(told)
    ]


def tag(iteration: int) -> Tag:
    return Tag(iteration, 0, EffectKind.MIX)


def test_ten_thousand_future_iterations_are_kept_by_the_naive_one_only() -> None:
    naive, ours = Naive(2), Rounds([(0, "a"), (1, "b")])
    for k in range(10_000):
        naive.receive(0, k, tag(k), 1.0)
        if k < WINDOW:
            ours.receive(0, k, tag(k), 1.0)
        else:
            with pytest.raises(Exception, match="its credit ends at"):
                ours.receive(0, k, tag(k), 1.0)
    assert len(naive.values) == 10_000
    assert ours.edges[0].held == WINDOW


def test_after_an_abort_the_naive_one_returns_and_ours_raises() -> None:
    naive = Naive(1)
    naive.abort()
    assert naive.take(tag(5)) == {}, "its caller meets a KeyError"

    place = Place(0, "node-0", (1,), (), Row(((0, 0.5), (1, 0.5))))
    exchanger = Exchanger(place, {1: NodeId("node-1")}, b"")

    async def main() -> None:
        async with asyncio.timeout(60):
            waiting = asyncio.create_task(exchanger.exchange(Outgoing(tag(5), 1.0)))
            await asyncio.sleep(1)
            assert not waiting.done()
            exchanger.wake()  # for nothing: it looks again and goes on waiting
            await asyncio.sleep(1)
            assert not waiting.done()
            exchanger.fail(WorkloadFailed("aborted"))
            await waiting

    with pytest.raises(WorkloadFailed, match="aborted"):
        clock.run(main())
