"""Writes to a store that wait for one another, since a small write costs as much as thirty rows of
a large one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from langgraph.store.base import BaseStore, Op, PutOp


class Buffer:
    """Puts on their way to `store`; a later put to the same place takes the earlier one's place.

    Args:
        limit: So many waiting puts are written at once.
    """

    def __init__(self, store: BaseStore, *, limit: int = 250) -> None:
        self.store = store
        self._limit = limit
        self._waiting: dict[tuple[tuple[str, ...], str], PutOp] = {}
        self._writing: asyncio.Future[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether anything is not in the store yet."""
        return bool(self._waiting) or (self._writing is not None and not self._writing.done())

    async def put(self, ops: Sequence[PutOp], *, durable: bool = True) -> None:
        """Take in puts. If `durable`, they and all that waited are written on return."""
        self._waiting.update(((op.namespace, op.key), op) for op in ops)
        if durable or len(self._waiting) >= self._limit:
            await self.flush()

    async def flush(self) -> None:
        """Write what waits. A write that fails raises here, and waits for the next flush."""
        while self._writing and not self._writing.done():
            await asyncio.wait([self._writing])
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, {}
        self._writing = asyncio.get_running_loop().create_future()
        try:
            puts: list[Op] = list(batch.values())
            for start in range(0, len(puts), self._limit):
                await self.store.abatch(puts[start : start + self._limit])
        except BaseException:
            self._waiting = batch | self._waiting
            raise
        finally:
            self._writing.set_result(None)
