from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from langgraph.store.base import Op, PutOp
from langgraph.store.memory import InMemoryStore

from matrix_graph.memory.buffer import Buffer


class Watched(InMemoryStore):
    """A store that is slow, notes its batches, and fails while `broken`."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []
        self.broken = False

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        ops = list(ops)
        await asyncio.sleep(0.01)
        if self.broken:
            raise OSError("disk full")
        self.batches.append(len(ops))
        return await super().abatch(ops)


def _put(key: str, value: int = 0) -> PutOp:
    return PutOp(("n",), key, {"value": value}, False)


async def test_what_is_durable_takes_along_what_waited_and_the_last_value_counts() -> None:
    store = Watched()
    buffer = Buffer(store)
    await buffer.put([_put("a", 1), _put("b", 1)], durable=False)
    await buffer.put([_put("a", 2)], durable=False)
    assert store.batches == []
    await buffer.put([_put("c", 3)])
    assert store.batches == [3]
    assert {i.key: i.value["value"] for i in store.search(("n",))} == {"a": 2, "b": 1, "c": 3}


async def test_many_who_flush_at_once_share_few_writes_and_all_are_written() -> None:
    store = Watched()
    buffer = Buffer(store)

    async def one(n: int) -> None:
        await buffer.put([_put(f"{n}")])
        assert store.get(("n",), f"{n}"), "durable on return"

    await asyncio.gather(*(one(n) for n in range(100)))
    assert len(store.batches) <= 3


async def test_so_many_that_wait_are_written_unasked() -> None:
    store = Watched()
    buffer = Buffer(store, limit=10)
    for n in range(25):
        await buffer.put([_put(f"{n}")], durable=False)
    assert store.batches == [10, 10]


async def test_a_failed_write_is_told_and_tried_again_without_undoing_what_came_later() -> None:
    store = Watched()
    buffer = Buffer(store)
    store.broken = True
    with pytest.raises(OSError, match="disk full"):
        await buffer.put([_put("a", 1), _put("b", 1)])
    await buffer.put([_put("a", 2)], durable=False)
    store.broken = False
    await buffer.flush()
    assert {i.key: i.value["value"] for i in store.search(("n",))} == {"a": 2, "b": 1}
