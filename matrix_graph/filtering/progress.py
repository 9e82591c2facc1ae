"""Tell how far a step that asks models has come, to whoever streams the graph's custom events."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Iterator
from typing import TypeVar

from langgraph.config import get_stream_writer

T = TypeVar("T")


def counted(step: str, calls: Iterable[Awaitable[T]], total: int) -> Iterator[Awaitable[T]]:
    """`calls`, each told of when it has ended; told to nobody outside a graph."""
    try:
        write = get_stream_writer()
    except RuntimeError:
        yield from calls
        return
    done = 0

    async def one(call: Awaitable[T]) -> T:
        nonlocal done
        result = await call
        done += 1
        write({"stage": "filter", "event": "measured", "step": step, "done": done, "total": total})
        return result

    for call in calls:
        yield one(call)
