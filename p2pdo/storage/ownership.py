"""One owner at a time in a folder, by a lock that the system takes back from the dead.

The lock is on a file in it, so that owners of different things may share a folder; the file stays.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from p2pdo.errors import Conflict
from p2pdo.storage.trouble import writing


def own(lock: Path, *, owner: str, place: str, if_taken: str, if_unwritable: str) -> IO[bytes]:
    """Makes the lock's folder if need be, for its user alone, and takes it until closed.

    `owner` and `place` are what the errors call them; the other two are their hints.

    Raises:
        Conflict: another has it.
        ConfigError: the folder or the lock cannot be made or used.
    """
    folder = lock.parent
    with writing(folder, if_unwritable, what=f"use {place}"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = lock.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise Conflict(f"another {owner} is using {place} {folder}", hint=if_taken) from None
        except BaseException:
            file.close()
            raise
    return file
