"""Judges: what models say of a row's quality, difficulty, category and safety, and how far they
agree.

A judgement that cannot be read is asked for again, and never counts as a low one; a row that no
judge could judge goes, with that reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field

from matrix_graph.boundary.quoting import talk
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed
from matrix_graph.filtering.columns import judge_of
from matrix_graph.filtering.progress import counted
from matrix_graph.filtering.rows import answer_of, is_safety, opening_of
from matrix_graph.filtering.step import Drop, Finding, Grade, Note, Share, Step, in_order
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.tasks import gather_to_end
from matrix_graph.resources import opened
from matrix_graph.schema import Row

Category = Literal[
    "advice",
    "explanation",
    "information",
    "writing",
    "planning",
    "calculation",
    "reasoning",
    "coding",
    "conversation",
    "other",
]


class Judgement(BaseModel):
    """What a judge says of a row."""

    reason: str = Field(max_length=200)
    quality: int = Field(ge=1, le=10)
    difficulty: int = Field(ge=1, le=10)
    category: Category
    safe: bool


@dataclass(frozen=True)
class Judge(Step):
    """Notes in `judge` the mean quality and difficulty (1 to 10), the commonest category, whether
    all judges hold the answer safe, their agreement (1: all gave one quality; 0: the extremes, or
    only one of several could be read), and what each said.

    Attributes:
        judges: A context each; its model judges.
    """

    judges: tuple[Context, ...]
    name: ClassVar[str] = "judge"
    measures: ClassVar[tuple[str, ...]] = ("judge",)

    async def find(self, rows: Sequence[Row]) -> list[Finding]:
        return await gather_to_end(counted("judge", map(self._judge, rows), len(rows)))

    async def _judge(self, row: Row) -> Finding:
        verdicts: list[dict[str, Any]] = []
        reason = ""
        for number, context in enumerate(self.judges, 1):
            res = await opened(context)
            messages = res.prompts.render("judge", request=spoken(row), answer=answer_of(row))
            slot = Slot(stage="filter", who=row["id"], what="judge", part=str(number))
            try:
                answer = await res.model.parsed(slot, messages, Judgement, max_tokens=200)
            except CallFailed as error:
                reason = error.reason
                continue
            verdicts.append({"model": res.model.name, **answer.value.model_dump()})
        if not verdicts:
            return Drop(row["id"], "not judged", reason, "an answer that can be read")
        return Note(row["id"], {"judge": _together(verdicts, len(self.judges))})


@dataclass(frozen=True)
class Judged(Step):
    """Rows that the judges hold poor, too easy or too hard, unsafe, or about which they disagree.

    Safety rows are exempt from what is said of difficulty.
    """

    name: ClassVar[str] = "judged"
    min_quality: Grade = 5.0
    min_difficulty: Grade = 0.0
    max_difficulty: Grade = 10.0
    min_agreement: Share = 0.0
    safe: bool = True

    def __post_init__(self) -> None:
        in_order("min_difficulty", self.min_difficulty, "max_difficulty", self.max_difficulty)

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return [
            drop for row in rows if (judge := judge_of(row)) and (drop := self._judge(row, judge))
        ]

    def _judge(self, row: Row, judge: dict[str, Any]) -> Drop | None:
        if judge["quality"] < self.min_quality:
            return Drop(row["id"], "low quality", judge["quality"], self.min_quality)
        if self.safe and not judge["safe"]:
            return Drop(row["id"], "unsafe", "a judge holds it unsafe", "safe")
        if judge["agreement"] < self.min_agreement:
            return Drop(row["id"], "judges disagree", judge["agreement"], self.min_agreement)
        if not is_safety(row) and judge["difficulty"] < self.min_difficulty:
            return Drop(row["id"], "too easy", judge["difficulty"], self.min_difficulty)
        if not is_safety(row) and judge["difficulty"] > self.max_difficulty:
            return Drop(row["id"], "too hard", judge["difficulty"], self.max_difficulty)
        return None


def spoken(row: Row) -> str:
    """The conversation up to the answer, for a judge to read."""
    turns = opening_of(row)
    if len(turns) == 1:
        return turns[0]["content"]
    return talk((turn["role"], turn["content"]) for turn in turns)


def _together(verdicts: list[dict[str, Any]], asked: int) -> dict[str, Any]:
    qualities = [s["quality"] for s in verdicts]
    apart = [abs(a - b) / 9 for a, b in combinations(qualities, 2)]
    return {
        "quality": round(fmean(qualities), 3),
        "difficulty": round(fmean(s["difficulty"] for s in verdicts), 3),
        "category": Counter(s["category"] for s in verdicts).most_common(1)[0][0],
        "safe": all(s["safe"] for s in verdicts),
        "agreement": round(1 - fmean(apart), 3) if apart else float(asked == 1),
        "said": verdicts,
    }
