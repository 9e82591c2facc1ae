"""Semantic duplicates: prompts that say the same in other words, by embeddings.

All pairs are compared, block by block: exact, and at 20,000 rows still a matter of seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from matrix_graph.context import Context, opened
from matrix_graph.filtering.rows import prompt_of
from matrix_graph.filtering.step import Drop
from matrix_graph.schema import Row

_BLOCK = 1_024


@dataclass(frozen=True)
class SemanticDuplicates:
    """Prompts with a cosine of `threshold` or more to an earlier one that stays (0.9 in DEITA,
    arXiv 2312.15685).

    The embeddings are those of `context`.
    """

    context: Context
    name: str = "semantic_duplicates"
    compares: bool = True
    embeds: bool = True
    threshold: float = 0.9

    async def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        texts = [prompt_of(row) for row in [*earlier, *rows]]
        vectors = await (await opened(self.context)).embedder.embed(texts)
        stays = np.ones(len(texts), dtype=bool)
        drops = []
        for start in range(0, len(texts), _BLOCK):
            block = vectors[start : start + _BLOCK]
            before = block @ vectors[: start + len(block)].T
            for offset in range(len(block)):
                number = start + offset
                near = np.flatnonzero((before[offset, :number] >= self.threshold) & stays[:number])
                if number >= len(earlier) and len(near):
                    stays[number] = False
                    closest = round(float(before[offset, near].max()), 3)
                    drops.append(
                        Drop(
                            rows[number - len(earlier)]["id"],
                            "semantic duplicate",
                            closest,
                            self.threshold,
                        )
                    )
        return drops
