"""Checkpoints in the node's folder: which there are, and which may go.

    ROUND.safetensors     the arrays
    ROUND.json            the plain data, how many exchanges had been done, the other file's SHA-256

Each file is whole or not there, power failure included; the JSON comes last, and without it there
is no checkpoint. One that does not fit its hash is as if it were not there.

Nodes are not at one round when a run ends: one may be ahead of another by as many exchanges as
there are edges between them, at most N − 1. So a node keeps what the slowest may still need: the
newest checkpoint that is N exchanges old, and all after it. Then the nodes have one in common.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np

from p2pdo.participants import snapshots
from p2pdo.storage.drafts import whole
from p2pdo.storage.ownership import own
from p2pdo.storage.trouble import writing
from p2pdo.types import Array, Plain

_HINT = "choose another state folder"


class Checkpoints:
    """One node's, of one run or of runs that go on from each other; opened at its first use."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self._folder = folder
        self._nodes = nodes
        self._lock: IO[bytes] | None = None
        self._line = -1  # the round that this run goes on from
        self._has_written = False

    def write(self, number: int, exchanges: int, things: Mapping[str, Any]) -> None:
        """Keeps the things as the checkpoint of a round, and lets old ones go.

        Raises:
            ConfigError: a thing cannot be kept, or the folder cannot be written.
            Conflict: another run uses the folder.
        """
        from safetensors.numpy import save

        plain, arrays = snapshots.take(things)
        content = save(arrays)
        record: dict[str, Plain] = {
            "round": number,
            "exchanges": exchanges,
            "sha256": sha256(content).hexdigest(),
            "things": plain,
        }
        self._open()
        with writing(self._folder, _HINT, what="keep checkpoints in"):
            if not self._has_written:  # what lies behind the line belongs to another future
                self._forget_after(self._line)
                self._has_written = True
            self._json(number).unlink(missing_ok=True)  # of the same round: it is written anew
            _write_whole(self._arrays(number), content)
            _write_whole(self._json(number), json.dumps(record).encode())
            self._prune(exchanges)

    def rounds(self) -> list[int]:
        """The rounds whose checkpoints are whole, ascending.

        Raises:
            Conflict: another run uses the folder.
        """
        self._open()
        return [int(record["round"]) for record in self._records() if self._is_whole(record)]

    def go_on_from(self, number: int) -> tuple[dict[str, Any], int]:
        """The things of a round that `rounds` named, and how many exchanges had been done."""
        from safetensors.numpy import load

        self._line = number
        record = json.loads(self._json(number).read_bytes())
        arrays = load(self._arrays(number).read_bytes())
        things = {name: snapshots.give(thing, arrays) for name, thing in record["things"].items()}
        return things, int(record["exchanges"])

    def close(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    # ---- inside ----

    def _open(self) -> None:
        if self._lock is None:
            self._lock = own(
                self._folder / ".lock",
                owner="run",
                place="the checkpoints in",
                if_taken="let it end, or submit with another name: checkpoints='…'",
                if_unwritable=_HINT,
            )

    def _forget_after(self, number: int) -> None:
        for record in self._records():
            if record["round"] > number:
                self._remove(int(record["round"]))

    def _prune(self, exchanges: int) -> None:
        behind = self._nodes if self._nodes > 1 else 0  # exchanges; nobody is behind oneself
        old = [r for r in self._records() if r["exchanges"] <= exchanges - behind]
        for record in old[:-1]:
            self._remove(int(record["round"]))

    def _remove(self, number: int) -> None:
        self._json(number).unlink(missing_ok=True)
        self._arrays(number).unlink(missing_ok=True)

    def _records(self) -> list[dict[str, Any]]:
        """What the folder has, by round; a JSON that is none is nobody's checkpoint."""
        found = []
        for path in self._folder.glob("*.json"):
            try:
                record = json.loads(path.read_bytes())
                is_one = path.stem == str(int(record["round"])) and "things" in record
            except (ValueError, KeyError, TypeError):
                continue
            found += [record] if is_one else []
        return sorted(found, key=lambda record: int(record["round"]))

    def _is_whole(self, record: Mapping[str, Any]) -> bool:
        try:
            content = self._arrays(int(record["round"])).read_bytes()
        except OSError:
            return False
        return sha256(content).hexdigest() == record.get("sha256")

    def _json(self, number: int) -> Path:
        return self._folder / f"{number}.json"

    def _arrays(self, number: int) -> Path:
        return self._folder / f"{number}.safetensors"


def common_rounds(offers: list[Array]) -> Array:
    """The rounds that all of these lists have."""
    common = offers[0]
    for offer in offers[1:]:
        common = np.intersect1d(common, offer)
    return common


def _write_whole(path: Path, content: bytes) -> None:
    with whole(path, durable=True) as draft:
        draft.write_bytes(content)
