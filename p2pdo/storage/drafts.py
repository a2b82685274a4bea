"""Files that are whole or not there.

A file is written beside its place, then moved into it, so that nobody ever reads half of one: not
while it grows, and not after its writer was killed. A durable one is synced before it is moved,
and its folder after, so that it also survives a power failure; that costs a wait for the disk.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class Draft:
    """A file beside its place. Write `draft.path`, then `keep` it or `discard` it."""

    def __init__(self, place: Path, *, number: int | None = None) -> None:
        """With a number where several drafts of one file may be written at a time."""
        self._place = place
        suffix = ".draft" if number is None else f".{number}.draft"
        self.path = place.with_name(f".{place.name}{suffix}")

    def keep(self, *, durable: bool) -> None:
        """Moves it into its place; the file must be closed."""
        if durable:
            sync(self.path)
        self.path.replace(self._place)
        if durable:
            sync(self._place.parent)

    def discard(self) -> None:
        """Removes it; nothing, if it was kept."""
        self.path.unlink(missing_ok=True)


@contextmanager
def whole(place: Path, *, durable: bool) -> Iterator[Path]:
    """The path to write to in the block; at its end the file is in its place, or nowhere."""
    draft = Draft(place)
    try:
        yield draft.path
        draft.keep(durable=durable)
    finally:
        draft.discard()


def sync(path: Path) -> None:
    """Makes a file's content durable; of a folder, the names in it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
