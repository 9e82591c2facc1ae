"""What `ChromaStore` needs of Chroma: rows with metadata by id, by namespace prefix, and by similarity.

Reads and writes go in pages, since SQLite takes a bounded number of variables in a statement. A row
without a vector gets a number of its own as one: equal points would slow the index down.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from matrix_graph.errors import InputError

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.types import Where

Metadata = dict[str, Any]
_PAGE = 2_000
_WRITE = 250
"""Rows per write: Chroma keeps Python's lock while it takes them in, and the event loop waits for it."""

_held: dict[Path, tuple[FileLock, int]] = {}


def hold(path: Path | str) -> Path:
    """Claim a folder for this process; claims are counted.

    Raises:
        InputError: another process has it.
    """
    folder = Path(path).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    lock, users = _held.get(folder) or (FileLock(folder / ".lock"), 0)
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
        lock.release()


def open_client(path: Path | str | None) -> ClientAPI:
    """An embedded Chroma client, on disk or in memory, that reports nothing to anybody."""
    import chromadb
    from chromadb.config import Settings

    settings = Settings(anonymized_telemetry=False)
    return chromadb.PersistentClient(str(path), settings) if path else chromadb.EphemeralClient(settings)


class Table:
    """One Chroma collection.

    Args:
        made_with: What must not change while the collection lives.

    Raises:
        InputError: the collection was made with something else.
    """

    def __init__(self, client: ClientAPI, name: str, made_with: Metadata) -> None:
        space = {"hnsw": {"space": "cosine" if "dims" in made_with else "l2"}}
        self._rows = client.get_or_create_collection(
            name,
            embedding_function=None,
            metadata=made_with,
            configuration=space,  # type: ignore[arg-type]
        )
        found = {key: (self._rows.metadata or {}).get(key) for key in made_with}
        if found != made_with:
            raise InputError(
                f"The Chroma collection {name!r} was made with {found}, but {made_with} is asked for. "
                "Use the embeddings it was made with, or another folder or collection name."
            )

    def get(self, ids: Sequence[str]) -> dict[str, Metadata]:
        """The metadata of the rows that are there, by id."""
        found: dict[str, Metadata] = {}
        for page in _pages(list(dict.fromkeys(ids))):
            rows = self._rows.get(ids=page, include=["metadatas"])
            found.update(zip(rows["ids"], map(dict, rows["metadatas"] or []), strict=True))
        return found

    def ids(self) -> list[str]:
        """The ids of all rows."""
        return list(self._rows.get(include=[])["ids"])

    def scan(self, prefix: Sequence[str], skip: int = 0) -> Iterator[Metadata]:
        """The metadata of all rows under a namespace prefix, past the first `skip`."""
        page = _PAGE
        while page == _PAGE:
            rows = (
                self._rows.get(where=_under(prefix), include=["metadatas"], limit=_PAGE, offset=skip)["metadatas"] or []
            )
            yield from map(dict, rows)
            page = len(rows)
            skip += page

    def upsert(self, rows: Mapping[str, Metadata], vectors: Sequence[Sequence[float]] | None = None) -> None:
        """Write rows; `vectors` in their order."""
        ids = list(rows)
        for start, page in zip(range(0, len(ids), _WRITE), _pages(ids, _WRITE), strict=True):
            own = vectors[start : start + _WRITE] if vectors is not None else [[zlib.crc32(i.encode())] for i in page]
            metadatas: Any = [rows[i] for i in page]
            self._rows.upsert(ids=page, embeddings=np.asarray(own, dtype=np.float32), metadatas=metadatas)

    def delete(self, ids: Sequence[str]) -> None:
        """Delete rows; those that are not there do not matter."""
        for page in _pages(list(ids)):
            self._rows.delete(ids=page)

    def nearest(
        self, query: NDArray[np.float32], prefix: Sequence[str], wanted: int | None, exact: int
    ) -> Iterator[tuple[Metadata, float]]:
        """Rows under a prefix with their cosine similarity to `query`.

        Up to `exact` rows in the table all of them, scored exactly; beyond, the `4 × wanted` (all if
        None) that Chroma's index finds nearest.
        """
        total = self._rows.count()
        where, include = _under(prefix), ["metadatas", "embeddings"]
        if total <= exact:
            rows: Any = self._rows.get(where=where, include=include)  # type: ignore[arg-type]
            metadatas, embeddings = rows["metadatas"], rows["embeddings"]
        else:
            count = min(total, 4 * wanted) if wanted else total
            rows = self._rows.query(query_embeddings=[query], n_results=count, where=where, include=include)  # type: ignore[arg-type]
            metadatas, embeddings = rows["metadatas"][0], rows["embeddings"][0]
        if len(metadatas):
            scores = _cosine(np.asarray(embeddings, dtype=np.float32), query)
            yield from zip(map(dict, metadatas), scores.tolist(), strict=True)


def _cosine(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    scores: NDArray[np.float32] = np.divide(vectors @ query, norms, out=np.zeros_like(norms), where=norms > 0)
    return scores


def _under(prefix: Sequence[str]) -> Where | None:
    conditions: list[Where] = [{f"n{i}": label} for i, label in enumerate(prefix)]
    return {"$and": conditions} if len(conditions) > 1 else conditions[0] if conditions else None


def _pages(ids: list[str], size: int = _PAGE) -> Iterator[list[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
