"""What tests of worker processes share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def pipe(tmp_path: Path) -> Callable[[str], Path]:
    """Makes a named pipe that a handler writes to; whoever reads it waits for that."""

    def make(name: str) -> Path:
        os.mkfifo(tmp_path / name)
        return tmp_path / name

    return make
