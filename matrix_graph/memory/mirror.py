"""What a process knows of a store's rows: which there are, the vectors, the fields that filters ask
for, and the values read last.

All of it is read when it is first needed, and kept up to date by `put` and `drop`. Where other
processes write to the same rows, a mirror serves for one batch only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from matrix_graph.boundary.values import read_json
from matrix_graph.memory.matching import matcher
from matrix_graph.memory.matrix import Matrix, Vectors
from matrix_graph.memory.rows import Namespace, Rows, Stored

_CACHED = 32_000_000
"""Characters of the values kept."""

_COLUMNS = 8
"""Fields kept for filters."""


class Mirror:
    """A mirror of `rows`.

    Args:
        exact: Where more vectors than this would have to be read to score them, Chroma's index
            proposes some, if there is one. None: all are read.
    """

    def __init__(self, rows: Rows, exact: int | None = None) -> None:
        self._rows = rows
        self._exact = exact
        self._namespaces: dict[Namespace, dict[str, None]] | None = None
        self._listed: dict[str, Namespace] = {}
        self._values: OrderedDict[str, Stored] = OrderedDict()
        self._size = 0
        self._columns: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._matrix = Matrix()

    @property
    def namespaces(self) -> dict[Namespace, dict[str, None]]:
        """The ids of the items in each namespace that has any, in order of arrival."""
        if self._namespaces is None:
            self._namespaces = {}
            for name in self._rows.ids():
                self._list(name, tuple(read_json(name)[:-1]))
        return self._namespaces

    @property
    def listed(self) -> dict[str, Namespace]:
        """The namespace of each item, by id."""
        return self._listed if self.namespaces else {}

    def under(self, prefix: Sequence[str]) -> list[str]:
        """The ids of all items under a prefix, in order of arrival within their namespaces."""
        n, wanted = len(prefix), tuple(prefix)
        return [
            name
            for namespace, ids in self.namespaces.items()
            if namespace[:n] == wanted
            for name in ids
        ]

    def get(self, ids: Sequence[str]) -> dict[str, Stored]:
        """The items that are there, by id."""
        items = {name: self._values[name] for name in ids if name in self._values}
        missing = [name for name in ids if name not in items]
        if missing:
            more = self._rows.get(missing)
            for item in more.values():
                self._keep(item)
            items |= more
        for name in items:
            self._values.move_to_end(name)
        self._trim()
        return items

    def fitting(self, ids: Sequence[str], wanted: Mapping[str, Any]) -> list[str]:
        """Those of these items whose values fit a filter.

        Raises:
            ValueError: the filter has an unknown operator.
        """
        tests = {name: matcher(limit) for name, limit in wanted.items()}
        for name, fits in tests.items():
            column = self._column(name, ids)
            ids = [i for i in ids if i in column and fits(column[i])]
        return list(ids)

    def nearest(
        self, query: Vectors, ids: Sequence[str], wanted: int, under: Sequence[str]
    ) -> list[tuple[str, float]]:
        """At least `wanted` of these items (those under a prefix, or some of them), if as many have
        vectors, best first, with their scores.
        """
        unread = [name for name in ids if name not in self._matrix]
        if self._exact is not None and len(unread) > self._exact and self._rows.indexed:
            proposed = self._proposed(query, wanted, under)
            some = [name for name in ids if name in proposed]
            self._read_vectors([name for name in some if name not in self._matrix])
            best = self._matrix.best(query, some, wanted)
            if len(best) >= wanted:
                return best
        self._read_vectors(unread)
        return self._matrix.best(query, ids, wanted)

    def put(self, item: Stored, vectors: Vectors) -> None:
        """Take in what was written."""
        name = item.id
        if self._namespaces is not None:
            self._list(name, item.namespace)
        if item.parts or name in self._matrix:
            self._matrix.put(name, vectors)
        self._keep(item)
        self._trim()
        if self._columns:
            value = item.value
            for field, column in self._columns.items():
                column[name] = value.get(field)

    def drop(self, name: str) -> None:
        """Forget what was deleted."""
        self._matrix.drop(name)
        self._forget(name)
        for column in self._columns.values():
            column.pop(name, None)
        namespace = self._listed.pop(name, None)
        if self._namespaces and namespace in self._namespaces:
            self._namespaces[namespace].pop(name, None)
            if not self._namespaces[namespace]:
                del self._namespaces[namespace]

    def postpone(self, name: str, expires: float) -> None:
        """Take in that an item lives longer."""
        if name in self._values:
            self._values[name] = self._values[name]._replace(expires=expires)

    def _list(self, name: str, namespace: Namespace) -> None:
        assert self._namespaces is not None
        if name not in self._listed:
            # One tuple for all items of a namespace.
            self._namespaces.setdefault(namespace, {})[name] = None
            self._listed[name] = namespace

    def _column(self, field: str, ids: Sequence[str]) -> dict[str, Any]:
        column = self._columns.setdefault(field, {})
        self._columns.move_to_end(field)
        if len(self._columns) > _COLUMNS:
            self._columns.popitem(last=False)
        missing = [name for name in ids if name not in column]
        for start in range(0, len(missing), 2_000):
            for name, item in self.get(missing[start : start + 2_000]).items():
                column[name] = item.value.get(field)
        return column

    def _proposed(self, query: Vectors, wanted: int, under: Sequence[str]) -> set[str]:
        n, prefix = len(under), tuple(under)
        namespaces = [ns for ns in self.namespaces if ns[:n] == prefix] if n else None
        count = min(self._rows.count(), 4 * wanted)
        return set(self._rows.nearest(query, namespaces, count))

    def _read_vectors(self, ids: Sequence[str]) -> None:
        for item, vectors in self._rows.with_vectors(ids):
            self._matrix.put(item.id, vectors)

    def _keep(self, item: Stored) -> None:
        self._forget(item.id)
        self._values[item.id] = item
        self._size += len(item.text)

    def _forget(self, name: str) -> None:
        item = self._values.pop(name, None)
        self._size -= len(item.text) if item else 0

    def _trim(self) -> None:
        while self._size > _CACHED:
            self._forget(next(iter(self._values)))
