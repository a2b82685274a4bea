"""A driver that is gone for long enough loses its workload; nobody else does."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path
from typing import Any

import pytest
from played_nodes import coordinator, tasks_spec, up

from p2pdo.config import parse_spec
from p2pdo.coordinator.abandonment import Abandonment
from p2pdo.coordinator.planning import make_machine
from p2pdo.coordinator.records import WorkloadRecord, make_record
from p2pdo.coordinator.settings import Settings
from p2pdo.protocol.assignment import Member
from p2pdo.protocol.workload_words import CloseAsked, StopAsked
from p2pdo.simulation.clock import VirtualTimeLoop
from p2pdo.testing import clock
from p2pdo.types import NodeId, WorkloadId
from p2pdo.wire.v1 import coordinator_pb2 as wire

GRACE = 60.0


def record_of(**changes: Any) -> WorkloadRecord:
    members = [Member(NodeId("a"), "127.0.0.1:1")]
    spec = parse_spec(tasks_spec("a") | changes)
    machine = make_machine(WorkloadId("w"), spec, members, {})
    return make_record(machine, spec, "", "r", members, created=0, settings=Settings())


class Watched:
    """Drives `record` as the coordinator does, and notes when it is ended."""

    def __init__(self, record: WorkloadRecord) -> None:
        self.record = record
        self.ended: list[float] = []
        self.loop = asyncio.get_running_loop()
        self.abandonment = Abandonment(GRACE, self.loop, self._end)
        self.abandonment.renew(record)

    def _end(self, record: WorkloadRecord) -> None:
        assert record is self.record
        self.ended.append(self.loop.time())

    async def watch(self, seconds: float) -> None:
        with self.record.watchers.watching():
            self.abandonment.renew(self.record)
            await asyncio.sleep(seconds)
        self.abandonment.renew(self.record)


@pytest.mark.parametrize("seed", range(20))
def test_a_driver_is_given_up_after_its_grace_and_not_before(seed: int) -> None:
    """It is cut off, comes back, sends without watching; then it is killed."""
    draw = random.Random(seed)  # noqa: S311

    async def main() -> None:
        it = Watched(record_of())
        for _ in range(50):
            match draw.choice(["watch", "away", "send", "twice"]):
                case "watch":
                    await it.watch(draw.expovariate(1 / 300))
                case "away":
                    it.abandonment.renew(it.record)
                    await asyncio.sleep(draw.uniform(0, GRACE * 0.99))
                    it.abandonment.renew(it.record)
                case "send":
                    it.abandonment.renew(it.record)
                case "twice":
                    await asyncio.gather(*(it.watch(draw.uniform(0, 200)) for _ in range(2)))
        assert it.ended == []
        last = it.loop.time()
        it.abandonment.renew(it.record)
        await asyncio.sleep(10 * GRACE)
        assert it.ended == [last + GRACE]

    clock.run(main())


@pytest.mark.parametrize("exempt", ["kept", "controlled", "closed", "over", "unlimited", "shut"])
def test_who_needs_no_driver_is_not_given_up(exempt: str) -> None:
    changes = {"kept": {"keep": True}, "controlled": {"controller": "c"}}.get(exempt, {})

    async def main() -> None:
        it = Watched(record_of(**changes))
        if exempt == "closed":
            it.record.machine.add(1)  # type: ignore[union-attr]
            it.record.machine.receive(CloseAsked())
        elif exempt == "over":
            it.record.machine.receive(StopAsked("enough"))
        elif exempt == "unlimited":
            it.abandonment.close()
            it.abandonment = Abandonment(float("inf"), it.loop, it._end)
        it.abandonment.renew(it.record)
        if exempt == "shut":
            it.abandonment.close()
        await asyncio.sleep(100 * GRACE)
        assert it.ended == []

    clock.run(main())


def test_a_coordinator_that_stood_still_waits_for_who_could_not_be_heard() -> None:
    class Stalls(VirtualTimeLoop):
        """Every timer of one step fires late, as after SIGSTOP."""

        late = 0.0

        def time(self) -> float:
            return super().time() + self.late

    async def main() -> None:
        it = Watched(record_of())
        loop: Any = it.loop
        await asyncio.sleep(GRACE - 1)
        loop.late = 30.0
        await asyncio.sleep(1)
        assert it.ended == []
        await asyncio.sleep(2 * GRACE)
        assert len(it.ended) == 1

    with asyncio.Runner(loop_factory=Stalls) as runner:
        runner.run(main())


@pytest.mark.asyncio
async def test_an_abandoned_workload_says_why_to_its_nodes_and_to_who_asks(tmp_path: Path) -> None:
    hasty = Settings(lease_seconds=60, rejoin_grace=60, driver_grace=0.2)
    async with coordinator(tmp_path, hasty) as client:
        (a,) = await up(client, "a")
        kept = await client.submit(tasks_spec("a") | {"keep": True}, "kept")
        left = await client.submit(tasks_spec("a"), "left")
        await client.send(left, "s1", ("a", 1))
        reason = "stopped: nobody has watched it for 0.2 s: its driver is gone"
        assert await a.ends() == {left: reason}
        told = await client.get(left)
        assert (told.status, json.loads(told.error)["message"]) == ("stopped", reason)
        assert "keep=True" in json.loads(told.error)["hint"]
        assert (await client.get(kept)).status == "running"
        await client.call("CloseWorkload", wire.CloseWorkloadRequest(workload_id=kept))


@pytest.mark.asyncio
async def test_a_restart_gives_a_driver_its_time_anew(tmp_path: Path) -> None:
    settings = Settings(lease_seconds=60, rejoin_grace=60, driver_grace=60)
    async with coordinator(tmp_path, settings) as client:
        await up(client, "a")
        left = await client.submit(tasks_spec("a"))
    hasty = Settings(lease_seconds=60, rejoin_grace=60, driver_grace=0.2)
    async with coordinator(tmp_path, hasty) as client:
        (a,) = await up(client, "a")
        assert list(await a.ends()) == [left]
