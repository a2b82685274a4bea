"""A folder has one owner, a file is whole or not there, and a full disk says so, whoever writes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Protocol

import numpy as np
import pytest

from p2pdo.coordinator.files import Files
from p2pdo.coordinator.store import open_store
from p2pdo.errors import ConfigError, Conflict
from p2pdo.node.state_folder import held
from p2pdo.participants.checkpoints import Checkpoints
from p2pdo.participants.history import History
from p2pdo.reporting.comparing.folder import ComparisonFolder
from p2pdo.reporting.run_folder import RunFolder
from p2pdo.storage import drafts
from p2pdo.storage.ownership import own
from p2pdo.types import NodeId, WorkloadId


def locked(folder: Path) -> IO[bytes]:
    lock = folder / "lock"
    return own(lock, owner="cook", place="the kitchen", if_taken="wait", if_unwritable="move")


class Run:
    """A run that keeps checkpoints."""

    def __init__(self, folder: Path) -> None:
        self._kept = Checkpoints(folder, 1)
        self._kept.rounds()

    def close(self) -> None:
        self._kept.close()


class Closable(Protocol):
    def close(self) -> None: ...


OWNERS: dict[str, Callable[[Path], Closable]] = {
    "coordinator": open_store,
    "node": held,
    "run": Run,
    "process": lambda folder: ComparisonFolder(folder).worked_on(),
}


@pytest.mark.parametrize("owner", OWNERS)
def test_a_second_owner_is_refused(owner: str, tmp_path: Path) -> None:
    first = OWNERS[owner](tmp_path)
    with pytest.raises(Conflict, match=f"another {owner} is using .*{tmp_path}") as refused:
        OWNERS[owner](tmp_path)
    assert refused.value.hint
    first.close()
    OWNERS[owner](tmp_path).close()


def test_a_folder_is_free_when_its_owner_is_killed(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from p2pdo.node.state_folder import held\n"
        "with held(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(Conflict):
            held(tmp_path)
        owner.kill()
    held(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_no_second_owner(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"cannot use the kitchen .*: Not a dir") as refused:
        locked(tmp_path / "file" / "folder")
    assert refused.value.hint == "move"


def test_a_writer_that_is_killed_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.write_text("before")
    code = (
        "import os, sys, pathlib; from p2pdo.storage.drafts import whole\n"
        "with whole(pathlib.Path(sys.argv[1]), durable=True) as draft:\n"
        "    draft.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    died = subprocess.run([sys.executable, "-c", code, place], check=False)
    assert died.returncode == -signal.SIGKILL
    assert place.read_text() == "before"
    with drafts.whole(place, durable=True) as draft:
        draft.write_text("after")  # over the dead one's draft
    assert place.read_text() == "after"
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    place = tmp_path / "a"
    place.write_text("before")

    def fail(draft: Path) -> None:
        draft.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), drafts.whole(place, durable=False) as draft:
        fail(draft)
    assert place.read_text() == "before"
    assert os.listdir(tmp_path) == ["a"]  # noqa: PTH208


def test_what_is_durable_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, list[str]]] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        synced.append((name, sorted(each.name for each in tmp_path.iterdir())))

    monkeypatch.setattr(os, "fsync", recorded)
    with drafts.whole(tmp_path / "a", durable=False) as draft:
        draft.write_text("x")
    assert synced == []
    with drafts.whole(tmp_path / "b", durable=True) as draft:
        draft.write_text("x")
    assert synced == [(".b.draft", [".b.draft", "a"]), (tmp_path.name, ["a", "b"])]


def test_the_file_systems_word_about_arrays_is_kept(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a disk that has room for no more."""
    code = (
        "import pathlib, resource, sys, numpy as np; from p2pdo.storage import arrays\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: arrays.save(pathlib.Path(sys.argv[1]), {'x': np.zeros(1000)})\n"
        "except OSError as error: print(error.errno, error.strerror)\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "x.safetensors"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told == f"{errno.EFBIG} {os.strerror(errno.EFBIG)}\n"


def checkpoint(folder: Path) -> None:
    kept = Checkpoints(folder, 1)
    try:
        kept.write(0, 1, {"x": np.zeros(3)})
    finally:
        kept.close()


def history(folder: Path) -> None:
    with History(folder) as kept:
        kept.append("x", 0, np.zeros(3))


FILES: dict[str, Callable[[Path], None]] = {
    "results.json": lambda folder: RunFolder(folder).write_results({"a": 1}),
    "comparison.json": lambda folder: ComparisonFolder(folder).grow({"a": 1}),
    "0.safetensors": checkpoint,
    "history.npz": history,
}


def fill(folder: Path, name: str) -> None:
    """Has the system say that the disk is full, to whoever writes that file's draft."""
    (folder / f".{name}.draft").symlink_to("/dev/full")


@pytest.mark.parametrize("name", FILES)
def test_a_full_disk_is_told_with_its_remedy(name: str, tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text("{}")
    fill(tmp_path, name)
    with pytest.raises(ConfigError, match=r"cannot .*No space left on device") as told:
        FILES[name](tmp_path)
    assert "free space on the disk" in str(told.value.hint)
    assert (tmp_path / "comparison.json").read_text() == "{}"
    assert not list(tmp_path.glob("*.draft"))


@pytest.mark.asyncio
async def test_a_full_disk_at_the_coordinator_is_told_with_node_and_workload(
    tmp_path: Path,
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(10_000)

    states = tmp_path / "workloads" / "w" / "states"
    states.mkdir(parents=True)
    fill(states, "a.safetensors.0")
    files = Files(tmp_path)
    with pytest.raises(ConfigError, match=r"coordinator.*No space left on device") as told:
        await files.take_state(WorkloadId("w"), NodeId("a"), chunks())
    files.close()
    assert (told.value.node, told.value.workload) == ("a", "w")
    assert "free space on the disk" in str(told.value.hint)
    assert not list(states.iterdir())
