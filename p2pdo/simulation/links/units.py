"""Times and rates as people write them: "20 ms", "1.5s", "10 Mbit/s", "2 MB/s"."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ/]*)\s*$")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "": 1.0, "min": 60.0, "h": 3600.0}
_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_RATES = {
    **{f"{prefix}bit/s": scale / 8 for prefix, scale in _PREFIXES.items()},
    **{f"{prefix}B/s": scale for prefix, scale in _PREFIXES.items()},
}


def seconds(written: object) -> float:
    """A time; a number alone is seconds.

    Raises:
        ValueError: it is none, or negative.
    """
    return _read(written, _SECONDS, "a time, as '20ms', '1.5s' or '2min'")


def bytes_per_second(written: object) -> float:
    """A rate; it needs its unit.

    Raises:
        ValueError: it is none, or not positive.
    """
    rate = _read(written, _RATES, "a rate with its unit, as '10 Mbit/s' or '2 MB/s'")
    if rate == 0:
        raise ValueError(f"'{written}' is no rate: nothing would ever arrive")
    return rate


def _read(written: object, units: dict[str, float], what: str) -> float:
    found = _NUMBER.match(str(written)) if not isinstance(written, bool) else None
    if found is None or found[2] not in units:
        raise ValueError(f"'{written}' is not {what}")
    value = float(found[1]) * units[found[2]]
    if not math.isfinite(value):
        raise ValueError(f"'{written}' is not {what}")
    return value
