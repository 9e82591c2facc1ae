"""A store's items in one Chroma collection: a row to an item, so that an item is whole or absent.

A row's id spells namespace and key. Its metadata: `namespace` and `value` as JSON, `about` (when it
was made and replaced, how many vectors it has, its time to live), `expires` if it does, and all
vectors if there are several; its embedding is the first or only one, or their mean. A row without
any gets an embedding made from its id: equal points would slow Chroma's index down.

Batches go to Chroma in one call, which is one transaction. Where a batch also deletes, that call
carries a note of what is to be deleted, which is carried out at the next opening if it was not yet.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np

from matrix_graph.boundary.values import read_json, read_object
from matrix_graph.errors import InputError, StoreFailed
from matrix_graph.memory.folder import is_panic
from matrix_graph.memory.matrix import Vectors, unit

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

Namespace = tuple[str, ...]
FORMAT = 2
_PAGE = 2_000
"""Rows per read: SQLite takes a bounded number of variables in a statement."""

_NOTE = "delete"
_OLD = 60.0
"""Seconds after which a note on a server was left by somebody who is gone."""


class Stored(NamedTuple):
    """An item as it is kept.

    Attributes:
        id: Of its row; spells namespace and key.
        text: The value as JSON.
        created, updated: ISO 8601, UTC.
        parts: How many vectors it has.
        ttl: Minutes that it lives after it was last written or read; None for ever.
        expires: Seconds since the epoch.
    """

    id: str
    namespace: Namespace
    key: str
    text: str
    created: str
    updated: str
    parts: int = 0
    ttl: float | None = None
    expires: float | None = None

    @property
    def value(self) -> dict[str, Any]:
        """What was put.

        Raises:
            InputError: no store wrote it.
        """
        try:
            return read_object(self.text)
        except ValueError as error:
            raise InputError(f"The item {self.id[:80]} holds no value: {error}") from error


def row_id(namespace: Sequence[str], key: str) -> str:
    """The id of an item's row."""
    return json.dumps([*namespace, key], ensure_ascii=False)


class Rows:
    """The collection.

    Args:
        client: Anybody's; what fails in it raises StoreFailed.
        name: The collection's.
        dims: Of the vectors; None if this process has none.
        served: Other processes may write to it.

    Attributes:
        dims: Those that it was made with.
        indexed: Whether Chroma's index is good for anything: it was made on a server.

    Raises:
        InputError: it was made with other dimensions or in another format, or cannot be called so.
    """

    def __init__(self, client: ClientAPI, name: str, dims: int | None, *, served: bool) -> None:
        self._client = client
        self._most = 0
        indexed = served and dims is not None
        # Where nothing is looked up in it, the smallest index does; it costs half of a write.
        least = {"max_neighbors": 2, "ef_construction": 2, "batch_size": 100}
        rare = least | {"space": "l2", "sync_threshold": 1_000 if dims else 250}
        configuration: Any = {"hnsw": {"space": "cosine"} if indexed else rare}
        metadata = {"format": FORMAT, "dims": dims or 1, "indexed": indexed}
        with _failing(name):
            self._rows = client.get_or_create_collection(
                name, embedding_function=None, metadata=metadata, configuration=configuration
            )
        made = self._rows.metadata or {}
        if made.get("format") != FORMAT or (dims and made["dims"] != dims):
            raise InputError(
                f"The Chroma collection {name!r} was made with {made}, but {metadata} is asked "
                "for. Use the embeddings it was made with, or another folder or collection name."
            )
        self.dims: int = made["dims"]
        self.indexed: bool = made["indexed"]
        self._finish_deleting(time.time() - (_OLD if served else 0))

    @property
    def made_with(self) -> dict[str, Any]:
        """What is noted on the collection."""
        return dict(self._rows.metadata or {})

    def note(self, **more: Any) -> None:
        """Note something on the collection."""
        with _failing():
            self._rows.modify(metadata=self.made_with | more)

    def count(self) -> int:
        """How many rows there are."""
        with _failing():
            return self._rows.count()

    def ids(self) -> list[str]:
        """The ids of all items, in order of arrival."""
        with _failing():
            ids = self._rows.get(include=[])["ids"]
        return [name for name in ids if not name.startswith(_NOTE)]

    def get(self, ids: Sequence[str]) -> dict[str, Stored]:
        """The items that are there, by id."""
        items: dict[str, Stored] = {}
        for page in _pages(list(dict.fromkeys(ids)), _PAGE):
            with _failing():
                rows = self._rows.get(ids=page, include=["metadatas"])
            for name, metadata in zip(rows["ids"], rows["metadatas"] or [], strict=True):
                items[name] = _stored(name, metadata)
        return items

    def with_vectors(self, ids: Sequence[str]) -> Iterator[tuple[Stored, Vectors]]:
        """The items that are there, with their vectors, shape (parts, dims)."""
        for page in _pages(list(ids), _PAGE):
            with _failing():
                rows = self._rows.get(ids=page, include=["metadatas", "embeddings"])
            embeddings: Any = rows["embeddings"]
            for name, metadata, embedding in zip(
                rows["ids"], rows["metadatas"] or [], embeddings, strict=True
            ):
                item = _stored(name, metadata)
                yield item, _vectors(item, metadata, np.asarray(embedding, dtype=np.float32))

    def nearest(self, query: Vectors, under: Iterable[Namespace] | None, count: int) -> list[str]:
        """The ids that Chroma's index finds nearest, of these namespaces (of all if None)."""
        condition: Any = None
        if under is not None:
            condition = {"namespace": {"$in": [json.dumps(namespace) for namespace in under]}}
        asked: Any = {"query_embeddings": [query], "where": condition, "include": []}
        with _failing():
            return list(self._rows.query(n_results=count, **asked)["ids"][0])

    def expired(self, now: float) -> list[str]:
        """The ids of items whose time is over."""
        over: Any = {"expires": {"$lte": now}}
        with _failing():
            return list(self._rows.get(where=over, include=[])["ids"])

    def write(self, puts: Sequence[tuple[Stored, Vectors]], deletes: Sequence[str]) -> None:
        """Write and delete; all of it or nothing, up to some thousand rows."""
        rows = [_row(item, vectors, self.dims) for item, vectors in puts]
        notes: list[str] = []
        if rows and deletes:
            notes = [f"{_NOTE}-{uuid4().hex}"]
            note: dict[str, str | float | None] = {
                "ids": json.dumps(list(deletes)),
                _NOTE: time.time(),
            }
            rows.append((notes[0], _point(notes[0], self.dims), note))
        with _failing():
            for page in _pages(rows, self._page):
                ids, points, metadatas = zip(*page, strict=True)
                taken: Any = list(metadatas)
                self._rows.upsert(ids=list(ids), embeddings=np.stack(points), metadatas=taken)
            for gone in _pages([*deletes, *notes], _PAGE):
                self._rows.delete(ids=gone)

    def postpone(self, expiries: Mapping[str, float]) -> None:
        """Move the end of items; those that are not there do not matter."""
        metadatas: Any = [{"expires": end} for end in expiries.values()]
        with _failing():
            if expiries:
                self._rows.update(ids=list(expiries), metadatas=metadatas)

    @property
    def _page(self) -> int:
        self._most = self._most or self._client.get_max_batch_size()
        return self._most

    def _finish_deleting(self, before: float) -> None:
        left: Any = {_NOTE: {"$lte": before}}
        with _failing():
            notes = self._rows.get(where=left, include=["metadatas"])
        for name, metadata in zip(notes["ids"], notes["metadatas"] or [], strict=True):
            self.write([], [*read_json(str(metadata["ids"])), name])


def _row(
    item: Stored, vectors: Vectors, dims: int
) -> tuple[str, Vectors, dict[str, str | float | None]]:
    several = None
    if len(vectors) > 1:
        several = base64.b64encode(vectors.astype("<f4").tobytes()).decode()
    metadata: dict[str, str | float | None] = {
        "namespace": json.dumps(item.namespace),
        "value": item.text,
        "about": json.dumps([item.created, item.updated, item.parts, item.ttl]),
        # Chroma keeps the entries of an older row that a newer one does not name.
        "expires": item.expires,
        "vectors": several,
    }
    point = unit(vectors).mean(0) if len(vectors) > 1 else vectors[0] if len(vectors) else None
    if point is None or not point.any():
        point = _point(item.id, dims)
    return item.id, point.astype(np.float32), metadata


def _point(name: str, dims: int) -> Vectors:
    seed = zlib.crc32(name.encode())
    if dims == 1:
        return np.array([seed], dtype=np.float32)
    return np.random.default_rng(seed).normal(size=dims).astype(np.float32)


def _stored(name: str, metadata: Mapping[str, Any]) -> Stored:
    try:
        *namespace, key = read_json(name)
        created, updated, parts, ttl = read_json(metadata["about"])
        texts = [key, *namespace, metadata["value"], created, updated]
        if not all(isinstance(text, str) for text in texts) or type(parts) is not int:
            raise TypeError("of other types")
        float(ttl or 0), float(metadata.get("expires") or 0)
    except (ValueError, LookupError, TypeError) as error:
        raise InputError(f"The collection holds an item that no store wrote: {error}") from error
    return Stored(
        name,
        tuple(namespace),
        key,
        metadata["value"],
        created,
        updated,
        parts,
        ttl,
        metadata.get("expires"),
    )


def _vectors(item: Stored, metadata: Mapping[str, Any], embedding: Vectors) -> Vectors:
    if item.parts == 0:
        return embedding[None][:0]
    if item.parts == 1:
        return embedding[None]
    several = np.frombuffer(base64.b64decode(metadata["vectors"]), dtype="<f4")
    return several.reshape(item.parts, -1).astype(np.float32)


def _pages(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))


@contextmanager
def _failing(name: str | None = None) -> Iterator[None]:
    """What Chroma, its disk or its server raise becomes StoreFailed."""
    import httpx
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, OSError, httpx.HTTPError) as error:
        if name is not None and isinstance(error, ChromaError):
            raise InputError(f"The collection {name!r} cannot be opened: {error}") from error
        raise StoreFailed(f"Chroma did not carry it out: {error}") from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise StoreFailed(f"The database is damaged: {error}") from None
