"""Preference pairs: made from the student's responses, compared by a judge in both orders, and
audited.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from matrix_graph.context import Context
from matrix_graph.errors import CallFailed
from matrix_graph.filtering.columns import margin_of, preference_of, responses_of, rewards_of
from matrix_graph.filtering.progress import counted
from matrix_graph.filtering.rows import answer_of, answers_of, is_safety, opening_of
from matrix_graph.filtering.step import Drop, Finding, Note, Share, Step
from matrix_graph.filtering.steps.duplicates import overlap
from matrix_graph.filtering.steps.rewards import prefer
from matrix_graph.llm.tasks import gather_to_end
from matrix_graph.schema import Row

NEAR = 0.9
"""Overlap from which chosen and rejected count as one text."""


@dataclass(frozen=True)
class Pairs(Step):
    """Rows with `responses` become pairs; others, and safety rows, stay as they are.

    Attributes:
        mode: `best-worst` of the responses by reward (SimPO, Magpie), or `teacher-student`: the
            row's own answer over the student's worst response (its first, without rewards; arXiv
            2410.14251).
        length_coefficient: What a standard deviation of length takes off a standard deviation of
            reward (0.2 in CoT-Self-Instruct, arXiv 2507.23751).
        min_margin: Pairs whose rewards lie closer go (`best-worst`).
    """

    name: ClassVar[str] = "pairs"
    mode: Literal["best-worst", "teacher-student"] = "best-worst"
    length_coefficient: float = 0.0
    min_margin: float = 0.0

    def find(self, rows: Sequence[Row]) -> list[Finding]:
        return [self._made(row) for row in rows if responses_of(row) and not is_safety(row)]

    def _made(self, row: Row) -> Finding:
        responses, rewards = responses_of(row), rewards_of(row)
        scored = len(rewards) == len(responses)
        if self.mode == "teacher-student":
            rejected = responses[int(np.argmin(self._scores(row)))] if scored else responses[0]
            if rejected.strip() == answer_of(row).strip():
                return Drop(row["id"], "identical responses", "chosen is rejected", "two answers")
            return _pair(row, answer_of(row), rejected)
        if len(set(responses)) == 1:
            return Drop(row["id"], "identical responses", 1, "two answers at least")
        if not scored:
            return Drop(row["id"], "no reward", "none", "rewards to choose by")
        scores = self._scores(row)
        best, worst = int(np.argmax(scores)), int(np.argmin(scores))
        margin = rewards[best] - rewards[worst]
        if (
            scores[best] == scores[worst]
            or responses[best] == responses[worst]
            or margin < self.min_margin
        ):
            return Drop(row["id"], "no margin", round(float(margin), 6), self.min_margin)
        scores_of_pair = {"chosen_score": rewards[best], "rejected_score": rewards[worst]}
        return _pair(row, responses[best], responses[worst], scores_of_pair)

    def _scores(self, row: Row) -> Any:
        rewards = np.asarray(rewards_of(row), dtype=float)
        if not self.length_coefficient:
            return rewards
        lengths = np.asarray([len(response) for response in responses_of(row)], dtype=float)
        return _standard(rewards) - self.length_coefficient * _standard(lengths)


@dataclass(frozen=True)
class PairShape(Step):
    """Pairs whose answers are all but one text, or whose chosen answer is so many times longer than
    the rejected.
    """

    name: ClassVar[str] = "pair_shape"
    near_identical: Share = NEAR
    max_length_ratio: Annotated[float, Field(gt=0)] | None = None

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return [
            drop for row in rows if (texts := _texts(row)) and (drop := self._judge(row, *texts))
        ]

    def _judge(self, row: Row, chosen: str, rejected: str) -> Drop | None:
        alike = overlap(chosen, rejected)
        if alike >= self.near_identical:
            return Drop(row["id"], "near-identical pair", round(alike, 3), self.near_identical)
        ratio = len(chosen) / max(1, len(rejected))
        if self.max_length_ratio is not None and ratio > self.max_length_ratio:
            return Drop(row["id"], "chosen much longer", round(ratio, 3), self.max_length_ratio)
        return None


@dataclass(frozen=True)
class Compare(Step):
    """Notes in `preference` what the chosen answer wins against the rejected, shown first and shown
    second.
    """

    context: Context
    name: ClassVar[str] = "compare"
    measures: ClassVar[tuple[str, ...]] = ("preference",)

    async def find(self, rows: Sequence[Row]) -> list[Finding]:
        pairs = [row for row in rows if _texts(row) and not is_safety(row)]
        return await gather_to_end(counted("compare", map(self._ask, pairs), len(pairs)))

    async def _ask(self, row: Row) -> Finding:
        answers = answers_of(row)
        try:
            first, second = await prefer(
                self.context, row, answers["chosen"], answers["rejected"], "pair"
            )
        except CallFailed as error:
            return Drop(row["id"], "not compared", error.reason, "an answer that can be read")
        return Note(row["id"], {"preference": {"shown_first": first, "shown_second": second}})


@dataclass(frozen=True)
class Preferred(Step):
    """Pairs in which the judge, asked in both orders, holds the rejected answer better, or changes
    its mind.
    """

    name: ClassVar[str] = "preferred"
    consistent: bool = True

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        drops = []
        for row in rows:
            if not (preference := preference_of(row)) or is_safety(row):
                continue
            first, second = preference
            if self.consistent and abs(first - second) == 1.0:
                drops.append(
                    Drop(
                        row["id"],
                        "judge follows the order",
                        f"{first:g}, {second:g}",
                        "one answer in both",
                    )
                )
            elif first + second < 1.0:
                drops.append(Drop(row["id"], "judge prefers rejected", (first + second) / 2, 0.5))
        return drops


def audit(rows: Sequence[Row]) -> dict[str, Any]:
    """What is to be known of a set of pairs before training on it.

    `length_bias` is the correlation, over all answers, of being chosen with the logarithm of the
    length in characters; `longer_chosen` the share of pairs in which the longer answer is chosen;
    `margins` counts pairs by the difference of scores; `swap_agreement` is the share of compared
    pairs with one outcome in both orders.
    """
    pairs = [(row, *texts) for row in rows if (texts := _texts(row))]
    if not pairs:
        return {"pairs": 0}
    lengths = np.asarray(
        [[len(chosen), len(rejected)] for _, chosen, rejected in pairs], dtype=float
    )
    logs, chosen = np.log1p(lengths), np.broadcast_to([1.0, 0.0], lengths.shape)
    bias = float(np.corrcoef(logs.ravel(), chosen.ravel())[0, 1]) if np.ptp(logs) > 0 else 0.0
    compared = [preference for row, *_ in pairs if (preference := preference_of(row))]
    margins = [margin for row, *_ in pairs if (margin := margin_of(row)) is not None]
    counts, edges = np.histogram(margins, bins=10) if margins else (np.zeros(0, int), np.zeros(0))
    return {
        "pairs": len(pairs),
        "length_bias": round(bias, 4),
        "longer_chosen": round(float((lengths[:, 0] > lengths[:, 1]).mean()), 4),
        "near_identical": round(float(np.mean([overlap(c, r) >= NEAR for _, c, r in pairs])), 4),
        "compared": len(compared),
        "swap_agreement": _share([first == second for first, second in compared]),
        "judge_prefers_chosen": _share([first + second > 1 for first, second in compared]),
        "margins": {
            "edges": [round(float(e), 4) for e in edges],
            "counts": [int(n) for n in counts],
        },
    }


def _share(flags: Sequence[bool]) -> float | None:
    return round(sum(flags) / len(flags), 4) if flags else None


def _texts(row: Row) -> tuple[str, str] | None:
    answers = answers_of(row)
    return (
        (answers["chosen"], answers["rejected"])
        if {"chosen", "rejected"} <= answers.keys()
        else None
    )


def _pair(row: Row, chosen: str, rejected: str, scores: dict[str, float] | None = None) -> Note:
    columns = {
        "kind": "dpo",
        "messages": None,
        "completion": None,
        "prompt": opening_of(row),
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }
    return Note(row["id"], columns | (scores or {}))


def _standard(values: Any) -> Any:
    deviation = values.std()
    return (values - values.mean()) / deviation if deviation > 0 else np.zeros_like(values)
