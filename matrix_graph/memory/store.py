"""`ChromaStore`: a LangGraph store that keeps its items in Chroma.

Operations of several tasks that wait at the same time are carried out together: what they read is
read at once, what they write is one write. Each task's batch is whole or absent, and sees what was
put before it.
"""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import BaseStore, IndexConfig, Op, Result, TTLConfig

from matrix_graph.boundary.files import remove
from matrix_graph.boundary.locks import hold, let_go, shared
from matrix_graph.errors import InputError
from matrix_graph.memory.batch import Batch
from matrix_graph.memory.folder import checked, client_at, open_client
from matrix_graph.memory.indexing import PROBE, Indexing
from matrix_graph.memory.lifetimes import Lifetimes, Sweeper
from matrix_graph.memory.matrix import Vectors, unit
from matrix_graph.memory.mirror import Mirror
from matrix_graph.memory.reading import results_of
from matrix_graph.memory.rows import Rows, Stored

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

EXACT = 5_000
"""On a server, where vectors are read for each search, up to so many are scored; beyond that,
Chroma's index proposes some of them.
"""

TOGETHER = 250
"""Rows of several tasks that are written at once: Chroma keeps Python's lock meanwhile, and the
event loop waits for it.
"""


@dataclass
class _Known:
    """What the stores of a process that opened the same collection share.

    Attributes:
        mirror: None where other processes may write.
        postponed: When items that were read expire now, as far as that was not yet written.
    """

    mirror: Mirror | None
    lock: threading.RLock = field(default_factory=threading.RLock)
    postponed: dict[str, float] = field(default_factory=dict)


class ChromaStore(BaseStore):
    """A `BaseStore` over Chroma: on disk (`path`), in a temporary folder that goes with it
    (neither), or over a client of yours.

    Args:
        path: Folder of the database; made if missing. One process at a time may hold it; within the
            process it may be opened several times and used from several tasks and threads, but not
            by forked children.
        client: A Chroma client to use instead, such as `chromadb.HttpClient()`. Other processes may
            write to the same collection, so each batch reads anew what it needs.
        index: LangGraph's index configuration (`dims`, `embed`, `fields`). Without it nothing is
            embedded, and `search` with a query lists items unscored.
        ttl: LangGraph's configuration of the time to live. As in its SqliteStore, reads refresh it
            only with `refresh_on_read`. They do so at once; on disk that is written with the next
            write, sweep or close.
        collection: Name of the Chroma collection, 3 to 512 characters.

    Attributes:
        embeddings: Those of `index`, or None.

    Raises:
        InputError: another process holds the folder, it cannot be written to, or the collection was
            made with other embeddings or in another format.
    """

    supports_ttl = True

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        client: ClientAPI | None = None,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
        collection: str = "langgraph",
    ) -> None:
        if path is not None and client is not None:
            raise InputError("path= and client= exclude each other.")
        self.index_config = index
        self.ttl_config = ttl
        self._indexing = Indexing(index) if index else None
        self._probed = index is None
        self._waiting: deque[Batch] = deque()
        self._process = os.getpid()
        self._sweeper: Sweeper | None = None
        self._closed = threading.Event()
        # One thread for all: Chroma works for one caller at a time, and each thread would keep its
        # own heap.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chroma")
        self._remove: Callable[[], object] | None = None
        if client is None and path is None:
            path = tempfile.mkdtemp(prefix="chroma-")
            self._remove = weakref.finalize(self, _remove, path, os.getpid())
        self._held = hold(path) if path is not None else None
        dims = self._indexing.dims if self._indexing else None
        try:
            self._client = open_client(self._held) if self._held else checked(client)  # type: ignore[arg-type]
            self._rows = Rows(self._client, collection, dims, served=client is not None)
            self._check_name()
        except BaseException:
            if self._held:
                let_go(self._held)
            raise
        self._lent = client is not None
        self._known = _Known(None)
        if self._held:
            mine = _Known(Mirror(self._rows))
            self._known = shared(self._held).setdefault(collection, mine)
        self._lifetimes = Lifetimes(
            self._rows, ttl, self._known.postponed, at_once=self._held is None
        )

    @classmethod
    def from_conn_string(
        cls,
        conn_string: str,
        *,
        index: IndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> Self:
        """A store in a folder, or at `http://HOST:PORT` where a Chroma server listens; for `with`
        and `async with`.
        """
        if conn_string.startswith(("http://", "https://")):
            store = cls(client=client_at(conn_string), index=index, ttl=ttl)
            store._lent = False
            return store
        return cls(conn_string, index=index, ttl=ttl)

    def setup(self) -> None:
        """Nothing: opening does it. LangGraph's other stores have it."""

    @property
    def embeddings(self) -> Embeddings | None:
        return self._indexing.embeddings if self._indexing else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out `ops`, reads before writes; results in the order given.

        Raises:
            TypeError: a value is not JSON, a time or a UUID.
            ValueError: an unknown operation or filter operator.
            InputError: the store is closed, or the embeddings are not those of the collection.
            StoreFailed: the disk or the server failed.
            All before anything was written.
        """
        self._check_open()
        batch = Batch.of(ops)
        if self._indexing:
            batch.embedded = self._indexing.embed(batch.ops, not self._probed)
        self._carry_out([batch])
        return batch.done.result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`; embedding is awaited, and Chroma works in a thread.

        Cancelled before its turn has come, it is not carried out.
        """
        self._check_open()
        batch = Batch.of(ops)
        if self._indexing:
            batch.embedded = await self._indexing.aembed(batch.ops, not self._probed)
        self._waiting.append(batch)
        self._thread.submit(self._drain)
        return await asyncio.wrap_future(batch.done)

    def close(self) -> None:
        """Let go of the database; the store must not be used afterwards."""
        if self._closed.is_set() or self._process != os.getpid():
            return
        self.stop_ttl_sweeper()
        self._thread.shutdown()
        with self._known.lock:
            try:
                self._lifetimes.write()
            finally:
                self._closed.set()
                if not self._lent:
                    self._client.close()  # type: ignore[attr-defined]
                if self._held:
                    let_go(self._held)
                if self._remove:
                    self._remove()

    def sweep_ttl(self) -> int:
        """Delete the items whose time is over; how many they were."""
        self._check_open()
        with self._known.lock:
            self._lifetimes.write()
            over = self._rows.expired(time.time())
            if over:
                self._write(dict.fromkeys(over), self._mirror())
            return len(over)

    async def asweep_ttl(self) -> int:
        """As `sweep_ttl`, in a thread."""
        return await asyncio.wrap_future(self._thread.submit(self.sweep_ttl))

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> None:
        """Sweep every so many minutes (by default the configuration's, or 5) until the store is
        closed.
        """
        minutes = sweep_interval_minutes or (self.ttl_config or {}).get("sweep_interval_minutes")
        if self._sweeper is None:
            self._sweeper = Sweeper(self, 60 * (minutes or 5))
            self._sweeper.start()

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping; whether that was done within `timeout` seconds."""
        sweeper, self._sweeper = self._sweeper, None
        return sweeper is None or sweeper.stop(timeout)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise InputError("This store is closed; open another.")
        if self._process != os.getpid():
            raise InputError(
                "This store was opened before the process forked; open it in the child, or run a "
                "Chroma server and pass client=."
            )

    def _check_name(self) -> None:
        name = self._indexing.name if self._indexing else None
        made = self._rows.made_with.get("model")
        if name and made and name != made:
            raise InputError(
                f"The collection was made with the embeddings {made!r}, not {name!r}. Use the "
                "embeddings it was made with, or another folder or collection name."
            )

    def _check_probe(self, vector: Vectors) -> None:
        """See that a known text has the vector that it had when the collection was made."""
        assert self._indexing
        made = self._rows.made_with.get("probe")
        if made is None:
            text = base64.b64encode(vector.astype("<f2").tobytes()).decode()
            name = {"model": self._indexing.name} if self._indexing.name else {}
            self._rows.note(probe=text, **name)
        else:
            before = np.frombuffer(base64.b64decode(made), dtype="<f2").astype(np.float32)
            if unit(before) @ unit(vector) < 0.99:
                raise InputError(
                    "The collection was made with other embeddings. Use the embeddings it was "
                    "made with, or another folder or collection name."
                )
        self._probed = True

    def _drain(self) -> None:
        """Carry out what waits."""
        waiting: list[Batch] = []
        while self._waiting:
            one = self._waiting.popleft()
            if one.done.set_running_or_notify_cancel():
                waiting.append(one)
        if waiting:
            self._carry_out(waiting)

    def _carry_out(self, together: Sequence[Batch]) -> None:
        """Carry out batches, in their order, and give each its results or its error."""
        with self._known.lock:
            try:
                self._check_open()
                self._answer(together, self._mirror())
            except Exception as error:  # noqa: BLE001 (who waits gets it)
                if len(together) == 1:
                    together[0].done.set_exception(error)
                    return
                # Only those at fault shall hear of it.
                for one in together:
                    if not one.done.done():
                        self._carry_out([one])

    def _mirror(self) -> Mirror:
        return self._known.mirror or Mirror(self._rows, EXACT)

    def _answer(self, together: Sequence[Batch], mirror: Mirror) -> None:
        needed = [name for one in together for name in one.names]
        if self._known.mirror:
            needed = [name for name in needed if name in mirror.listed]
        stored = mirror.get(needed)
        pending: dict[str, tuple[Stored, Vectors] | None] = {}
        answered: list[tuple[Batch, list[Result]]] = []

        def flush() -> None:
            self._write(pending, mirror)
            pending.clear()
            for one, results in answered:
                one.done.set_result(results)
            answered.clear()

        for one in together:
            if self._indexing and not self._probed and PROBE in one.embedded.documents:
                self._check_probe(one.embedded.documents[PROBE])
            if pending and (len(pending) >= TOGETHER or one.looks_around):
                flush()
            answered.append((one, results_of(one, stored, mirror, self._lifetimes)))
            for name in one.puts:
                put = one.made(name, stored.get(name), self._indexing, self._rows.dims)
                pending[name] = put
                if put:
                    stored[name] = put[0]
                else:
                    stored.pop(name, None)
        flush()

    def _write(self, pending: Mapping[str, tuple[Stored, Vectors] | None], mirror: Mirror) -> None:
        puts = [put for put in pending.values() if put]
        deletes = [name for name, put in pending.items() if put is None]
        try:
            if pending:
                self._lifetimes.write(but=pending)
                self._rows.write(puts, deletes)
        except BaseException:
            # How much of it there is only the rows know.
            if self._known.mirror:
                self._known.mirror = Mirror(self._rows)
            raise
        for item, vectors in puts:
            mirror.put(item, vectors)
        for name in deletes:
            mirror.drop(name)


def _remove(folder: str, process: int) -> None:
    # A forked child leaves its parent's folder alone.
    if os.getpid() == process:
        with suppress(OSError):
            remove(Path(folder))
