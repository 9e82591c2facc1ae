"""Rollouts: what the student answers now, several times, so that training's signal can be seen
before training.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from matrix_graph.context import Context
from matrix_graph.errors import CallFailed
from matrix_graph.filtering.columns import truth_of
from matrix_graph.filtering.progress import counted
from matrix_graph.filtering.rows import is_safety, opening_of
from matrix_graph.filtering.step import Drop, Finding, Note, Step
from matrix_graph.filtering.steps.rewards import verified
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.tasks import gather_to_end
from matrix_graph.resources import opened
from matrix_graph.schema import Row

_LEAST = 2
_AT_ONCE = "Answer at once with the result alone, without any working."


@dataclass(frozen=True)
class Rollouts(Step):
    """Notes in `responses` what the context's student answers in `n` tries; safety rows are left
    alone.

    Sample with a temperature (0.8 in SimPO) or the tries will be alike. A response that was cut off
    stays as it is, since training would see it so; one that could not be had is left out, and a row
    with fewer than two goes.

    Attributes:
        n: Tries per row, at least 1; below 2 there is no spread to judge by.
        max_tokens: Length limit of a response.
        context: Its student answers.
    """

    name: ClassVar[str] = "rollouts"
    measures: ClassVar[tuple[str, ...]] = ("responses",)
    n: Annotated[int, Field(ge=1, le=256)] = 8
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    context: Context | None = None

    async def find(self, rows: Sequence[Row]) -> list[Finding]:
        """See `Step`."""
        asked = [row for row in rows if not is_safety(row)]
        return await gather_to_end(counted("rollouts", map(self._try, asked), len(asked)))

    async def _try(self, row: Row) -> Finding:
        answers = await gather_to_end(
            [_answer(self.context, row, "rollout", n, self.max_tokens) for n in range(self.n)]
        )
        responses = [answer.text for answer in answers if answer.text]
        if len(responses) < min(_LEAST, self.n):
            reason = next(answer.problem for answer in answers if not answer.text)
            return Drop(row["id"], "no rollouts", f"{len(responses)}: {reason}", _LEAST)
        return Note(row["id"], {"responses": responses})


@dataclass(frozen=True)
class Guesses(Step):
    """Notes in `guessed` how many of `n` answers without reasoning are right, for rows that can be
    checked.

    Attributes:
        context: Its student answers.
    """

    name: ClassVar[str] = "guesses"
    measures: ClassVar[tuple[str, ...]] = ("guessed",)
    n: int = 8
    context: Context | None = None

    async def find(self, rows: Sequence[Row]) -> list[Note]:
        """See `Step`."""
        asked = [row for row in rows if truth_of(row) and not is_safety(row)]
        return await gather_to_end(counted("guesses", map(self._try, asked), len(asked)))

    async def _try(self, row: Row) -> Note:
        answers = await gather_to_end(
            [_answer(self.context, row, "guess", n, 64, _AT_ONCE) for n in range(self.n)]
        )
        responses = [answer.text for answer in answers if answer.text]
        solved = await asyncio.to_thread(_solved, row, responses)
        return Note(row["id"], {"guessed": {"solved": solved, "tries": self.n}})


class _Answer(NamedTuple):
    """An answer of the student, or why there is none."""

    text: str
    problem: str = ""


def _solved(row: Row, responses: Sequence[str]) -> int:
    return sum(verified(row, response) is True for response in responses)


async def _answer(
    context: Context | None, row: Row, what: str, n: int, max_tokens: int, note: str = ""
) -> _Answer:
    resources = await opened(context)
    turns = opening_of(row)
    if note and turns:
        turns[-1] = {**turns[-1], "content": f"{turns[-1]['content']}\n\n{note}"}
    slot = Slot(stage="filter", who=row["id"], what=what, part=str(n))
    try:
        answer = await resources.student.text(
            slot, turns, max_tokens=max_tokens, seed=n, whole=False
        )
    except CallFailed as error:
        return _Answer("", error.reason)
    return _Answer(answer.value)
