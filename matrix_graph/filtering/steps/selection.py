"""Selection to a budget: the best by complexity × quality that are not too much alike (DEITA, arXiv
2312.15685).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.filtering.columns import judge_of
from matrix_graph.filtering.rows import is_safety, prompt_of
from matrix_graph.filtering.step import Drop, Step
from matrix_graph.resources import opened
from matrix_graph.schema import Row


@dataclass(frozen=True)
class Select(Step):
    """Goes down the rows by difficulty × quality as judged, and takes each whose cosine to all
    taken is at most `max_cosine`, until there are `budget`. Safety rows, easy as they are, go
    first.

    Attributes:
        budget: Rows to keep; 10,000 by default, as many as the paper's SFT set (arXiv 2410.14251).
        context: Its embeddings compare.

    Raises:
        InputError: a row was not judged.
    """

    name: ClassVar[str] = "select"
    embeds: ClassVar[bool] = True
    budget: Annotated[int, Field(ge=1)] = 10_000
    max_cosine: Annotated[float, Field(ge=-1, le=1)] = 0.9
    context: Context | None = None

    async def find(self, rows: Sequence[Row]) -> list[Drop]:
        judged = [judge_of(row) for row in rows]
        if any(judge is None for judge in judged):
            raise InputError(
                "Selection goes by what a judge says of quality and difficulty; name one (--judge)."
            )
        vectors = await (await opened(self.context)).embedder.embed(
            [prompt_of(row) for row in rows]
        )
        scores = [judge["quality"] * judge["difficulty"] if judge else 0.0 for judge in judged]
        taken = np.empty(
            (min(self.budget, len(rows)), vectors.shape[1] if len(rows) else 0), dtype=np.float32
        )
        count, drops = 0, []
        for number in sorted(
            range(len(rows)), key=lambda n: (not is_safety(rows[n]), -scores[n], n)
        ):
            if count == self.budget:
                drops.append(
                    Drop(
                        rows[number]["id"],
                        "beyond the budget",
                        round(scores[number], 3),
                        self.budget,
                    )
                )
                continue
            nearest = float((taken[:count] @ vectors[number]).max()) if count else -1.0
            if nearest > self.max_cosine:
                drops.append(
                    Drop(
                        rows[number]["id"],
                        "too like a better one",
                        round(nearest, 3),
                        self.max_cosine,
                    )
                )
                continue
            taken[count] = vectors[number]
            count += 1
        return drops
