"""Rollouts: what the student answers now, several times, so that training's signal can be seen
before training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matrix_graph.context import Context, opened
from matrix_graph.errors import CallFailed
from matrix_graph.filtering.noted import truth_of
from matrix_graph.filtering.progress import counted
from matrix_graph.filtering.rows import is_safety, opening_of
from matrix_graph.filtering.step import Drop, Finding, Note
from matrix_graph.filtering.steps.rewards import verified
from matrix_graph.llm.settled import settled
from matrix_graph.schema import Row

_LEAST = 2
_AT_ONCE = "Answer at once with the result alone, without any working."


@dataclass(frozen=True)
class Rollouts:
    """Notes in `responses` what the context's student answers in `n` tries; safety rows are left
    alone.

    Sample with a temperature (0.8 in SimPO) or the tries will be alike. A response that was cut off
    stays as it is, since training would see it so; one that could not be had is left out, and a row
    with fewer than two goes.
    """

    context: Context
    n: int = 8
    max_tokens: int = 1024
    name: str = "rollouts"
    compares: bool = False
    measures: tuple[str, ...] = ("responses",)

    async def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Finding]:
        asked = [row for row in rows if not is_safety(row)]
        return await settled(counted("rollouts", map(self._try, asked), len(asked)))

    async def _try(self, row: Row) -> Finding:
        found = await settled(
            [_answer(self.context, row, "rollout", n, "", self.max_tokens) for n in range(self.n)]
        )
        responses = [text for text, _ in found if text]
        if len(responses) < min(_LEAST, self.n):
            reason = next(reason for _, reason in found if reason)
            return Drop(row["id"], "no rollouts", f"{len(responses)}: {reason}", _LEAST)
        return Note(row["id"], {"responses": responses})


@dataclass(frozen=True)
class Guesses:
    """Notes in `guessed` how many of `n` answers without reasoning are right, for rows that can be
    checked.
    """

    context: Context
    n: int = 8
    name: str = "guesses"
    compares: bool = False
    measures: tuple[str, ...] = ("guessed",)

    async def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Note]:
        asked = [row for row in rows if truth_of(row) and not is_safety(row)]
        return await settled(counted("guesses", map(self._try, asked), len(asked)))

    async def _try(self, row: Row) -> Note:
        found = await settled(
            [_answer(self.context, row, "guess", n, _AT_ONCE, 64) for n in range(self.n)]
        )
        solved = sum(bool(text) and verified(row, text) for text, _ in found)
        return Note(row["id"], {"guessed": {"solved": solved, "tries": self.n}})


async def _answer(
    context: Context, row: Row, what: str, n: int, note: str, max_tokens: int
) -> tuple[str, str]:
    """An answer of the student, or the reason why there is none."""
    res = await opened(context)
    turns = opening_of(row)
    if note and turns:
        turns[-1] = {**turns[-1], "content": f"{turns[-1]['content']}\n\n{note}"}
    try:
        slot = f"filter/{what}/{n}/{row['id']}"
        return (
            await res.student.text(slot, turns, max_tokens=max_tokens, seed=n, whole=False)
        ).value, ""
    except CallFailed as error:
        return "", error.reason
