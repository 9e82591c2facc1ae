"""`ChromaStore`: a LangGraph store that keeps its items in Chroma.

One collection per store. An item is one row: its id spells namespace and key, its metadata holds
the value as JSON, and its vector is that of the indexed text. Items without a vector carry the zero
vector and are left out of similarity search. Chroma never embeds anything itself.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

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

from matrix_graph.errors import InputError
from matrix_graph.memory.matching import matches

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.types import Where

Metadata = dict[str, Any]
Vector = NDArray[np.float32]
FORMAT = 1
_CHUNK = 2_000


class ChromaStore(BaseStore):
    """A `BaseStore` over Chroma: on disk (`path`), in memory (neither), or over a client of yours.

    Args:
        path: Folder of the database; made if missing. One process at a time may hold it.
        client: A Chroma client to use instead.
        index: LangGraph's index configuration (`dims`, `embed`, `fields`). Without it nothing is
            embedded and `search` with a query lists items unscored.
        collection: Name of the collection.

    Raises:
        InputError: the collection was made with another embedding size or format.
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
        self._fields = [tokenize_path(f) for f in (index or {}).get("fields") or ["$"]]
        self._dims = index["dims"] if index else 1
        self._client = client or _client(path)
        self._lock = threading.RLock()
        wanted = {"format": FORMAT, "dims": self._dims}
        self._rows = self._client.get_or_create_collection(
            collection, embedding_function=None, metadata=wanted, configuration={"hnsw": {"space": "cosine"}}
        )
        found = {key: (self._rows.metadata or {}).get(key) for key in wanted}
        if found != wanted:
            raise InputError(
                f"The Chroma collection {collection!r} was made with {found}, but {wanted} is asked for. "
                "Use the embeddings it was made with, or another folder or collection name."
            )

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out `ops`, reads before writes; results in the order given."""
        ops = list(ops)
        texts = self._texts_of(ops)
        vectors = self._embed.embed_documents(texts) if self._embed and texts else []
        return self._apply(ops, dict(zip(texts, vectors, strict=True)))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As `batch`; embedding is awaited, and Chroma works in a thread."""
        ops = list(ops)
        texts = self._texts_of(ops)
        vectors = await self._embed.aembed_documents(texts) if self._embed and texts else []
        return await asyncio.to_thread(self._apply, ops, dict(zip(texts, vectors, strict=True)))

    def close(self) -> None:
        """Let go of the database."""
        close = getattr(self._client, "close", None)
        if close:
            close()

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
        fields = self._fields if op.index is None else [tokenize_path(f) for f in op.index]
        return [text for field in fields for text in get_text_at_path(op.value, field)]

    def _apply(self, ops: Sequence[Op], vectors: Mapping[str, Sequence[float]]) -> list[Result]:
        with self._lock:
            results: list[Result] = [None] * len(ops)
            gets = [(i, op) for i, op in enumerate(ops) if isinstance(op, GetOp)]
            found = self._get([_row_id(op.namespace, op.key) for _, op in gets])
            for i, get in gets:
                results[i] = found.get(_row_id(get.namespace, get.key))
            puts: dict[str, PutOp] = {}
            for i, op in enumerate(ops):
                if isinstance(op, SearchOp):
                    results[i] = self._search(op, vectors)
                elif isinstance(op, ListNamespacesOp):
                    results[i] = self._namespaces(op)
                elif isinstance(op, PutOp):
                    puts[_row_id(op.namespace, op.key)] = op
            if puts:
                self._put(puts, vectors)
            return results

    def _get(self, ids: Sequence[str]) -> dict[str, Item]:
        if not ids:
            return {}
        rows = self._rows.get(ids=list(dict.fromkeys(ids)), include=["metadatas"])
        return {i: Item(**_fields_of(meta)) for i, meta in zip(rows["ids"], rows["metadatas"] or [], strict=True)}

    def _put(self, puts: Mapping[str, PutOp], vectors: Mapping[str, Sequence[float]]) -> None:
        before = self._rows.get(ids=list(puts), include=["metadatas"])
        old = dict(zip(before["ids"], before["metadatas"] or [], strict=True))
        now = datetime.now(UTC).isoformat()
        rows: dict[str, tuple[Sequence[float], Metadata]] = {}
        gone = [i for i, op in puts.items() if op.value is None and i in old]
        for row_id, op in puts.items():
            parts = [vectors[text] for text in self._indexed_texts(op)]
            gone += [f"{row_id}{n}" for n in range(max(1, len(parts)), int(_int(old.get(row_id), "parts")))]
            if op.value is None:
                continue
            meta: Metadata = {f"n{i}": label for i, label in enumerate(op.namespace)} | {
                "depth": len(op.namespace),
                "key": op.key,
                "value": json.dumps(op.value, ensure_ascii=False),
                "created": str(old[row_id]["created"]) if row_id in old else now,
                "updated": now,
                "parts": len(parts),
                "part": 0,
            }
            rows[row_id] = (parts[0] if parts else [0.0] * self._dims, meta)
            slim = {k: v for k, v in meta.items() if k != "value"}
            rows |= {f"{row_id}{n}": (vector, slim | {"part": n}) for n, vector in enumerate(parts[1:], 1)}
        if gone:
            self._rows.delete(ids=gone)
        for chunk in _chunks(list(rows), _CHUNK):
            self._rows.upsert(
                ids=chunk,
                embeddings=np.asarray([rows[i][0] for i in chunk], dtype=np.float32),
                metadatas=[rows[i][1] for i in chunk],
            )

    def _search(self, op: SearchOp, vectors: Mapping[str, Sequence[float]]) -> list[SearchItem]:
        scored = bool(op.query and self._embed)
        rows = self._scan(op.namespace_prefix, scored)
        best: dict[str, float] = {}
        items = {i: meta for i, meta, _ in rows if meta["part"] == 0 and _matches(meta, op.filter)}
        if scored:
            query = _unit(np.asarray(vectors[str(op.query)], dtype=np.float32))
            for _, meta, vector in rows:
                row_id = _row_id(_namespace(meta), str(meta["key"]))
                if meta["parts"] and row_id in items:
                    best[row_id] = max(best.get(row_id, -2.0), float(_unit(vector) @ query))
        order = sorted(best, key=lambda i: -best[i]) + [i for i in items if i not in best]
        return [SearchItem(**_fields_of(items[i]), score=best.get(i)) for i in order[op.offset : op.offset + op.limit]]

    def _namespaces(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        found = {_namespace(meta) for _, meta, _ in self._scan((), False)}
        kept = [ns for ns in found if all(_fits(condition, ns) for condition in op.match_conditions or ())]
        cut = {ns[: op.max_depth] for ns in kept} if op.max_depth is not None else set(kept)
        return sorted(cut)[op.offset : op.offset + op.limit]

    def _scan(self, prefix: Sequence[str], with_vectors: bool) -> list[tuple[str, Metadata, Vector]]:
        rows = self._rows.get(
            where=_under(prefix), include=["metadatas", "embeddings"] if with_vectors else ["metadatas"]
        )
        metas = rows["metadatas"] or []
        vectors = rows["embeddings"] if with_vectors and rows["embeddings"] is not None else [None] * len(metas)
        return [(i, dict(m), np.asarray(v)) for i, m, v in zip(rows["ids"], metas, vectors, strict=True)]


def _client(path: Path | str | None) -> ClientAPI:
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    if path is None:
        return chromadb.EphemeralClient(settings)
    return chromadb.PersistentClient(str(path), settings)


def _row_id(namespace: Sequence[str], key: str) -> str:
    return json.dumps([*namespace, key], ensure_ascii=False)


def _namespace(meta: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(meta[f"n{i}"]) for i in range(_int(meta, "depth")))


def _int(meta: Mapping[str, Any] | None, name: str) -> int:
    return int((meta or {}).get(name, 0))


def _fields_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "value": json.loads(str(meta["value"])),
        "key": meta["key"],
        "namespace": _namespace(meta),
        "created_at": datetime.fromisoformat(str(meta["created"])),
        "updated_at": datetime.fromisoformat(str(meta["updated"])),
    }


def _under(prefix: Sequence[str]) -> Where | None:
    conditions: list[Where] = [{f"n{i}": label} for i, label in enumerate(prefix)]
    return {"$and": conditions} if len(conditions) > 1 else conditions[0] if conditions else None


def _matches(meta: Mapping[str, Any], wanted: Mapping[str, Any] | None) -> bool:
    return not wanted or matches(json.loads(str(meta["value"])), wanted)


def _fits(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))


def _unit(vector: Vector) -> Vector:
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm else vector


def _chunks(ids: list[str], size: int) -> Iterator[list[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
