"""Duplicates: the same prompt again, exactly or nearly.

Locality-sensitive hashing proposes pairs (100 bands of 7 rows miss one in twenty at a similarity of
0.6, and one in 5,000 at 0.7), the signatures screen them, and the exact Jaccard similarity of
character shingles decides. The first of a family stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from matrix_graph.filtering.rows import opening_of
from matrix_graph.filtering.step import Comparing, Comparison, Drop
from matrix_graph.schema import Row

_BANDS, _ROWS, _SHINGLE = 100, 7, 5
_SCREEN = 128
_MARGIN = 0.17
"""Four standard deviations of a similarity of 0.6 as `_SCREEN` hashes estimate it."""
_LIKELY = 16
"""So many rows, those estimated to be most alike, are compared exactly: of many rows that are all
half alike none is a duplicate."""


@dataclass(frozen=True)
class ExactDuplicates(Comparing):
    """Prompts equal after lower-casing and folding white space."""

    name: ClassVar[str] = "exact_duplicates"
    hygiene: ClassVar[bool] = True

    def comparison(self) -> _Exact:
        """See `Comparing`."""
        return _Exact()

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        """See `Comparing`."""
        return self.comparison().compare(rows)


@dataclass(frozen=True)
class NearDuplicates(Comparing):
    """Prompts whose shingles of five characters overlap by `threshold` (Jaccard) or more.

    At 0.6 a prompt of which every seventh word was changed is still recognised.
    """

    name: ClassVar[str] = "near_duplicates"
    hygiene: ClassVar[bool] = True
    threshold: Annotated[float, Field(ge=0.3, le=1)] = 0.6

    def comparison(self) -> _Near:
        """See `Comparing`."""
        return _Near(self.threshold)

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        """See `Comparing`."""
        return self.comparison().compare(rows)


class _Exact(Comparison):
    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[str, int] = {}

    def compare(self, rows: Sequence[Row]) -> list[Drop]:
        self.begin(rows)
        drops = []
        for row in rows:
            text = _folded(row)
            number = self._seen.get(text)
            if number is not None and self.counts[number]:
                drops.append(
                    Drop(row["id"], "exact duplicate", self.ids[number], "no equal prompt")
                )
            else:
                self._seen[text] = self.add(row)
        return drops


class _Near(Comparison):
    """Signatures of all rows in one index; texts and screens by number."""

    def __init__(self, threshold: float) -> None:
        from rensa import RMinHashLSH

        super().__init__()
        self._threshold = threshold
        self._index = RMinHashLSH(threshold, _BANDS * _ROWS, _BANDS)
        self._texts: list[str] = []
        self._screen = np.empty((64, _SCREEN), dtype=np.uint32)

    def compare(self, rows: Sequence[Row]) -> list[Drop]:
        from rensa import RMinHash

        self.begin(rows)
        drops = []
        for row in rows:
            text = _folded(row)
            shingles = _shingles(text)
            signature = RMinHash(_BANDS * _ROWS, 42)
            signature.update(list(shingles))
            screen = np.asarray(signature.digest()[:_SCREEN], dtype=np.uint32)
            most = self._most(self._index.query(signature), screen, shingles)
            if most >= self._threshold:
                drops.append(Drop(row["id"], "near duplicate", round(most, 3), self._threshold))
                continue
            number = self.add(row)
            self._index.insert(number, signature)
            self._texts.append(text)
            self._put_screen(number, screen)
        return drops

    def _most(self, near: Sequence[int], screen: Any, shingles: frozenset[str]) -> float:
        """The greatest similarity to one of the proposed rows that count."""
        near = [number for number in near if self.counts[number]]
        if not near:
            return 0.0
        alike = (self._screen[near] == screen).mean(1)
        likely = np.argsort(-alike, kind="stable")[:_LIKELY]
        candidates = (self._texts[near[n]] for n in likely if alike[n] >= self._threshold - _MARGIN)
        return max((_jaccard(shingles, _shingles(text)) for text in candidates), default=0.0)

    def _put_screen(self, number: int, screen: Any) -> None:
        if number == len(self._screen):
            grown = np.empty((2 * number, _SCREEN), dtype=np.uint32)
            grown[:number] = self._screen
            self._screen = grown
        self._screen[number] = screen


def overlap(one: str, other: str) -> float:
    """The Jaccard similarity of the shingles of two texts."""
    return _jaccard(_shingles(_fold(one)), _shingles(_fold(other)))


def _shingles(text: str) -> frozenset[str]:
    return frozenset(text[i : i + _SHINGLE] for i in range(max(1, len(text) - _SHINGLE + 1)))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


def _folded(row: Row) -> str:
    """All that a model would be given to answer: two conversations may begin alike."""
    return _fold(" ".join(t["content"] for t in opening_of(row) if t["role"] != "assistant"))


def _fold(text: str) -> str:
    return " ".join(text.lower().split())
