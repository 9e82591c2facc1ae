"""Semantic duplicates: prompts that say the same in other words, by embeddings.

All pairs are compared, block by block: exact, and at 20,000 rows still a matter of seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.filtering.rows import prompt_of
from matrix_graph.filtering.step import Comparing, Comparison, Drop
from matrix_graph.resources import opened
from matrix_graph.schema import Row

_BLOCK = 1_024


@dataclass(frozen=True)
class SemanticDuplicates(Comparing):
    """Prompts with a cosine of `threshold` or more to an earlier one that stays (0.9 in DEITA,
    arXiv 2312.15685).

    Attributes:
        context: Its embeddings compare.
    """

    name: ClassVar[str] = "semantic_duplicates"
    hygiene: ClassVar[bool] = True
    embeds: ClassVar[bool] = True
    threshold: Annotated[float, Field(ge=-1, le=1)] = 0.9
    context: Context | None = None

    def comparison(self) -> Comparison:
        """See `Comparing`."""
        if self.context is None:
            raise InputError("semantic_duplicates needs a context whose embeddings compare.")
        return _Semantic(self.threshold, self.context)


class _Semantic(Comparison):
    def __init__(self, threshold: float, context: Context) -> None:
        super().__init__()
        self._threshold = threshold
        self._context = context
        self._vectors: NDArray[np.float32] = np.zeros((0, 0), dtype=np.float32)

    async def compare(self, rows: Sequence[Row]) -> list[Drop]:
        self.begin(rows)
        if not rows:
            return []
        embedder = (await opened(self._context)).embedder
        vectors = await embedder.embed([prompt_of(row) for row in rows])
        drops = []
        for start in range(0, len(rows), _BLOCK):
            block = vectors[start : start + _BLOCK]
            drops += self._block(rows[start : start + _BLOCK], block)
        return drops

    def _block(self, rows: Sequence[Row], vectors: NDArray[np.float32]) -> list[Drop]:
        """Each row against all before the block, and against those of the block that stay."""
        before = len(self.ids)
        counts = np.frombuffer(bytes(self.counts), dtype=bool)
        nearest = np.full(len(rows), -2.0, dtype=np.float32)
        if counts.any():
            nearest = (vectors @ self._vectors[:before][counts].T).max(1)
        inside = vectors @ vectors.T
        stays: list[int] = []
        drops = []
        for number, row in enumerate(rows):
            closest = float(nearest[number])
            if stays:
                closest = max(closest, float(inside[number, stays].max()))
            if closest >= self._threshold:
                value = round(closest, 3)
                drops.append(Drop(row["id"], "semantic duplicate", value, self._threshold))
                continue
            stays.append(number)
            self._put(self.add(row), vectors[number])
        return drops

    def _put(self, number: int, vector: NDArray[np.float32]) -> None:
        if number >= len(self._vectors):
            grown = np.zeros((max(64, 2 * number), len(vector)), dtype=np.float32)
            if number:
                grown[:number] = self._vectors[:number]
            self._vectors = grown
        self._vectors[number] = vector
