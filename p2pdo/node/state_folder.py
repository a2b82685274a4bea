"""A node's state folder: one node has it, and what cannot be kept there is told in plain words.

    STATE/node.lock                         held while the node runs; a crash frees it
    STATE/workloads/<id>/state.safetensors  the final state, whole or not there
    STATE/workloads/<id>/history.npz        what a run or a participant recorded
    STATE/checkpoints/<name>/               a participant's
    STATE/logs/                             what worker processes printed

Two nodes in one folder would write over each other's states and histories of a workload.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO

from p2pdo.storage import arrays
from p2pdo.storage.drafts import whole
from p2pdo.storage.ownership import own
from p2pdo.storage.trouble import writing
from p2pdo.types import Array

UNWRITABLE = "choose a directory that you may write to: --state DIR"


def held(folder: Path) -> IO[bytes]:
    """Has the folder, for final states, to itself until closed; makes it if need be.

    Raises:
        ConfigError: it cannot be made or written to.
        Conflict: another node has it.
    """
    return own(
        folder / "node.lock",
        owner="node",
        place="the state directory",
        if_taken="stop the other, or give each node a directory of its own: --state DIR",
        if_unwritable=UNWRITABLE,
    )


def write_state(folder: Path, x: Array) -> Path:
    """Writes the final state of a workload into its folder, to stay; the file.

    Raises:
        ConfigError: it cannot be written.
    """
    path = folder / "state.safetensors"
    with writing(path, UNWRITABLE, what="keep the final state in"):
        folder.mkdir(parents=True, exist_ok=True)
        with whole(path, durable=True) as draft:
            arrays.save(draft, {"x": x})
    return path
