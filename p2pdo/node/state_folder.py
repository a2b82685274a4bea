"""A node's state folder: one node has it, and what cannot be kept there is told in plain words.

    STATE/node.lock                        held while the node runs; a crash frees it
    STATE/workloads/<id>/state.safetensors the final state, whole or not there

Two nodes in one folder would write over each other's states and histories of a workload.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from p2pdo.errors import ConfigError, Conflict
from p2pdo.types import Array


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes the folder if need be and has it to itself.

    Raises:
        ConfigError: it cannot be made or written to.
        Conflict: another node has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # it will hold final states
        lock = (folder / "node.lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"cannot keep state in {folder}: {error.strerror}",
            hint="choose a directory that you may write to: --state DIR",
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict(
                f"another node is using the state directory {folder}",
                hint="stop the other, or give each node a directory of its own: --state DIR",
            ) from None
        yield


def write_state(folder: Path, x: Array) -> Path:
    """Writes the final state of a workload into its folder; the file.

    Raises:
        ConfigError: it cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    path = folder / "state.safetensors"
    partial = path.with_suffix(".tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({"x": x}, partial)
        return partial.replace(path)
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise ConfigError(
            f"the final state cannot be kept in {folder}: {error}",
            hint="free space on that node's disk, then submit it again",
        ) from error
