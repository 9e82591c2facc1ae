"""The records of a run (scenarios, samples, rejections) in the graph's store, by kind and id."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, get_args

from langgraph.store.base import BaseStore, GetOp, Op, PutOp

from matrix_graph.errors import InputError
from matrix_graph.llm.tasks import run_sync
from matrix_graph.memory.buffer import Buffer
from matrix_graph.memory.labels import label

Kind = Literal["scenarios", "candidates", "samples", "rejections", "failures", "standing"]
"""`candidates` are rows as they were written, before the filter; `samples` are those it kept.
`standing` is where the society of a thread stopped.
"""

RUN = "run"
"""The name of a run that has no other."""
_PAGE = 1_000


class Records:
    """Records of a run, in `store`. Saving again under an id replaces.

    Args:
        run: Its name, or the id of its thread.

    Raises:
        InputError: no store is given, the name is empty, or (later) there is no such kind.
    """

    def __init__(self, store: BaseStore, run: str = RUN, buffer: Buffer | None = None) -> None:
        if not isinstance(store, BaseStore):
            raise InputError(f"Records reads a LangGraph store, not a {type(store).__name__}.")
        self._store = store
        # Ids of threads may be numbers.
        self._run = str(run)
        self._label = label(self._run)
        self._buffer = buffer or Buffer(store)

    async def asave(
        self, kind: Kind, values: Mapping[str, Mapping[str, Any]], *, durable: bool = True
    ) -> None:
        """Write records by id, in one batch; if not `durable`, together with the next that are."""
        ops = [PutOp(self._of(kind), key, dict(value), False) for key, value in values.items()]
        if ops:
            await self._buffer.put(ops, durable=durable)

    async def aget(self, kind: Kind, key: str) -> dict[str, Any] | None:
        """The record, or None."""
        item = await self._store.aget(self._of(kind), key)
        return item.value if item else None

    async def asome(self, kind: Kind, keys: Sequence[str]) -> list[dict[str, Any]]:
        """The records under these ids, in their order.

        Raises:
            InputError: one is not there.
        """
        gets: list[Op] = [GetOp(self._of(kind), key) for key in keys]
        items: list[Any] = await self._store.abatch(gets) if gets else []
        for key, item in zip(keys, items, strict=True):
            if item is None:
                raise InputError(
                    f"The store holds no {kind} {key!r} of run {self._run!r}; compile the graph "
                    "with the store that the thread began with."
                )
        return [item.value for item in items]

    async def aany(self, kind: Kind) -> bool:
        """Whether there is a record of a kind."""
        return bool(await self._store.asearch(self._of(kind), limit=1))

    async def aall(self, kind: Kind) -> list[dict[str, Any]]:
        """All records of a kind, by id."""
        items = [item async for item in self._items(kind)]
        return [value for _, value in sorted(items, key=lambda pair: pair[0])]

    def get(self, kind: Kind, key: str) -> dict[str, Any] | None:
        """`aget` for code that is not asynchronous."""
        return run_sync(self.aget(kind, key))

    def all(self, kind: Kind) -> list[dict[str, Any]]:
        """`aall` for code that is not asynchronous."""
        return run_sync(self.aall(kind))

    def _of(self, kind: Kind) -> tuple[str, str]:
        if kind not in get_args(Kind):
            kinds = ", ".join(get_args(Kind))
            raise InputError(f"There are no records of kind {kind!r}; there are {kinds}.")
        return kind, self._label

    async def _items(self, kind: Kind) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        offset, page = 0, _PAGE
        while page == _PAGE:
            items = await self._store.asearch(self._of(kind), limit=_PAGE, offset=offset)
            for item in items:
                yield item.key, item.value
            page = len(items)
            offset += page
