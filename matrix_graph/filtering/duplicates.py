"""Exact and near duplicates of prompts: the first of each stays.

Near: MinHash with locality-sensitive hashing proposes pairs (28 bands of 4 rows miss one in 2,000 at a
similarity of 0.7), and the exact Jaccard similarity of character shingles decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from matrix_graph.filtering.rows import prompt_of
from matrix_graph.filtering.step import Drop
from matrix_graph.schema import Row

_BANDS, _ROWS, _SHINGLE = 28, 4, 5


@dataclass(frozen=True)
class ExactDuplicates:
    """Prompts equal after lower-casing and folding white space."""

    name: str = "exact_duplicates"
    compares: bool = True

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        seen = {_folded(row): str(row["id"]) for row in reversed(earlier)}
        drops = []
        for row in rows:
            first = seen.setdefault(_folded(row), row["id"])
            if first != row["id"]:
                drops.append(Drop(row["id"], "exact duplicate", first, "no equal prompt"))
        return drops


@dataclass(frozen=True)
class NearDuplicates:
    """Prompts whose shingles overlap by `threshold` (Jaccard) or more."""

    name: str = "near_duplicates"
    compares: bool = True
    threshold: float = 0.7

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        from rensa import RMinHash, RMinHashLSH

        index = RMinHashLSH(self.threshold, _BANDS * _ROWS, _BANDS)
        kept: list[_Shingled] = []
        drops = []
        for number, row in enumerate([*earlier, *rows]):
            text = _Shingled(_folded(row))
            signature = RMinHash(_BANDS * _ROWS, 42)
            signature.update(list(text.shingles))
            overlap = max((text.jaccard(kept[other]) for other in index.query(signature)), default=0.0)
            if number >= len(earlier) and overlap >= self.threshold:
                drops.append(Drop(row["id"], "near duplicate", round(overlap, 3), self.threshold))
                continue
            index.insert(len(kept), signature)
            kept.append(text)
        return drops


@dataclass(frozen=True)
class _Shingled:
    text: str

    @cached_property
    def shingles(self) -> frozenset[str]:
        return frozenset(self.text[i : i + _SHINGLE] for i in range(max(1, len(self.text) - _SHINGLE + 1)))

    def jaccard(self, other: _Shingled) -> float:
        common = len(self.shingles & other.shingles)
        return common / (len(self.shingles) + len(other.shingles) - common)


def _folded(row: Row) -> str:
    return " ".join(prompt_of(row).lower().split())
