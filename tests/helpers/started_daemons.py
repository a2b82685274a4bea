"""A coordinator and its nodes, started by hand on loopback, and the verbs that speak to them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent


@contextlib.contextmanager
def daemon(
    program: str, *arguments: object, ready: str, env: Mapping[str, str] | None = None
) -> Iterator[str]:
    """The daemon, once it has said that it is ready; gives that line."""
    process = subprocess.Popen(
        [BIN / program, *map(str, arguments), "--insecure"],
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert ready in line
        yield line
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


class Network:
    """One coordinator's users."""

    def __init__(self, address: str) -> None:
        self.address = address

    def start(self, *arguments: str, **options: Any) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [BIN / "p2pdo", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "P2PDO_COORDINATOR": self.address},
            **options,
        )

    def call(self, *arguments: str) -> tuple[int, Any]:
        """The exit code, and the envelope's data or error."""
        process = self.start(*arguments, "--json")
        stdout, stderr = process.communicate(timeout=100)
        assert "Traceback" not in stderr
        (line,) = stdout.splitlines()
        envelope = json.loads(line)
        return process.returncode, envelope["data" if envelope["ok"] else "error"]

    def data(self, *arguments: str) -> Any:
        code, data = self.call(*arguments)
        assert code == 0, data
        return data

    def long_run(self) -> str:
        """A workload that would take hours."""
        asked = ["--rounds", "10000000", "--observe-every", "10"]
        workload: str = self.data("submit", "quadratic", "-n", "3", *asked)["workload_id"]
        return workload


@contextlib.contextmanager
def network_of(
    names: Sequence[str], folder: Path, env: Mapping[str, str] | None = None
) -> Iterator[Network]:
    """Daemons of these names, with what they keep in the folder, until the block ends."""
    with contextlib.ExitStack() as stack:
        where: list[object] = ["--listen", "127.0.0.1:0", "--state", folder / "state"]
        line = stack.enter_context(
            daemon("p2pdo-coordinator", *where, ready="listening on", env=env)
        )
        address = line.split()[-1]
        for name in names:
            where = ["--coordinator", address, "--name", name, "--state", folder / name]
            stack.enter_context(daemon("p2pdo-node", *where, ready="has joined", env=env))
        yield Network(address)
