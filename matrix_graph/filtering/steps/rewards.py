"""Rewards of responses: by a verifier, a judge, a reward model behind HTTP or on disk, or a
function of the user's.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

import numpy as np

from matrix_graph.context import Context
from matrix_graph.errors import CallFailed, InputError
from matrix_graph.filtering.answers import same_answer
from matrix_graph.filtering.columns import responses_of, tests_of, truth_of
from matrix_graph.filtering.progress import counted
from matrix_graph.filtering.rows import opening_of, without_thinking
from matrix_graph.filtering.sandbox import run_code
from matrix_graph.filtering.step import Drop, Finding, Note, Step
from matrix_graph.filtering.steps.judge import spoken
from matrix_graph.llm.rating import Preference, Rating
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.structured import python_blocks
from matrix_graph.llm.tasks import gather_to_end
from matrix_graph.resources import opened
from matrix_graph.schema import Row


class Scorer(Protocol):
    """Rewards for the responses to one row, in their order; None where the row is not one that it
    can score.

    Raises:
        CallFailed: a score could not be had.
    """

    async def __call__(self, row: Row, responses: Sequence[str]) -> list[float] | None: ...


@dataclass(frozen=True)
class Rewards(Step):
    """Notes in `rewards` what the first scorer that can says of `responses`, and in `group` their
    statistics.
    """

    scorers: tuple[Scorer, ...]
    name: ClassVar[str] = "rewards"
    measures: ClassVar[tuple[str, ...]] = ("rewards", "group")

    async def find(self, rows: Sequence[Row]) -> list[Finding]:
        scored = [row for row in rows if responses_of(row)]
        findings = await gather_to_end(counted("rewards", map(self._score, scored), len(scored)))
        return [finding for finding in findings if finding]

    async def _score(self, row: Row) -> Finding | None:
        for scorer in self.scorers:
            try:
                rewards = await scorer(row, row["responses"])
            except CallFailed as error:
                return Drop(row["id"], "no reward", error.reason, "a score for every response")
            if rewards is None:
                continue
            if len(rewards) != len(row["responses"]) or not all(map(_is_reward, rewards)):
                return Drop(
                    row["id"],
                    "no reward",
                    f"{rewards}"[:80],
                    f"a score within {MOST:g} for every response",
                )
            return Note(
                row["id"], {"rewards": [float(r) for r in rewards], "group": group_of(rewards)}
            )
        return None


MOST = 1e6
"""Rewards lie between this and its negative; sums and squares of them are numbers, too."""


def _is_reward(value: object) -> bool:
    return isinstance(value, int | float) and -MOST <= value <= MOST


def group_of(rewards: Sequence[float]) -> dict[str, float | int | None]:
    """Statistics of one group of rewards: size, mean, variance, spread of the group-normalised
    advantages, and the pass rate `p` where all rewards are 0 or 1."""
    values = np.asarray(rewards, dtype=float)
    deviation = float(values.std())
    binary = bool(np.isin(values, (0.0, 1.0)).all())
    return {
        "n": len(values),
        "mean": round(float(values.mean()), 6),
        "variance": round(float(values.var()), 6),
        "advantage_spread": round(float(np.ptp(values)) / deviation, 6)
        if deviation > 1e-12
        else 0.0,
        "p": round(float(values.mean()), 6) if binary else None,
    }


def verified(row: Row, response: str) -> bool | None:
    """Whether the response passes the row's tests, or gives its answer; None where the two answers
    cannot be compared.
    """
    if tests := tests_of(row):
        blocks = python_blocks(response) or [without_thinking(response)]
        return not run_code(f"{blocks[0]}\n\n{tests}")
    return same_answer(response, truth_of(row))


@dataclass(frozen=True)
class Verifier:
    """1 where a response passes the row's `tests` in the sandbox, or gives its `answer`; else 0.

    A row of which one response cannot be compared is none that it can score: what cannot be
    compared is not wrong.
    """

    async def __call__(self, row: Row, responses: Sequence[str]) -> list[float] | None:
        if not tests_of(row) and not truth_of(row):
            return None
        return await asyncio.to_thread(self._scores, row, responses)

    def _scores(self, row: Row, responses: Sequence[str]) -> list[float] | None:
        scores = []
        for response in responses:
            verdict = verified(row, response)
            if verdict is None:
                return None
            scores.append(float(verdict))
        return scores


@dataclass(frozen=True)
class JudgeReward:
    """What the context's model gives each response, from 1 to 10."""

    context: Context

    async def __call__(self, row: Row, responses: Sequence[str]) -> list[float]:
        res = await opened(self.context)

        async def one(number: int, response: str) -> float:
            messages = res.prompts.render("rate", request=spoken(row), answer=response)
            slot = Slot(stage="filter", who=row["id"], what="rate", part=str(number))
            return (await res.model.parsed(slot, messages, Rating, max_tokens=120)).value.score

        return await gather_to_end([one(n, response) for n, response in enumerate(responses)])


@dataclass(frozen=True)
class PairwiseReward:
    """The share of comparisons that a response wins against the others, each asked in both orders.

    Takes n(n - 1) calls for n responses.
    """

    context: Context

    async def __call__(self, row: Row, responses: Sequence[str]) -> list[float]:
        pairs = list(combinations(range(len(responses)), 2))
        won = await gather_to_end(
            [prefer(self.context, row, responses[a], responses[b], f"{a}-{b}") for a, b in pairs]
        )
        rewards = [0.0] * len(responses)
        for (a, b), shares in zip(pairs, won, strict=True):
            share = sum(shares) / len(shares)
            rewards[a] += share
            rewards[b] += 1 - share
        return [round(r / max(1, len(responses) - 1), 6) for r in rewards]


async def prefer(
    context: Context, row: Row, one: str, other: str, part: str
) -> tuple[float, float]:
    """What `one` wins against `other` (1, 0, or 0.5 for a tie), shown first and then shown second.

    Raises:
        CallFailed: the judge's answer could not be read.
    """
    res = await opened(context)

    async def ask(first: str, second: str, order: str) -> str:
        messages = res.prompts.render("prefer", request=spoken(row), first=first, second=second)
        slot = Slot(stage="filter", who=row["id"], what="prefer", part=f"{part}-{order}")
        return (await res.model.parsed(slot, messages, Preference, max_tokens=120)).value.better

    ahead, behind = await gather_to_end([ask(one, other, "first"), ask(other, one, "second")])
    wins = {"first": 1.0, "second": 0.0, "tie": 0.5}
    return wins[ahead], 1 - wins[behind]


@dataclass(frozen=True)
class HttpReward:
    """A reward model behind an HTTP endpoint: vLLM's `/classify` (or `/v1/classify`) or `/score`.

    `/classify` is sent the conversation as text and gives the probability of `label`; `/score` is
    sent request and response.

    Attributes:
        context: Its journal and limits hold; its models are not asked.
        label: Index of the class whose probability is the reward; the last by default.
    """

    url: str
    context: Context
    model: str | None = None
    label: int = -1

    def __post_init__(self) -> None:
        url = urlsplit(self.url)
        if url.scheme not in ("http", "https") or "@" in url.netloc or url.query:
            raise InputError(
                "HttpReward takes a URL without key or password; set REWARD_API_KEY for those."
            )

    async def __call__(self, row: Row, responses: Sequence[str]) -> list[float]:
        res = await opened(self.context)
        asked = spoken(row)
        if self.url.rstrip("/").endswith("score"):
            body: dict[str, Any] = {"text_1": asked, "text_2": list(responses)}
        else:
            body = {"input": [f"{asked}\n\n{response}" for response in responses]}
        slot = Slot(stage="filter", who=row["id"], what="reward")
        sent = body | ({"model": self.model} if self.model else {})
        return await res.remote.post(slot, self.url, sent, self._scores)

    def _scores(self, answer: dict[str, Any]) -> list[float]:
        data = sorted(answer["data"], key=lambda item: item.get("index", 0))
        return [
            float(item["score"]) if "score" in item else float(item["probs"][self.label])
            for item in data
        ]


@dataclass(frozen=True)
class LocalReward:
    """A sequence-classification model in a folder on this machine: its logit (of the last class, if
    several).

    Needs `transformers` and PyTorch. The folder's own code is never run.
    """

    path: Path | str

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        try:
            from transformers import AutoModelForSequenceClassification, AutoTokenizer
        except ImportError as error:
            raise InputError(
                "A reward model on disk needs: pip install transformers torch"
            ) from error
        if not Path(self.path).is_dir():
            raise InputError(f"{self.path} is no folder with a sequence-classification model.")
        options = {"local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(self.path, **options)
        model = AutoModelForSequenceClassification.from_pretrained(
            self.path, use_safetensors=True, **options
        )
        return tokenizer, model.eval()

    async def __call__(self, row: Row, responses: Sequence[str]) -> list[float]:
        return await asyncio.to_thread(self._score, row, responses)

    def _score(self, row: Row, responses: Sequence[str]) -> list[float]:
        import torch

        tokenizer, model = self._loaded
        scores = []
        for response in responses:
            turns = [*opening_of(row), {"role": "assistant", "content": response}]
            if tokenizer.chat_template:
                text = tokenizer.apply_chat_template(turns, tokenize=False)
            else:
                text = f"{spoken(row)}\n\n{response}"
            with torch.no_grad():
                logits = model(**tokenizer(text, return_tensors="pt", truncation=True)).logits[0]
            scores.append(float(logits[-1]))
        return scores


@dataclass(frozen=True)
class FunctionReward:
    """A function of the user's, of row and response, plain or a coroutine function; None where it
    does not apply.
    """

    function: Callable[[Row, str], float | Awaitable[float | None] | None]

    async def __call__(self, row: Row, responses: Sequence[str]) -> list[float] | None:
        rewards = []
        for response in responses:
            value = self.function(row, response)
            value = await value if inspect.isawaitable(value) else value
            if value is None:
                return None
            rewards.append(float(value))
        return rewards
