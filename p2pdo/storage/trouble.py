"""What a user is told when the file system says no: which file, why, and what to do.

A full disk always has the same remedy; what else there is to try, its writer knows.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pdo.errors import ConfigError

ANOTHER_FILE = "name a file that you may write to"

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def writing(
    path: Path,
    hint: str,
    *,
    what: str = "write",
    node: str | None = None,
    workload: str | None = None,
) -> Iterator[None]:
    """For a block that writes there; `what` stands between "cannot" and the path.

    Raises:
        ConfigError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        is_full = error.errno in _FULL
        raise ConfigError(
            f"cannot {what} {path}: {error.strerror or error}",
            hint=f"free space on the disk that has {path}, then try again" if is_full else hint,
            node=node,
            workload=workload,
        ) from error


def damaged(path: Path) -> ConfigError:
    """The file is none that was written whole: somebody, or the disk, has changed it since."""
    return ConfigError(f"{path} is damaged", hint="it was changed after the run; restore it")
