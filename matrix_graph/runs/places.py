"""The store and the checkpoints of a run, opened in its folder and closed again."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path
from typing import Any

import aiosqlite
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from matrix_graph.boundary.databases import UNREADABLE, plain, prepare
from matrix_graph.errors import InputError, StoreFailed
from matrix_graph.llm.tasks import acquired
from matrix_graph.memory.store import ChromaStore
from matrix_graph.runs.folder import CHECKPOINTS, mend_folder


@contextmanager
def checkpointed() -> Iterator[None]:
    """What SQLite raises of the checkpoints becomes one of our own errors."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreFailed(f"The checkpoints cannot be written: {error}") from error
    except UNREADABLE as error:
        raise InputError(
            f"The checkpoints are damaged ({error}). Remove checkpoints.sqlite: the journal tells "
            "all of it again."
        ) from error


def store_in(folder: Path) -> AbstractAsyncContextManager[ChromaStore]:
    """The store of the run in `folder`.

    Raises:
        InputError: another process works on the run.
    """
    return acquired(asyncio.to_thread(_opened, folder), _closed)


def checkpoints_in(folder: Path) -> AbstractAsyncContextManager[AsyncSqliteSaver]:
    """The checkpoints of the run in `folder`."""
    return acquired(_connected(folder / CHECKPOINTS), _disconnected)


def _opened(folder: Path) -> ChromaStore:
    mend_folder(folder)
    return ChromaStore(folder / "chroma")


async def _closed(store: ChromaStore) -> None:
    await asyncio.to_thread(store.close)


async def _connected(path: Path) -> AsyncSqliteSaver:
    await asyncio.to_thread(prepare, path, _TABLES)
    return AsyncSqliteSaver(await aiosqlite.connect(path), serde=_PlainSerializer())


_TABLES = plain("checkpoints", "writes")


class _PlainSerializer(JsonPlusSerializer):
    """Reads data and LangGraph's own types; whatever else a checkpoint names is not imported."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        if data[0] not in ("null", "empty", "bytes", "bytearray", "msgpack"):
            raise InputError(f"The checkpoints hold a value as {str(data[0])[:40]!r}.")
        try:
            return super().loads_typed(data)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"The checkpoints hold what no run wrote ({error}).") from error


async def _disconnected(saver: AsyncSqliteSaver) -> None:
    # LangGraph leaves checkpoints that it has cancelled to end by themselves. Whoever closes before
    # they do leaves the file locked.
    async with saver.lock:
        await saver.conn.close()
