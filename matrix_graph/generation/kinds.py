"""The six kinds of rows: what is asked of the models for each, and the columns that come of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from matrix_graph.errors import CallFailed
from matrix_graph.generation.requirements import KindName
from matrix_graph.generation.writer import Writer, cleaned, message
from matrix_graph.llm.caller import ChatMessage
from matrix_graph.llm.rating import Rating
from matrix_graph.llm.structured import Malformed, python_blocks
from matrix_graph.llm.tasks import gather_to_end

Columns = dict[str, Any]
_THINKING = re.compile(r"\A\s*+<think>\s*+(.+?)(?<!\s)\s*+</think>\s*(.+)\Z", re.S)
_PARTED = re.compile(r"^[ \t]*={3,}[ \t]*$", re.M)
_SATISFIED = re.compile(r"(?<!\W)\W*+SATISFIED\W*+")


async def _sft(writer: Writer) -> Columns:
    if writer.requirement.single_call:
        request, response = _parted(await writer.whole(_has_parts))
    else:
        request = await writer.request()
        response = await writer.answer("response", [message("user", request)])
    return {
        "messages": [*writer.opening(), message("user", request), message("assistant", response)]
    }


async def _dpo(writer: Writer) -> Columns:
    asked = message("user", await writer.request())
    prompt = [*writer.opening(), asked]
    if not writer.requirement.best_of:
        chosen = await writer.answer("response", [asked])
        rejected = await writer.answer("rejected", prompt, student=True)
        return _pair(prompt, chosen, rejected)
    answers = await gather_to_end(
        [writer.answer(f"answer-{n}", [asked]) for n in range(writer.requirement.best_of)]
    )
    ratings = await gather_to_end(
        [
            writer.judged(f"rating-{n}", Rating, request=asked["content"], answer=a)
            for n, a in enumerate(answers)
        ]
    )
    order = sorted(range(len(answers)), key=lambda n: (-ratings[n].score, n))
    if ratings[order[0]].score == ratings[order[-1]].score:
        raise CallFailed(
            writer.calls[-1], "no preference: the judge gave all answers one score", len(answers)
        )
    scores = {"chosen_score": ratings[order[0]].score, "rejected_score": ratings[order[-1]].score}
    return _pair(prompt, answers[order[0]], answers[order[-1]]) | scores


async def _reason(writer: Writer) -> Columns:
    request = await writer.request()
    text = await writer.answer(
        "response",
        [message("user", request)],
        prompt="respond_reason",
        check=_thought(*writer.requirement.thinking),
    )
    parts = _THINKING.match(text)
    assert parts
    thinking, answer = parts.group(1), parts.group(2).strip()
    content = f"<think>\n{thinking}\n</think>\n\n{answer}"
    messages = [*writer.opening(), message("user", request), message("assistant", content)]
    return {"messages": messages, "thinking": thinking, "answer": answer}


async def _code(writer: Writer) -> Columns:
    request = await writer.request()
    text = await writer.answer(
        "response", [message("user", request)], prompt="respond_code", check=_has_code
    )
    solution, tests = python_blocks(text)[:2]
    answer = f"```python\n{solution.strip()}\n```"
    messages = [*writer.opening(), message("user", request), message("assistant", answer)]
    return {
        "messages": messages,
        "solution": solution.strip() + "\n",
        "tests": tests.strip() + "\n",
    }


async def _safe(writer: Writer) -> Columns:
    request = await writer.request()
    response = await writer.answer("response", [message("user", request)], prompt="respond_safe")
    return {
        "messages": [*writer.opening(), message("user", request), message("assistant", response)],
        "safety": True,
    }


async def _mt(writer: Writer) -> Columns:
    turns: list[ChatMessage] = [message("user", await writer.request())]
    satisfied = False
    while not satisfied:
        turns.append(
            message("assistant", await writer.answer(f"response-{len(turns) // 2}", turns))
        )
        if len(turns) // 2 >= writer.requirement.turns:
            break
        message_text = await writer.follow_up(turns, _goes_on(first=len(turns) == 2, turns=turns))
        satisfied = bool(_SATISFIED.fullmatch(message_text))
        if not satisfied:
            turns.append(message("user", message_text))
    return {"messages": [*writer.opening(), *turns]}


COLUMNS: Mapping[KindName, Callable[[Writer], Awaitable[Columns]]] = {
    "sft": _sft,
    "dpo": _dpo,
    "reason": _reason,
    "code": _code,
    "safe": _safe,
    "mt": _mt,
}


def _pair(prompt: list[ChatMessage], chosen: str, rejected: str) -> Columns:
    return {
        "prompt": prompt,
        "chosen": [message("assistant", chosen)],
        "rejected": [message("assistant", rejected)],
    }


def _parted(text: str) -> tuple[str, str]:
    parts = [part.strip() for part in _PARTED.split(text, maxsplit=1)]
    if len(parts) < 2 or not all(parts):
        raise Malformed(
            "there must be a line of === between the message and the answer, with text on both "
            "sides"
        )
    return cleaned(parts[0]), parts[1]


def _has_parts(text: str) -> str:
    _parted(text)
    return text


def _thought(least: int, most: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        parts = _THINKING.match(text)
        if not parts:
            raise Malformed("it must begin with <think>, and the answer must follow </think>")
        words = len(parts.group(1).split())
        if not least <= words <= most:
            raise Malformed(f"the thinking must have {least} to {most} words, and had {words}")
        return text

    return check


def _has_code(text: str) -> str:
    blocks = python_blocks(text)
    if len(blocks) < 2 or "assert" not in blocks[1]:
        raise Malformed(
            "there must be two ```python blocks: the solution, then tests made of assert statements"
        )
    return text


def _goes_on(*, first: bool, turns: list[ChatMessage]) -> Callable[[str], str]:
    before = {t["content"] for t in turns}

    def check(text: str) -> str:
        if first and _SATISFIED.fullmatch(text):
            raise Malformed("they still have something to ask")
        if "SATISFIED" in text and not _SATISFIED.fullmatch(text):
            raise Malformed("it must be either the message or the word SATISFIED alone")
        if text in before:
            raise Malformed("it was said before")
        return text

    return check
