"""ChromaStore beside LangGraph's InMemoryStore and SqliteStore with sqlite-vec: `make bench`.

20,000 items of 384 dimensions in 200 namespaces; vectors have structure (a hundred centres) and
none has to be computed. Medians, in ms.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, PutOp
from langgraph.store.memory import InMemoryStore
from rich.console import Console
from rich.table import Table

from matrix_graph.memory import ChromaStore
from tests.bench.machine import machine
from tests.extensible_sqlite import AsyncSqliteStore, SqliteStore

ITEMS, DIMS, TIMES = 20_000, 384, 30


class Given(Embeddings):
    """Vectors around a hundred centres, drawn by the number at the end of the text."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(100, DIMS))
        self._vectors = centres[rng.integers(0, 100, ITEMS + 1000)] + 0.7 * rng.normal(
            size=(ITEMS + 1000, DIMS)
        )

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        last = text.split()[-1]
        number = int(last) if last.isdigit() else 0
        made: list[float] = self._vectors[number % len(self._vectors)].tolist()
        return made


INDEX: Any = {"dims": DIMS, "embed": Given(), "fields": ["text"], "text_fields": ["text"]}
NAMES = [("users", str(n)) for n in range(200)]


def put_of(n: int) -> PutOp:
    value = {"text": f"what happened {n}", "half": n % 2, "tenth": n % 10, "hundredth": n % 100}
    return PutOp(NAMES[n % 200], str(n), value)


def median_ms(work: Callable[[int], object], times: int = TIMES) -> float:
    taken: list[float] = []
    for n in range(times):
        started = time.perf_counter()
        work(n)
        taken.append((time.perf_counter() - started) * 1000)
    return statistics.median(taken)


def figures(store: BaseStore) -> dict[str, float]:
    """Everything that is measured of a store, in order of the table."""
    made: dict[str, float] = {}
    first = -500

    def put_500(_: int) -> None:
        nonlocal first
        first += 500
        store.batch([put_of(n) for n in range(first, first + 500)])

    made["put in 500s, an item"] = median_ms(put_500, ITEMS // 500) / 500
    made["put one by one"] = median_ms(lambda n: store.batch([put_of(ITEMS + n)]), 100)
    made["get"] = median_ms(lambda n: store.get(NAMES[n * 7 % 200], str(n * 7)), 200)
    query = "what happened "

    def search(n: int, **more: Any) -> object:
        prefix = more.pop("prefix", ("users",))
        return store.search(prefix, query=query + str(n * 31), limit=10, **more)

    search(0)
    made["search all"] = median_ms(search)
    for name, of in (("half", 2), ("tenth", 10), ("hundredth", 100)):
        search(0, filter={name: 0})
        made[f"search, filter 1/{of}"] = median_ms(
            lambda n, name=name, of=of: search(n, filter={name: n % of})  # type: ignore[misc]
        )
    made["search, filter $lt"] = median_ms(lambda n: search(n, filter={"tenth": {"$lt": 5}}))
    made["search one namespace of 100"] = median_ms(lambda n: search(n, prefix=NAMES[n]))
    made["list 10 without query"] = median_ms(lambda n: store.search(("users",), limit=10))
    return made


async def mixed(store: BaseStore) -> float:
    """500 puts and gets at once, in ms."""
    started = time.perf_counter()
    await asyncio.gather(
        *(
            store.aput(("mixed",), str(n), {"text": f"text {n}"})
            if n % 2
            else store.aget(NAMES[n % 200], str(n))
            for n in range(500)
        )
    )
    return (time.perf_counter() - started) * 1000


async def mixed_sqlite(path: str) -> float:
    async with AsyncSqliteStore.from_conn_string(path, index=INDEX) as store:
        await store.setup()
        return await mixed(store)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "sqlite.db")
        stores: dict[str, AbstractContextManager[Any]] = {
            "ChromaStore": ChromaStore(Path(folder) / "chroma", index=INDEX),
            "InMemoryStore": nullcontext(InMemoryStore(index=INDEX)),
            "SqliteStore + sqlite-vec": SqliteStore.from_conn_string(path, index=INDEX),
        }
        columns: dict[str, dict[str, float]] = {}
        for name, opened in stores.items():
            with opened as store:
                if isinstance(store, SqliteStore):
                    store.setup()
                columns[name] = figures(store)
                if not isinstance(store, SqliteStore):
                    columns[name]["500 aput and aget at once"] = asyncio.run(mixed(store))
            if name.startswith("Sqlite"):
                columns[name]["500 aput and aget at once"] = asyncio.run(mixed_sqlite(path))
    table = Table("ms, median", *columns, title=machine())
    for row in columns["ChromaStore"]:
        table.add_row(row, *(f"{column[row]:.3f}" for column in columns.values()))
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
