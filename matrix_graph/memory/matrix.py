"""The vectors of many items in one matrix, scored exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
_NOBODY = ""


class Matrix:
    """Unit vectors by the id of their item, several to an item where it has several.

    Rows of what was removed or grew stay empty until half of all are; then the rest moves up.
    """

    def __init__(self) -> None:
        self._vectors: Vectors = np.zeros((0, 0), dtype=np.float32)
        self._owners: list[str] = []
        self._rows: dict[str, range] = {}
        self._empty = 0

    def __contains__(self, owner: str) -> bool:
        return owner in self._rows

    def put(self, owner: str, vectors: Vectors) -> None:
        """Take in an item's vectors, shape (n, dimensions), n may be 0; they replace its others."""
        rows = self._rows.get(owner)
        if rows is None or len(rows) != len(vectors):
            self.drop(owner)
            rows = range(len(self._owners), len(self._owners) + len(vectors))
            self._owners += [owner] * len(vectors)
            self._reserve(len(self._owners), vectors)
            self._rows[owner] = rows
        if len(rows):
            self._vectors[rows.start : rows.stop] = unit(vectors)

    def drop(self, owner: str) -> None:
        """Forget an item."""
        for row in self._rows.pop(owner, range(0)):
            self._owners[row] = _NOBODY
            self._empty += 1
        if self._empty > 100 and 2 * self._empty > len(self._owners):
            self._compact()

    def best(self, query: Vectors, owners: Sequence[str], wanted: int) -> list[tuple[str, float]]:
        """At least `wanted` of these items, if as many have vectors, best first, with the cosine of
        `query` to the nearest of each item's vectors. Ties go to the earlier row.
        """
        rows = self._rows_of(owners)
        if not len(rows):
            return []
        scores = self._scores(unit(query), rows)
        count = 4 * wanted
        while True:
            if count < len(rows):
                chosen = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
            else:
                chosen = np.arange(len(rows))
            best: dict[str, float] = {}
            for place in chosen[np.lexsort((rows[chosen], -scores[chosen]))].tolist():
                best.setdefault(self._owners[rows[place]], float(scores[place]))
            if len(best) >= wanted or len(chosen) == len(rows):
                return list(best.items())
            count *= 4

    def _rows_of(self, owners: Sequence[str]) -> NDArray[np.int64]:
        rows: list[int] = []
        for owner in owners:
            rows += self._rows.get(owner, ())
        return np.array(rows, dtype=np.int64)

    def _scores(self, query: Vectors, rows: NDArray[np.int64]) -> Vectors:
        # Scoring all is cheaper than copying half of them.
        if 2 * len(rows) > len(self._owners):
            scores: Vectors = (self._vectors[: len(self._owners)] @ query)[rows]
        else:
            scores = self._vectors[rows] @ query
        return scores

    def _reserve(self, rows: int, like: Vectors) -> None:
        if rows > len(self._vectors):
            grown = np.zeros((rows + rows // 4 + 8, like.shape[1]), dtype=np.float32)
            grown[: len(self._vectors)] = self._vectors if len(self._vectors) else 0
            self._vectors = grown

    def _compact(self) -> None:
        kept = [row for row, owner in enumerate(self._owners) if owner != _NOBODY]
        self._vectors = self._vectors[kept]
        self._owners = [self._owners[row] for row in kept]
        self._empty = 0
        self._rows = {owner: range(0) for owner in self._rows}
        for row, owner in enumerate(self._owners):
            start = self._rows[owner].start if self._rows[owner] else row
            self._rows[owner] = range(start, row + 1)


def unit(vectors: Vectors) -> Vectors:
    """The same, each scaled to length 1; those of length 0 stay."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return scaled
