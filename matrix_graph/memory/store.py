"""`ChromaStore`: a LangGraph store that keeps its items in Chroma.

Operations of several tasks that wait at the same time are carried out together: what they read is
read at once, what they write is one write. Each task's batch is whole or absent, and sees what was
put before it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import tempfile
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    BaseStore,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from matrix_graph.errors import InputError, MatrixError
from matrix_graph.memory.folder import checked, hold, let_go, open_client, shared
from matrix_graph.memory.indexing import PROBE, Embedded, Indexing
from matrix_graph.memory.matrix import Vectors, unit
from matrix_graph.memory.mirror import Mirror
from matrix_graph.memory.rows import Namespace, Rows, Stored, row_id

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
        self._waiting: deque[_Waiting] = deque()
        self._process = os.getpid()
        self._sweeper: _Sweeper | None = None
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
            from urllib.parse import urlsplit

            import chromadb

            url = urlsplit(conn_string)
            client = chromadb.HttpClient(
                host=url.hostname or "", port=url.port or 8000, ssl=url.scheme == "https"
            )
            store = cls(client=client, index=index, ttl=ttl)
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
        waiting = self._prepared(ops)
        if self._indexing:
            waiting.embedded = self._indexing.embed(waiting.ops, not self._probed)
        self._carry_out([waiting])
        return waiting.done.result()

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`; embedding is awaited, and Chroma works in a thread.

        Cancelled before its turn has come, it is not carried out.
        """
        waiting = self._prepared(ops)
        if self._indexing:
            waiting.embedded = await self._indexing.aembed(waiting.ops, not self._probed)
        self._waiting.append(waiting)
        self._thread.submit(self._drain)
        return await asyncio.wrap_future(waiting.done)

    def close(self) -> None:
        """Let go of the database; the store must not be used afterwards."""
        if self._closed.is_set() or self._process != os.getpid():
            return
        self.stop_ttl_sweeper()
        self._thread.shutdown()
        with self._known.lock:
            try:
                self._postpone()
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
            self._postpone()
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
            self._sweeper = _Sweeper(self, 60 * (minutes or 5))
            self._sweeper.start()

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping; whether that was done within `timeout` seconds."""
        sweeper, self._sweeper = self._sweeper, None
        return sweeper is None or sweeper.stop(timeout)

    def _prepared(self, ops: Iterable[Op]) -> _Waiting:
        self._check_open()
        waiting = _Waiting(list(ops))
        for place, op in enumerate(waiting.ops):
            validate_op_namespace(op)
            if isinstance(op, GetOp):
                waiting.gets[place] = row_id(op.namespace, op.key)
            elif isinstance(op, PutOp):
                name = row_id(op.namespace, op.key)
                _encodable(name)
                waiting.texts[name] = None if op.value is None else _json(op.value)
                waiting.puts[name] = op
                if op.ttl is not None and not op.ttl >= 0:
                    raise InputError(f"ttl is {op.ttl}; give minutes, or None for ever.")
            elif not isinstance(op, SearchOp | ListNamespacesOp):
                raise ValueError(f"Unknown operation type: {type(op)}")
        return waiting

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
        waiting: list[_Waiting] = []
        while self._waiting:
            one = self._waiting.popleft()
            if one.done.set_running_or_notify_cancel():
                waiting.append(one)
        if waiting:
            self._carry_out(waiting)

    def _carry_out(self, together: Sequence[_Waiting]) -> None:
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

    def _answer(self, together: Sequence[_Waiting], mirror: Mirror) -> None:
        needed = [name for one in together for name in one.names]
        if self._known.mirror:
            needed = [name for name in needed if name in mirror.listed]
        stored = mirror.get(needed)
        pending: dict[str, tuple[Stored, Vectors] | None] = {}
        answered: list[tuple[_Waiting, list[Result]]] = []

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
            answered.append((one, self._read(one, stored, mirror)))
            for name, op in one.puts.items():
                pending[name] = self._made(one, name, op, stored.get(name))
                put = pending[name]
                if put:
                    stored[name] = put[0]
                else:
                    stored.pop(name, None)
        flush()

    def _read(self, one: _Waiting, stored: Mapping[str, Stored], mirror: Mirror) -> list[Result]:
        results: list[Result] = [None] * len(one.ops)
        for place, op in enumerate(one.ops):
            if isinstance(op, GetOp):
                item = stored.get(one.gets[place])
                if item and not self._is_over(item):
                    results[place] = Item(**_fields_of(item))
                    self._refresh([item], op.refresh_ttl, mirror)
            elif isinstance(op, SearchOp):
                results[place] = self._search(op, one.embedded, mirror)
            elif isinstance(op, ListNamespacesOp):
                results[place] = self._namespaces(op, mirror)
        return results

    def _made(
        self, one: _Waiting, name: str, op: PutOp, old: Stored | None
    ) -> tuple[Stored, Vectors] | None:
        """The item that a put makes and its vectors; None where it deletes."""
        text = one.texts[name]
        if text is None:
            return None
        texts = self._indexing.texts(op) if self._indexing else []
        points = [one.embedded.documents[part] for part in texts]
        vectors = np.stack(points) if points else np.zeros((0, self._rows.dims), dtype=np.float32)
        now = datetime.now(UTC)
        expires = None if op.ttl is None else now.timestamp() + 60 * op.ttl
        made = Stored(
            name,
            op.namespace,
            op.key,
            text,
            old.created if old else now.isoformat(),
            now.isoformat(),
            len(points),
            op.ttl,
            expires,
        )
        return made, vectors

    def _write(self, pending: Mapping[str, tuple[Stored, Vectors] | None], mirror: Mirror) -> None:
        puts = [put for put in pending.values() if put]
        deletes = [name for name, put in pending.items() if put is None]
        try:
            if pending:
                self._postpone(but=pending)
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

    def _search(self, op: SearchOp, embedded: Embedded, mirror: Mirror) -> list[SearchItem]:
        ids = mirror.under(op.namespace_prefix)
        over = self._over()
        if over:
            ids = [name for name in ids if name not in over]
        if op.filter:
            ids = mirror.fitting(ids, op.filter)
        wanted = op.offset + op.limit
        best: list[tuple[str, float]] = []
        if op.query and self._indexing:
            query = embedded.queries[op.query]
            best = mirror.nearest(query, ids, wanted, op.namespace_prefix)
        scores: dict[str, float | None] = dict(best)
        page = [name for name, _ in best[:wanted]]
        # As in LangGraph's own stores, items without a vector fill up the page.
        for name in ids:
            if len(page) >= wanted:
                break
            if name not in scores:
                page.append(name)
        stored = mirror.get(page[op.offset :])
        items = [stored[name] for name in page[op.offset :] if name in stored]
        self._refresh(items, op.refresh_ttl, mirror)
        return [SearchItem(**_fields_of(item), score=scores.get(item.id)) for item in items]

    def _namespaces(self, op: ListNamespacesOp, mirror: Mirror) -> list[Namespace]:
        over = self._over()
        fitting = [
            namespace
            for namespace, ids in mirror.namespaces.items()
            if all(_fits(condition, namespace) for condition in op.match_conditions or ())
            and not (over and over.issuperset(ids))
        ]
        cut = {ns[: op.max_depth] if op.max_depth is not None else ns for ns in fitting}
        return sorted(cut)[op.offset : op.offset + op.limit]

    def _omits(self) -> bool:
        return bool((self.ttl_config or {}).get("omit_expired"))

    def _is_over(self, item: Stored) -> bool:
        if item.expires is None or not self._omits():
            return False
        return max(item.expires, self._known.postponed.get(item.id, 0)) <= time.time()

    def _over(self) -> set[str]:
        """The items that are still there though their time is over, where these are left out."""
        if not self._omits():
            return set()
        now = time.time()
        later = {name for name, end in self._known.postponed.items() if end > now}
        return set(self._rows.expired(now)) - later

    def _refresh(self, items: Sequence[Stored], wanted: bool, mirror: Mirror) -> None:
        if not wanted or not (self.ttl_config or {}).get("refresh_on_read"):
            return
        for item in items:
            if item.ttl is not None:
                end = time.time() + 60 * item.ttl
                self._known.postponed[item.id] = end
                mirror.postpone(item.id, end)
        if self._held is None:
            self._postpone()

    def _postpone(self, but: Iterable[str] = ()) -> None:
        for name in but:
            self._known.postponed.pop(name, None)
        if self._known.postponed:
            self._rows.postpone(self._known.postponed)
            self._known.postponed.clear()


@dataclass
class _Waiting:
    """A batch that is to be carried out.

    Attributes:
        gets: The ids that are read, by the operation's place.
        puts: The last put of each id.
        texts: The values of the puts as JSON, None where one deletes.
    """

    ops: list[Op]
    gets: dict[int, str] = field(default_factory=dict)
    puts: dict[str, PutOp] = field(default_factory=dict)
    texts: dict[str, str | None] = field(default_factory=dict)
    embedded: Embedded = field(default_factory=lambda: Embedded({}, {}))
    done: Future[list[Result]] = field(default_factory=Future)

    @property
    def names(self) -> list[str]:
        """The ids of all that is read or put."""
        return [*self.gets.values(), *self.puts]

    @property
    def looks_around(self) -> bool:
        """Whether it reads more than single items."""
        return any(isinstance(op, SearchOp | ListNamespacesOp) for op in self.ops)


def _remove(folder: str, process: int) -> None:
    # A forked child leaves its parent's folder alone.
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


class _Sweeper(threading.Thread):
    """Sweeps a store for as long as there is one."""

    def __init__(self, store: ChromaStore, seconds: float) -> None:
        super().__init__(daemon=True, name="ttl-sweeper")
        self._store = weakref.ref(store)
        self._seconds = seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._seconds):
            store = self._store()
            if store is None:
                return
            with suppress(MatrixError):  # the next sweep makes it good
                store.sweep_ttl()
            del store

    def stop(self, timeout: float | None) -> bool:
        self._stopped.set()
        self.join(timeout)
        return not self.is_alive()


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    _encodable(text)
    return text


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"Half of a surrogate pair cannot be stored: {text!r:.100}") from error


def _plain(value: Any) -> str:
    if isinstance(value, datetime | date | time_of_day):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable: {value!r:.100}")


def _fields_of(item: Stored) -> dict[str, Any]:
    return {
        "value": json.loads(item.text),
        "key": item.key,
        "namespace": item.namespace,
        "created_at": datetime.fromisoformat(item.created),
        "updated_at": datetime.fromisoformat(item.updated),
    }


def _fits(condition: MatchCondition, namespace: Namespace) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = (
        namespace[: len(path)]
        if condition.match_type == "prefix"
        else namespace[len(namespace) - len(path) :]
    )
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
