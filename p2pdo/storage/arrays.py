"""Arrays as a safetensors file, written without a copy of them all in memory."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from p2pdo.types import Array


def save(path: Path, arrays: Mapping[str, Array], metadata: dict[str, str] | None = None) -> None:
    """Writes the file.

    Raises:
        OSError: it cannot be written; the package says so in words of its own.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    try:
        save_file(dict(arrays), path, metadata)
    except SafetensorError as error:
        told = re.search(r"\(os error (\d+)\)", str(error))
        if told is None:
            raise
        number = int(told[1])
        raise OSError(number, os.strerror(number), str(path)) from error
