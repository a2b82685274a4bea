"""How far a long measurement is, how long the rest will take, and where the time went.

What is to be done is known before: so many runs of each kind. A kind's seconds are a guess until
one of it is over; from then on they are the mean of what it took.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator


class Progress:
    """Tells on stderr, with the time that has gone and what is left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._left: Counter[Hashable] = Counter()
        self._guess: dict[Hashable, float] = {}
        self._taken: dict[Hashable, list[float]] = {}
        self._stages: dict[str, float] = {}

    def plan(self, stage: str, kind: Hashable, runs: int, seconds: float) -> None:
        """So many runs of a kind are to come, each of about so many seconds."""
        self._left[stage, kind] += runs
        self._guess[stage, kind] = seconds

    def drop(self, kind: Hashable) -> None:
        """None of the kind will be done, in any stage."""
        for key in [key for key in self._left if key[1] == kind]:
            del self._left[key]

    @contextlib.contextmanager
    def run(self, stage: str, kind: Hashable) -> Iterator[None]:
        """One of them."""
        began = self._clock()
        yield
        seconds = self._clock() - began
        self._left[stage, kind] = max(0, self._left[stage, kind] - 1)
        self._taken.setdefault((stage, kind), []).append(seconds)
        self._stages[stage] = self._stages.get(stage, 0.0) + seconds

    @property
    def gone(self) -> float:
        return self._clock() - self._began

    @property
    def rest(self) -> float:
        """Seconds."""
        return sum(number * self._expected(key) for key, number in self._left.items())

    def _expected(self, key: Hashable) -> float:
        taken = self._taken.get(key)
        return self._guess[key] if taken is None else sum(taken) / len(taken)

    def tell(self, text: str) -> None:
        left = f", about {minutes(self.rest)} left" if any(self._left.values()) else ""
        print(f"[{minutes(self.gone)} gone{left}] {text}", file=sys.stderr, flush=True)

    def where(self) -> str:
        """Where the time went, for people."""
        parts = [f"{stage} {minutes(seconds)}" for stage, seconds in self._stages.items()]
        other = self.gone - sum(self._stages.values())
        return f"{minutes(self.gone)} in all: {', '.join(parts)}, other {minutes(other)}"


def minutes(seconds: float) -> str:
    """As 3:07."""
    whole = round(seconds)
    return f"{whole // 60}:{whole % 60:02d}"
