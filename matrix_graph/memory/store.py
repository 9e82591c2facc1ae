"""`ChromaStore`: a LangGraph store that keeps its items in Chroma.

Three collections. Items: a row each, whose id spells namespace and key. Vectors: those of the
indexed texts, several to an item where it has several. Namespaces: a row each, so that listing them
and finding those under a prefix reads no item. Chroma never embeds anything itself.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
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
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
)
from numpy.typing import NDArray

from matrix_graph.memory.matching import matches
from matrix_graph.memory.table import Row, Table, hold, known_of, let_go, open_client

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

FORMAT = 1
EXACT = 2_000
"""Up to so many vectors under the prefix are scored exactly; beyond that Chroma's index proposes
candidates.
"""

Vector = NDArray[np.float32]
Namespace = tuple[str, ...]
_Waiting = tuple[list[Op], dict[str, Sequence[float]], Future[list[Result]]]


class ChromaStore(BaseStore):
    """A `BaseStore` over Chroma: on disk (`path`), in memory (neither), or over a client of yours.

    Args:
        path: Folder of the database; made if missing. One process at a time may hold it; within the
            process it may be opened several times and used from several tasks and threads.
        client: A Chroma client to use instead, such as `chromadb.HttpClient()`.
        index: LangGraph's index configuration (`dims`, `embed`, `fields`). Without it nothing is
            embedded, and `search` with a query lists items unscored.
        collection: Name under which the collections are made.

    Raises:
        InputError: another process holds the folder, or the collections were made with other
            embeddings or in another format.
    """

    supports_ttl = False

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        client: ClientAPI | None = None,
        index: IndexConfig | None = None,
        collection: str = "langgraph",
    ) -> None:
        self.index_config = index
        self._embed = ensure_embeddings(index["embed"]) if index else None
        self._fields = _paths((index or {}).get("fields") or ["$"])
        self._waiting: deque[_Waiting] = deque()
        # One thread for all: Chroma works for one caller at a time, and each thread would keep its
        # own heap.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="chroma")
        self._held = hold(path) if client is None and path is not None else None
        if client is None and path is None:
            # Chroma's clients in memory share one database in a process.
            collection = f"{collection}-{uuid4().hex}"
        try:
            self._client = client or open_client(path)
            self._items = Table(self._client, collection, {"format": FORMAT})
            self._names = Table(self._client, f"{collection}-namespaces", {"format": FORMAT})
            self._vectors = self._vector_table(collection, index) if index else None
        except BaseException:
            let_go(self._held)
            raise
        self._shared = client is not None
        self._known = known_of(self._held, collection)
        self._lock = self._known.lock

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out `ops`, reads before writes; results in the order given."""
        ops = list(ops)
        texts = self._texts_of(ops)
        vectors = self._embed.embed_documents(texts) if self._embed and texts else []
        return self._apply(ops, dict(zip(texts, vectors, strict=True)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`; embedding is awaited, and Chroma works in a thread.

        Writes of several tasks that wait at the same time go to Chroma as one, since each of its
        writes costs as much as thirty rows.
        """
        ops = list(ops)
        texts = self._texts_of(ops)
        vectors = await self._embed.aembed_documents(texts) if self._embed and texts else []
        done: Future[list[Result]] = Future()
        self._waiting.append((ops, dict(zip(texts, vectors, strict=True)), done))
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drain)
        return done.result()

    def close(self) -> None:
        """Let go of the database; the store must not be used afterwards."""
        self._thread.shutdown()
        if self._held is not None:
            self._client.close()  # type: ignore[attr-defined]
            let_go(self._held)
            self._held = None

    def _drain(self) -> None:
        """Carry out what waits, in its order; neighbours that only write are written together."""
        with self._lock:
            waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
            for writing, group in groupby(
                waiting, lambda w: all(isinstance(op, PutOp) for op in w[0])
            ):
                together = list(group)
                self._answer(together if writing else [], [] if writing else together)

    def _answer(self, together: Sequence[_Waiting], one_by_one: Sequence[_Waiting]) -> None:
        if together:
            try:
                self._apply(
                    [op for ops, _, _ in together for op in ops],
                    {k: v for _, of_task, _ in together for k, v in of_task.items()},
                )
            except Exception:  # noqa: BLE001 (only the one who is at fault shall hear of it)
                one_by_one = together
            else:
                for ops, _, done in together:
                    done.set_result([None] * len(ops))
        for ops, vectors, done in one_by_one:
            try:
                done.set_result(self._apply(ops, vectors))
            except Exception as error:  # noqa: BLE001 (the caller gets it)
                done.set_exception(error)

    def _vector_table(self, collection: str, index: IndexConfig) -> Table:
        return Table(
            self._client,
            f"{collection}-vectors",
            {"format": FORMAT, "dims": index["dims"], "embeddings": _name_of(index["embed"])},
        )

    def _texts_of(self, ops: Sequence[Op]) -> list[str]:
        if not self._embed:
            return []
        texts = [op.query for op in ops if isinstance(op, SearchOp) and op.query]
        for op in ops:
            if isinstance(op, PutOp):
                texts += self._indexed_texts(op)
        return list(dict.fromkeys(texts))

    def _indexed_texts(self, op: PutOp) -> list[str]:
        if not self._embed or op.value is None or op.index is False:
            return []
        fields = self._fields if op.index is None else _paths(op.index)
        return [text for field in fields for text in get_text_at_path(op.value, field)]

    def _apply(self, ops: Sequence[Op], vectors: Mapping[str, Sequence[float]]) -> list[Result]:
        with self._lock:
            results: list[Result] = [None] * len(ops)
            gets = {
                i: _row_id(op.namespace, op.key)
                for i, op in enumerate(ops)
                if isinstance(op, GetOp)
            }
            rows = self._items.get(list(gets.values()))
            puts: dict[str, PutOp] = {}
            for i, op in enumerate(ops):
                if i in gets:
                    results[i] = Item(**_fields_of(rows[gets[i]])) if gets[i] in rows else None
                elif isinstance(op, SearchOp):
                    results[i] = self._search(op, vectors)
                elif isinstance(op, ListNamespacesOp):
                    results[i] = self._namespaces(op)
                elif isinstance(op, PutOp):
                    puts[_row_id(op.namespace, op.key)] = op
                else:
                    raise ValueError(f"Unknown operation type: {type(op)}")
            if puts:
                self._put(puts, vectors)
            return results

    def _put(self, puts: Mapping[str, PutOp], vectors: Mapping[str, Sequence[float]]) -> None:
        old = {
            i: row.item
            for i, row in self._items.get([i for i in puts if self._may_exist(i)]).items()
        }
        now = datetime.now(UTC).isoformat()
        rows: dict[str, Row] = {}
        parts: dict[str, Row] = {}
        points: list[Sequence[float]] = []
        gone = [row_id for row_id, op in puts.items() if op.value is None and row_id in old]
        stale: list[str] = []
        for row_id, op in puts.items():
            points_of_item = [vectors[text] for text in self._indexed_texts(op)]
            stale += [
                _part_id(row_id, n)
                for n in range(len(points_of_item), old[row_id]["parts"] if row_id in old else 0)
            ]
            if op.value is not None:
                created = old[row_id]["created"] if row_id in old else now
                item = {
                    "key": op.key,
                    "value": op.value,
                    "created": created,
                    "updated": now,
                    "parts": len(points_of_item),
                }
                rows[row_id] = Row(op.namespace, item)
                parts |= {
                    _part_id(row_id, n): Row(op.namespace, row_id)
                    for n in range(len(points_of_item))
                }
                points += points_of_item
        self._register({op.namespace for op in puts.values() if op.value is not None})
        if self._vectors:
            self._vectors.delete(stale)
            self._vectors.upsert(parts, points)
        self._items.delete(gone)
        self._items.upsert(rows)
        if self._known.ids is not None:
            self._known.ids.update(map(hash, rows))

    def _may_exist(self, row_id: str) -> bool:
        # Reading before each write makes Chroma index every small batch at once, at several times
        # the cost.
        if self._held is None:
            return True
        if self._known.ids is None:
            self._known.ids = set(map(hash, self._items.ids()))
        return hash(row_id) in self._known.ids

    def _register(self, namespaces: set[Namespace]) -> None:
        new = namespaces - self._listed()
        self._names.upsert({json.dumps(ns): Row(ns, None) for ns in new})
        self._listed().update(new)

    def _listed(self) -> set[Namespace]:
        if self._known.namespaces is None or self._shared:
            self._known.namespaces = {tuple(json.loads(row_id)) for row_id in self._names.ids()}
        return self._known.namespaces

    def _under(self, prefix: Sequence[str]) -> list[Namespace] | None:
        """The namespaces under a prefix; None for all."""
        n = len(prefix)
        return sorted(ns for ns in self._listed() if ns[:n] == tuple(prefix)) if n else None

    def _search(self, op: SearchOp, vectors: Mapping[str, Sequence[float]]) -> list[SearchItem]:
        wanted, under = op.offset + op.limit, self._under(op.namespace_prefix)
        scored: list[SearchItem] = []
        if op.query and self._vectors:
            scored = self._similar(
                op, np.asarray(vectors[op.query], dtype=np.float32), wanted, under
            )
        page = scored[op.offset : wanted]
        # As in LangGraph's own stores, items without a vector fill up the page.
        seen = {(item.namespace, item.key) for item in scored}
        skip = max(0, op.offset - len(scored))
        every = not op.filter and not scored
        for row in (
            self._items.scan(under, skip=skip if every else 0) if len(page) < op.limit else ()
        ):
            item = _fields_of(row)
            if (item["namespace"], item["key"]) in seen or not matches(
                item["value"], op.filter or {}
            ):
                continue
            if skip and not every:
                skip -= 1
                continue
            page.append(SearchItem(**item))
            if len(page) == op.limit:
                break
        return page

    def _similar(
        self, op: SearchOp, query: Vector, wanted: int, under: list[Namespace] | None
    ) -> list[SearchItem]:
        """The best-scored items, at least `wanted` of them if there are so many."""
        assert self._vectors
        best: dict[str, float] = {}
        for row, score in self._vectors.nearest(query, under, None if op.filter else wanted, EXACT):
            best[row.item] = max(best.get(row.item, -2.0), score)
        order = sorted(best, key=lambda row_id: -best[row_id])
        items: list[SearchItem] = []
        for start in range(0, len(order), max(wanted, 100)):
            ids = order[start : start + max(wanted, 100)]
            rows = self._items.get(ids)
            for row_id in ids:
                item = _fields_of(rows[row_id]) if row_id in rows else None
                if item and matches(item["value"], op.filter or {}):
                    items.append(SearchItem(**item, score=best[row_id]))
            if len(items) >= wanted:
                break
        return items

    def _namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        fitting = [
            ns
            for ns in self._listed()
            if all(_fits(condition, ns) for condition in op.match_conditions or ())
        ]
        cut = {ns[: op.max_depth] if op.max_depth is not None else ns for ns in fitting}
        return sorted(cut)[op.offset : op.offset + op.limit]


def _paths(fields: Sequence[str]) -> list[str | list[str]]:
    # "$" stands for the whole value, and only as a string.
    return [field if field == "$" else tokenize_path(field) for field in fields]


def _name_of(embed: object) -> str:
    return str(
        getattr(embed, "model", None)
        or getattr(embed, "__qualname__", None)
        or type(embed).__name__
    )


def _row_id(namespace: Sequence[str], key: str) -> str:
    return json.dumps([*namespace, key], ensure_ascii=False)


def _part_id(row_id: str, number: int) -> str:
    return f"{row_id}{number}"


def _fields_of(row: Row) -> dict[str, Any]:
    return {
        "value": row.item["value"],
        "key": row.item["key"],
        "namespace": row.namespace,
        "created_at": datetime.fromisoformat(row.item["created"]),
        "updated_at": datetime.fromisoformat(row.item["updated"]),
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
