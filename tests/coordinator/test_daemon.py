"""p2pdo-coordinator as a process: what it prints, how it ends, what it leaves."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from p2pdo.transports import rpc
from p2pdo.wire.v1 import coordinator_pb2 as wire, coordinator_pb2_grpc as wire_grpc

MODULE = [sys.executable, "-c", "from p2pdo.coordinator.daemon import main; main()"]
pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@asynccontextmanager
async def started(*arguments: str, stdin: bytes = b"") -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, with its first line of stdout still to be read; its stdin stays open."""
    process = await asyncio.create_subprocess_exec(
        *MODULE,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(stdin)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        process.stdin.close()
        await process.communicate()


async def line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await process.stdout.readline()).decode().strip()


def plain(state: Path, listen: str = "127.0.0.1:0") -> list[str]:
    return ["--listen", listen, "--state", str(state), "--insecure"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, *arguments], capture_output=True, text=True, timeout=30, check=False
    )


async def submit(address: str, token: str | None = None) -> str:
    """A node joins and is given a workload."""
    async with rpc.make_channel(address) as channel:
        stub = wire_grpc.CoordinatorStub(channel)
        shown = rpc.metadata(token)
        await stub.Join(wire.JoinRequest(node="a", boot_id="b", address="x:1"), metadata=shown)
        spec = {"kind": "tasks", "executor": "echo", "nodes": ["a"]}
        request = wire.SubmitRequest(request_id="r", spec=json.dumps(spec))
        return (await stub.Submit(request, metadata=shown)).workload_id


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_drains_it_and_it_exits_with_0(tmp_path: Path, number: int) -> None:
    async with started(*plain(tmp_path)) as process:
        told = await line(process)
        assert told.startswith("p2pdo-coordinator listening on 127.0.0.1:")
        await submit(told.split()[-1])
        process.send_signal(number)
        assert await process.wait() == 0
        assert process.stderr is not None
        assert await process.stderr.read() == b""


@pytest.mark.asyncio
async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    async with started(*plain(tmp_path)) as process:
        workload = await submit((await line(process)).split()[-1])
        process.kill()
        await process.wait()
    async with started(*plain(tmp_path)) as process:
        address = (await line(process)).split()[-1]
        async with rpc.make_channel(address) as channel:
            listed = await wire_grpc.CoordinatorStub(channel).ListWorkloads(
                wire.ListWorkloadsRequest()
            )
        assert [w.workload_id for w in listed.workloads] == [workload]


@pytest.mark.asyncio
async def test_a_second_one_on_the_same_state_or_port_is_one_error_and_exit_4(
    tmp_path: Path,
) -> None:
    async with started(*plain(tmp_path / "a")) as process:
        address = (await line(process)).split()[-1]
        for arguments in (plain(tmp_path / "a"), plain(tmp_path / "b", address)):
            second = await asyncio.to_thread(run, *arguments)
            assert second.returncode == 4
            assert second.stderr.startswith("error[conflict]: ")
            assert "Traceback" not in second.stderr
            assert len(second.stderr.splitlines()) == 2


def test_what_is_wrong_is_one_error_and_exit_3(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments in (
        ["--listen", "127.0.0.1:0", "--state", str(tmp_path)],
        ["--listen", "0.0.0.0:0", "--state", str(tmp_path), "--insecure"],
        ["--listen", "nowhere", "--state", str(tmp_path), "--insecure"],
        plain(tmp_path / "file"),
        [*plain(tmp_path / "state"), "--local"],  # and nothing on stdin
    ):
        done = run(*arguments)
        assert done.returncode == 3, done.stderr
        assert done.stderr.startswith("error[config]: ")
        assert len(done.stderr.splitlines()) == 2


@pytest.mark.asyncio
async def test_a_local_one_takes_its_token_and_dies_with_its_launcher(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    handover = json.dumps({"token": "secret", "ephemeral": str(folder)}).encode() + b"\n"
    async with started(*plain(folder / "state"), "--local", stdin=handover) as process:
        address = json.loads(await line(process))["listening"]
        assert await submit(address, "secret")
        async with rpc.make_channel(address) as channel:
            stub = wire_grpc.CoordinatorStub(channel)
            with pytest.raises(Exception, match="token was not shown"):
                await stub.ListNodes(wire.ListNodesRequest())
        assert folder.exists()
        assert process.stdin is not None
        process.stdin.close()
        assert await process.wait() == 0
        assert not folder.exists()


def test_its_version_is_that_of_p2pdo() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"p2pdo-coordinator {version('p2pdo')}\n")


def test_help_does_not_wait_for_grpc() -> None:
    code = (
        "import sys; from p2pdo.coordinator.daemon import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print('grpc' in sys.modules, 'sqlite3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.endswith("False False\n")


def test_a_bug_is_one_line_and_its_traceback_is_kept(tmp_path: Path) -> None:
    broken = """if True:
        import sys
        from p2pdo.coordinator import daemon

        async def run(*_):
            raise RuntimeError("unforeseen")

        daemon._run = run
        daemon.main()
    """
    done = subprocess.run(
        [sys.executable, "-c", broken, *plain(tmp_path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error[bug]: this is p2pdo's fault, not yours: RuntimeError: unf")
    assert "Traceback" not in done.stderr
    assert "RuntimeError: unforeseen" in (tmp_path / "crash.txt").read_text()
