"""A batch of operations: checked before anything is done, then waiting to be carried out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Self
from uuid import UUID

import numpy as np
from langgraph.store.base import (
    GetOp,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchOp,
    validate_op_namespace,
)

from matrix_graph.errors import InputError
from matrix_graph.memory.indexing import Embedded, Indexing
from matrix_graph.memory.matrix import Vectors
from matrix_graph.memory.rows import Stored, row_id


@dataclass
class Batch:
    """Operations, and what they come to.

    Attributes:
        gets: The ids that are read, by the operation's place.
        puts: The last put of each id.
        texts: The values of the puts as JSON, None where one deletes.
        done: Takes the results, or an error.
    """

    ops: list[Op]
    gets: dict[int, str] = field(default_factory=dict)
    puts: dict[str, PutOp] = field(default_factory=dict)
    texts: dict[str, str | None] = field(default_factory=dict)
    embedded: Embedded = field(default_factory=lambda: Embedded({}, {}))
    done: Future[list[Result]] = field(default_factory=Future)

    @classmethod
    def of(cls, ops: Iterable[Op]) -> Self:
        """The batch of these operations.

        Raises:
            TypeError: a value is not JSON, a time or a UUID.
            ValueError: an unknown operation, or a bad namespace.
            InputError: a time to live that is none.
        """
        batch = cls(list(ops))
        for place, op in enumerate(batch.ops):
            validate_op_namespace(op)
            if isinstance(op, GetOp):
                batch.gets[place] = row_id(op.namespace, op.key)
            elif isinstance(op, PutOp):
                name = row_id(op.namespace, op.key)
                _check_encodable(name)
                if not isinstance(op.value, dict | None):
                    raise TypeError(f"A value is a dict, not {type(op.value).__name__}.")
                batch.texts[name] = None if op.value is None else _json(op.value)
                batch.puts[name] = op
                if op.ttl is not None and not (isinstance(op.ttl, int | float) and op.ttl >= 0):
                    raise InputError(f"ttl is {op.ttl!r}; give minutes, or None for ever.")
            elif not isinstance(op, SearchOp | ListNamespacesOp):
                raise ValueError(f"Unknown operation type: {type(op)}")
        return batch

    @property
    def names(self) -> list[str]:
        """The ids of all that is read or put."""
        return [*self.gets.values(), *self.puts]

    @property
    def looks_around(self) -> bool:
        """Whether it reads more than single items."""
        return any(isinstance(op, SearchOp | ListNamespacesOp) for op in self.ops)

    def made(
        self, name: str, old: Stored | None, indexing: Indexing | None, dims: int
    ) -> tuple[Stored, Vectors] | None:
        """The item that the put of an id makes and its vectors, shape (parts, dims); None where it
        deletes.
        """
        op, text = self.puts[name], self.texts[name]
        if text is None:
            return None
        parts = indexing.texts(op) if indexing else []
        points = [self.embedded.documents[part] for part in parts]
        vectors = np.stack(points) if points else np.zeros((0, dims), dtype=np.float32)
        now = datetime.now(UTC)
        item = Stored(
            name,
            op.namespace,
            op.key,
            text,
            created=old.created if old else now.isoformat(),
            updated=now.isoformat(),
            parts=len(points),
            ttl=op.ttl,
            expires=None if op.ttl is None else now.timestamp() + 60 * op.ttl,
        )
        return item, vectors


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=_plain)
    _check_encodable(text)
    return text


def _check_encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise TypeError(f"Half of a surrogate pair cannot be stored: {text!r:.100}") from error


def _plain(value: Any) -> str:
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON serializable: {value!r:.100}")
