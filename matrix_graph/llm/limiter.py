"""One limiter for all model calls: a queue, by rank and then by arrival, whose width follows the
provider's 429s.

Additive increase, multiplicative decrease (Chiu and Jain, 1989): the width halves when the share
of recent calls that were throttled passes a tenth, and grows back by one per success. A rare 429
delays only the call that met it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

THROTTLED_SHARE = 0.1
"""Share of throttled calls, over about the last 20, past which the width halves."""


class Limiter:
    """At most `width` calls in flight, adapting below `concurrency`.

    Raises:
        ValueError: `concurrency` is below 1.
    """

    def __init__(self, concurrency: int) -> None:
        if concurrency < 1:
            raise ValueError("concurrency must be at least 1")
        self.concurrency = concurrency
        self.width = float(concurrency)
        self.active = 0
        self._throttled = 0.0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._arrivals = count()

    @asynccontextmanager
    async def slot(self, rank: int = 0) -> AsyncIterator[None]:
        """Hold one of the places in flight; of those who wait, the lowest rank goes first."""
        await self._enter(rank)
        try:
            yield
        finally:
            self.active -= 1
            self._wake()

    def succeeded(self) -> None:
        """A call was answered: grow back towards `concurrency`."""
        self._throttled *= 0.95
        self.width = min(float(self.concurrency), self.width + 1)
        self._wake()

    def throttled(self) -> None:
        """A call was refused with 429: halve if that is more than a rare event."""
        self._throttled = self._throttled * 0.95 + 0.05
        if self._throttled > THROTTLED_SHARE:
            self.width, self._throttled = max(1.0, self.width / 2), 0.0

    async def _enter(self, rank: int) -> None:
        if self.active < int(self.width) and not self._waiting:
            self.active += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (rank, next(self._arrivals), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.active -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self.active < int(self.width):
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                self.active += 1
                turn.set_result(None)
