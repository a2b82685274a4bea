"""A throttle: of many tasks that come at once, a few pass in each turn of the event loop.

A loop runs everything that is ready before it looks at what has happened since. A hundred clients
that begin in one turn hold up the results of those that were already at work until the last has
begun; two in a turn hold them up for two.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Throttle:
    """Lets `width` tasks pass in a turn, in the order of their coming."""

    def __init__(self, width: int = 2) -> None:
        self._width = width
        self._left = width  # that may still pass in this turn
        self._turning = False  # whether the next turn is known to come
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> None:
        """Returns when it is the caller's turn."""
        loop = asyncio.get_running_loop()
        if not self._turning:
            self._turning = True
            loop.call_soon(self._turn, loop)
        if self._left > 0:
            self._left -= 1
            return
        place: asyncio.Future[None] = loop.create_future()
        self._waiting.append(place)
        await place

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        self._left = self._width
        while self._left > 0 and self._waiting:
            place = self._waiting.popleft()
            if not place.done():  # else its task was cancelled
                place.set_result(None)
                self._left -= 1
        self._turning = self._left < self._width
        if self._turning:
            loop.call_soon(self._turn, loop)
