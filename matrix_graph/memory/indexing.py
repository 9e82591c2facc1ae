"""Which texts of a value are embedded, and their vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    IndexConfig,
    Op,
    PutOp,
    SearchOp,
    ensure_embeddings,
    get_text_at_path,
    tokenize_path,
)

from matrix_graph.errors import InputError
from matrix_graph.memory.matrix import Vectors

PROBE = "The ferry leaves at noon."
"""Embedded once in a process, to see that the embeddings are those of the collection."""


_KEYS = ("dims", "embed", "fields", "text_fields", "distance_type", "ann_index_config")
"""LangGraph's own, and those of its SqliteStore and PostgresStore."""


class Embedded(NamedTuple):
    """Vectors by text: of what is put, and of what is searched for."""

    documents: dict[str, Vectors]
    queries: dict[str, Vectors]


def checked_keys(what: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """See that a configuration holds nothing that would be passed over.

    Raises:
        InputError: it does.
    """
    if strangers := given.keys() - set(known):
        raise InputError(f"{what}= has no {', '.join(sorted(strangers))}, but {', '.join(known)}.")


class Indexing:
    """LangGraph's index configuration, carried out.

    Raises:
        InputError: `dims` or `embed` is missing or makes no sense.
    """

    def __init__(self, index: IndexConfig) -> None:
        checked_keys("index", index, _KEYS)
        if (distance := index.get("distance_type", "cosine")) != "cosine":
            raise InputError(f"index['distance_type'] is {distance!r}; ChromaStore has cosine.")
        dims: Any = index.get("dims")
        if not isinstance(dims, int) or dims < 1:
            raise InputError(f"index['dims'] is {dims!r}; give the length of the vectors.")
        if "embed" not in index:
            raise InputError("index['embed'] is missing; give embeddings or a function.")
        self.dims: int = dims
        self.embeddings: Embeddings = ensure_embeddings(index["embed"])
        # `text_fields` is what LangGraph's SqliteStore and PostgresStore read.
        named: Any = index.get("fields") or index.get("text_fields") or ["$"]
        self._fields = _paths([named] if isinstance(named, str) else named)

    @property
    def name(self) -> str | None:
        """The embedding model's name, where it has one."""
        for attribute in ("model", "model_name", "model_id"):
            name = getattr(self.embeddings, attribute, None)
            if isinstance(name, str):
                return name
        return None

    def texts(self, op: PutOp) -> list[str]:
        """The texts of a value that are embedded."""
        if op.value is None or op.index is False:
            return []
        fields = self._fields if op.index is None else _paths(op.index)
        return [text for field in fields for text in get_text_at_path(op.value, field)]

    def embed(self, ops: Sequence[Op], probe: bool) -> Embedded:
        """The vectors that these operations need, and with `probe` that of PROBE.

        Raises:
            InputError: they have other dimensions than the index says.
        """
        documents, queries = self._needed(ops, probe)
        vectors = self.embeddings.embed_documents(documents) if documents else []
        return self._embedded(
            documents, vectors, queries, [self.embeddings.embed_query(query) for query in queries]
        )

    async def aembed(self, ops: Sequence[Op], probe: bool) -> Embedded:
        """As `embed`."""
        documents, queries = self._needed(ops, probe)
        vectors = await self.embeddings.aembed_documents(documents) if documents else []
        points = [await self.embeddings.aembed_query(query) for query in queries]
        return self._embedded(documents, vectors, queries, points)

    def _needed(self, ops: Sequence[Op], probe: bool) -> tuple[list[str], list[str]]:
        documents = [text for op in ops if isinstance(op, PutOp) for text in self.texts(op)]
        queries = [op.query for op in ops if isinstance(op, SearchOp) and op.query]
        if probe and (documents or queries):
            documents.append(PROBE)
        return list(dict.fromkeys(documents)), list(dict.fromkeys(queries))

    def _embedded(
        self,
        documents: Sequence[str],
        vectors: Sequence[Sequence[float]],
        queries: Sequence[str],
        points: Sequence[Sequence[float]],
    ) -> Embedded:
        return Embedded(
            dict(zip(documents, map(self._checked, vectors), strict=True)),
            dict(zip(queries, map(self._checked, points), strict=True)),
        )

    def _checked(self, vector: Sequence[float]) -> Vectors:
        point = np.asarray(vector, dtype=np.float32)
        if point.shape != (self.dims,):
            raise InputError(
                f"The embeddings give {point.size} numbers, but index['dims'] is {self.dims}."
            )
        if not np.isfinite(point).all():
            raise InputError("The embeddings gave something that is no finite number.")
        return point


def _paths(fields: Sequence[str]) -> list[str | list[str]]:
    # "$" stands for the whole value, and only as a string.
    return [field if field == "$" else tokenize_path(field) for field in fields]
