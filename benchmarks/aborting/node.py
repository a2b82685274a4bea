"""One node of benchmarks/abort.py, in a process of its own.

    python benchmarks/aborting/node.py FOLDER ADDRESS NAME

It answers commands from stdin, one a line: "left", when it left an exchange last; "again", which
forgets that; "enough", which lets the straggler go.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import abort_site as site
import uvloop

from p2pdo.api.local_nodes import running_nodes

CONFIGURATION = f"""
[node]
python_path = ["{Path(__file__).parent}"]

[problems]
iterating = "abort_site:iterating"
straggling = "abort_site:straggling"

[participants]
mixing = "abort_site:mixing"
"""


async def answer_commands() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("null", flush=True)
    while line := await reader.readline():
        match line.decode().strip():
            case "left":
                print(json.dumps(site.LEFT[0]), flush=True)
            case "again":
                site.LEFT[0] = 0.0
                site.ENOUGH.clear()
                print("null", flush=True)
            case "enough":
                site.ENOUGH.set()
                print("null", flush=True)


async def be(folder: Path, address: str, name: str) -> None:
    config = folder / f"{name}.toml"
    config.write_text(CONFIGURATION)
    site.note_algorithms()
    async with running_nodes([name], address, folder, executors={}, config=config):
        await answer_commands()


if __name__ == "__main__":
    uvloop.run(be(Path(sys.argv[1]), *sys.argv[2:]))
