"""What `ChromaStore` needs of Chroma: rows by id, by namespace, and by similarity.

A row's metadata is two strings, its namespace and its content, both JSON: Chroma pays for each
entry. Reads and writes go in pages, since SQLite takes a bounded number of variables in a
statement. A row without a vector gets a number of its own as one: equal points would slow the index
down.
"""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from matrix_graph.errors import InputError

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.types import Where

Namespace = tuple[str, ...]
_PAGE = 2_000
_WRITE = 250
"""Rows per write: Chroma keeps Python's lock while it takes them in, and the event loop waits for
it.
"""

_NAMESPACES = 500
"""Namespaces per query."""


class Row(NamedTuple):
    """A row: where it belongs and any JSON."""

    namespace: Namespace
    item: Any


LOCK = ".lock"


@dataclass
class Known:
    """What this process knows of a collection that it alone writes: shared by all who opened it
    here.

    `ids` (hashes of all that were ever there) and `namespaces` are None until they were read.
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    ids: set[int] | None = None
    namespaces: set[Namespace] | None = None


_held: dict[Path, tuple[FileLock, int]] = {}
_known: dict[tuple[Path, str], Known] = {}


def known_of(folder: Path | None, collection: str) -> Known:
    """The knowledge of a held folder's collection; a new one where nothing is held."""
    return Known() if folder is None else _known.setdefault((folder, collection), Known())


def hold(path: Path | str) -> Path:
    """Claim a folder for this process; claims are counted.

    Raises:
        InputError: another process has it.
    """
    folder = Path(path).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lock, users = _held.get(folder) or (FileLock(folder / LOCK), 0)
    try:
        if not users:
            lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"{path} is open in another process. Close it there, name another folder, "
            "or run a Chroma server and pass client=."
        ) from error
    _held[folder] = (lock, users + 1)
    return folder


def let_go(folder: Path | None) -> None:
    """Give back one claim."""
    if folder is None:
        return
    lock, users = _held.pop(folder)
    if users > 1:
        _held[folder] = (lock, users - 1)
    else:
        for key in [key for key in _known if key[0] == folder]:
            del _known[key]
        lock.release()


def open_client(path: Path | str | None) -> ClientAPI:
    """An embedded Chroma client, on disk or in memory, that reports nothing to anybody."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    return (
        chromadb.PersistentClient(str(path), settings)
        if path
        else chromadb.EphemeralClient(settings)
    )


class Table:
    """One Chroma collection.

    Args:
        made_with: What must not change while the collection lives.

    Raises:
        InputError: the collection was made with something else.
    """

    def __init__(self, client: ClientAPI, name: str, made_with: Mapping[str, Any]) -> None:
        # Rows without vectors are never looked up by similarity: the smallest index does, merged
        # early.
        least = {
            "space": "l2",
            "max_neighbors": 2,
            "ef_construction": 2,
            "batch_size": 100,
            "sync_threshold": 250,
        }
        configuration: Any = {"hnsw": {"space": "cosine"} if "dims" in made_with else least}
        self._rows = client.get_or_create_collection(
            name, embedding_function=None, metadata=dict(made_with), configuration=configuration
        )
        made = {key: (self._rows.metadata or {}).get(key) for key in made_with}
        if made != made_with:
            raise InputError(
                f"The Chroma collection {name!r} was made with {made}, but {made_with} is asked "
                "for. "
                "Use the embeddings it was made with, or another folder or collection name."
            )

    def get(self, ids: Sequence[str]) -> dict[str, Row]:
        """The rows that are there, by id."""
        by_id: dict[str, Row] = {}
        for page in _pages(list(dict.fromkeys(ids))):
            rows = self._rows.get(ids=page, include=["metadatas"])
            by_id.update(zip(rows["ids"], map(_row, rows["metadatas"] or []), strict=True))
        return by_id

    def ids(self) -> list[str]:
        """The ids of all rows."""
        return list(self._rows.get(include=[])["ids"])

    def scan(self, under: Sequence[Namespace] | None, skip: int = 0) -> Iterator[Row]:
        """All rows of these namespaces (of all if None), past the first `skip`."""
        for where in _conditions(under):
            here = len(self._rows.get(where=where, include=[])["ids"]) if skip else 0
            if skip and skip >= here:
                skip -= here
                continue
            page = _PAGE
            while page == _PAGE:
                rows = (
                    self._rows.get(where=where, include=["metadatas"], limit=_PAGE, offset=skip)[
                        "metadatas"
                    ]
                    or []
                )
                yield from map(_row, rows)
                page = len(rows)
                skip += page
            skip = 0

    def upsert(
        self, rows: Mapping[str, Row], vectors: Sequence[Sequence[float]] | None = None
    ) -> None:
        """Write rows; `vectors` in their order."""
        ids = list(rows)
        for start, page in zip(range(0, len(ids), _WRITE), _pages(ids, _WRITE), strict=True):
            points = (
                vectors[start : start + _WRITE]
                if vectors is not None
                else [[zlib.crc32(i.encode())] for i in page]
            )
            metadatas: Any = [_metadata(rows[i]) for i in page]
            self._rows.upsert(
                ids=page, embeddings=np.asarray(points, dtype=np.float32), metadatas=metadatas
            )

    def delete(self, ids: Sequence[str]) -> None:
        """Delete rows; those that are not there do not matter."""
        for page in _pages(list(ids)):
            self._rows.delete(ids=page)

    def nearest(
        self,
        query: NDArray[np.float32],
        under: Sequence[Namespace] | None,
        wanted: int | None,
        exact: int,
    ) -> Iterator[tuple[Row, float]]:
        """Rows of these namespaces with their cosine similarity to `query`.

        Up to `exact` rows in the table all of them, scored exactly; beyond, the `4 × wanted` (all
        if None) that Chroma's index finds nearest.
        """
        total, include = self._rows.count(), ["metadatas", "embeddings"]
        for where in _conditions(under):
            rows: Any
            if total <= exact:
                rows = self._rows.get(where=where, include=include)  # type: ignore[arg-type]
                metadatas, embeddings = rows["metadatas"], rows["embeddings"]
            else:
                count = min(total, 4 * wanted) if wanted else total
                asked: Any = {"query_embeddings": [query], "include": include}
                rows = self._rows.query(n_results=count, where=where, **asked)
                metadatas, embeddings = rows["metadatas"][0], rows["embeddings"][0]
            if len(metadatas):
                scores = _cosine(np.asarray(embeddings, dtype=np.float32), query)
                yield from zip(map(_row, metadatas), scores.tolist(), strict=True)


def _metadata(row: Row) -> dict[str, str]:
    return {
        "namespace": json.dumps(row.namespace),
        "item": json.dumps(row.item, ensure_ascii=False),
    }


def _row(metadata: Mapping[str, Any]) -> Row:
    return Row(tuple(json.loads(metadata["namespace"])), json.loads(metadata["item"]))


def _cosine(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    scores: NDArray[np.float32] = np.divide(
        vectors @ query, norms, out=np.zeros_like(norms), where=norms > 0
    )
    return scores


def _conditions(under: Sequence[Namespace] | None) -> Iterator[Where | None]:
    """The conditions that together select these namespaces, a bounded number in each."""
    if under is None:
        yield None
        return
    names = [json.dumps(namespace) for namespace in under]
    for start in range(0, len(names), _NAMESPACES):
        part = names[start : start + _NAMESPACES]
        yield {"namespace": part[0]} if len(part) == 1 else {"namespace": {"$in": part}}  # type: ignore[dict-item]


def _pages(ids: list[str], size: int = _PAGE) -> Iterator[list[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
