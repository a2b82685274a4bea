"""How long to wait before the next try: longer each time, up to a cap, never in step."""

from __future__ import annotations

import asyncio
import random

FIRST = 0.1
CAP = 2.0


class Backoff:
    """Waits between half and all of 0.1, 0.2, 0.4 … 2 s.

    The jitter keeps a thousand nodes from calling a returning coordinator all at once.
    """

    def __init__(
        self, *, first: float = FIRST, cap: float = CAP, rng: random.Random | None = None
    ) -> None:
        self._first = first
        self._cap = cap
        self._rng = rng
        self._next = first

    def delay(self) -> float:
        """The next wait, in seconds."""
        if self._rng is None:  # made late: most calls succeed at the first try
            self._rng = random.Random()  # noqa: S311 - spreads calls, hides nothing
        limit = self._next
        self._next = min(self._cap, limit * 2)
        return self._rng.uniform(limit / 2, limit)

    def reset(self) -> None:
        """After a success: the next wait is short again."""
        self._next = self._first

    async def wait(self) -> None:
        await asyncio.sleep(self.delay())
