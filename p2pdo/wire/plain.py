"""Plain data as JSON text, as other processes send it."""

from __future__ import annotations

import json
from typing import Any


def parse_plain(text: str) -> Any:
    """What the text says.

    Raises:
        ValueError: it is no JSON, or nested more deeply than anybody's data.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
