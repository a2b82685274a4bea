"""The processes of benchmarks/isolation.py that are not its user: a coordinator, and three nodes.

    python benchmarks/isolating/daemons.py coordinator FOLDER
    python benchmarks/isolating/daemons.py nodes FOLDER ADDRESS NICE CPU NAME…

Each says something when it is there, and then answers commands from stdin, one a line.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import isolation_site as site
import uvloop

from p2pdo.api.local_nodes import running_nodes
from p2pdo.coordinator.serving import serving

HERE = Path(__file__).parent
CONFIGURATION = """
[node]
python_path = ["{here}"]

[executors.work]
path = "isolation_site:Work"

[executors.crunch]
path = "isolation_site:Crunch"
processes = 1
memory = {memory}
nice = {nice}

[executors.limited]
path = "isolation_site:Limited"
processes = 1
memory = {memory}
nice = {nice}
cpu = {cpu}

[problems]
counted = "isolation_site:counted"
"""


class Stalls:
    """How long the loop did not get on, at worst, since it was last asked."""

    def __init__(self) -> None:
        self._worst = 0.0

    async def watch(self, step: float = 0.001) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await asyncio.sleep(step)
            self._worst = max(self._worst, loop.time() - began - step)

    def take_ms(self) -> float:
        worst, self._worst = self._worst, 0.0
        return 1e3 * worst


async def answer_commands(first: object) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    stalls = Stalls()
    watching: asyncio.Task[None] | None = None
    print(json.dumps(first), flush=True)
    while line := await reader.readline():
        command = line.decode().strip()
        if command == "watch":  # only while stalls are measured: it costs time of its own
            watching = asyncio.create_task(stalls.watch())
        elif command == "unwatch" and watching:
            watching.cancel()
        print(json.dumps(_answer(command, stalls)), flush=True)


def _answer(command: str, stalls: Stalls) -> object:
    if command == "stall":
        return stalls.take_ms()
    match command:
        case "work":
            return [time.monotonic(), time.process_time(), site.Counted.iterations]
        case "loop":
            site.ENOUGH.clear()
        case "enough":
            site.ENOUGH.set()
    return None


async def be_coordinator(folder: Path) -> None:
    async with serving(folder / "coordinator", "127.0.0.1:0") as address:
        await answer_commands(address)


async def be_nodes(folder: Path, address: str, nice: str, cpu: str, *names: str) -> None:
    config = folder / "p2pdo.toml"
    text = CONFIGURATION.format(here=HERE, memory=site.MEMORY, nice=nice, cpu=cpu)
    config.write_text(text)
    async with running_nodes(names, address, folder, executors={}, config=config):
        await answer_commands(None)


if __name__ == "__main__":
    role, folder, *rest = sys.argv[1:]
    be = be_coordinator if role == "coordinator" else be_nodes
    uvloop.run(be(Path(folder), *rest))
