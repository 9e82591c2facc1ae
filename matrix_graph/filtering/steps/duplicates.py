"""Duplicates: the same prompt again, exactly or nearly.

Locality-sensitive hashing proposes pairs (100 bands of 7 rows miss one in twenty at a similarity of
0.6, and one in 5,000 at 0.7), the signatures screen them, and the exact Jaccard similarity of
character shingles decides. The first of a family stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matrix_graph.filtering.rows import opening_of
from matrix_graph.filtering.step import Drop
from matrix_graph.schema import Row

_BANDS, _ROWS, _SHINGLE = 100, 7, 5
_SCREEN = 128
_MARGIN = 0.17
"""Four standard deviations of a similarity of 0.6 as `_SCREEN` hashes estimate it."""


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
    """Prompts whose shingles of five characters overlap by `threshold` (Jaccard) or more.

    At 0.6 a prompt of which every seventh word was changed is still found.
    """

    name: str = "near_duplicates"
    compares: bool = True
    threshold: float = 0.6

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        from rensa import RMinHash, RMinHashLSH

        index = RMinHashLSH(self.threshold, _BANDS * _ROWS, _BANDS)
        texts: list[str] = []
        screen = np.empty((len(earlier) + len(rows), _SCREEN), dtype=np.uint32)
        drops = []
        for number, row in enumerate([*earlier, *rows]):
            text = _folded(row)
            shingles = _shingles(text)
            signature = RMinHash(_BANDS * _ROWS, 42)
            signature.update(list(shingles))
            digest = np.asarray(signature.digest()[:_SCREEN], dtype=np.uint32)
            most = 0.0
            if near := index.query(signature):
                alike = (screen[near] == digest).mean(1) >= self.threshold - _MARGIN
                most = max(
                    (_jaccard(shingles, _shingles(texts[near[n]])) for n in np.flatnonzero(alike)),
                    default=0,
                )
            if number >= len(earlier) and most >= self.threshold:
                drops.append(Drop(row["id"], "near duplicate", round(most, 3), self.threshold))
                continue
            index.insert(len(texts), signature)
            screen[len(texts)] = digest
            texts.append(text)
        return drops


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
    return _fold(
        " ".join(turn["content"] for turn in opening_of(row) if turn["role"] != "assistant")
    )


def _fold(text: str) -> str:
    return " ".join(text.lower().split())
