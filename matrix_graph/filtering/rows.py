"""Read a row of any TRL layout: its prompt and its answers as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from matrix_graph.schema import Row

_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+")
_THINKING = re.compile(r"\A\s*<think>.*?</think>\s*", re.S)


def prompt_of(row: Row) -> str:
    """What the user asks: the first user turn of a conversation, or the prompt."""
    return next(iter(asked_in(row)), "")


def asked_in(row: Row) -> list[str]:
    """Everything that the user says, turn by turn."""
    turns = row.get("messages") or row.get("prompt") or row.get("chosen") or ""
    if isinstance(turns, str):
        return [turns]
    return [_content(turn) for turn in turns if turn.get("role") == "user"]


def answers_of(row: Row) -> dict[str, str]:
    """The answers by column: the assistant's last turn of each."""
    columns = ("messages", "completion", "chosen", "rejected")
    return {column: _last(row[column]) for column in columns if row.get(column) is not None}


def answer_of(row: Row) -> str:
    """The answer that the row would teach, or nothing."""
    answers = answers_of(row)
    return next((answers[column] for column in ("messages", "completion", "chosen") if column in answers), "")


def opening_of(row: Row) -> list[dict[str, str]]:
    """The turns up to the last answer: what a model would be given to answer."""
    turns = row.get("messages")
    if turns:
        last = max((n for n, turn in enumerate(turns) if turn.get("role") == "assistant"), default=len(turns))
        turns = turns[:last]
    else:
        turns = row.get("prompt") or ""
    if isinstance(turns, str):
        return [{"role": "user", "content": turns}]
    return [{"role": str(turn.get("role")), "content": _content(turn)} for turn in turns]


def without_thinking(text: str) -> str:
    """An answer without the thinking before it."""
    return _THINKING.sub("", text)


def words_of(text: str) -> list[str]:
    """The words, without punctuation; in scripts that put no spaces between them each character counts as one."""
    return _WORD.findall(text)


def words_in(text: str) -> int:
    """How many words."""
    return len(words_of(text))


def is_safety(row: Row) -> bool:
    """Whether the row teaches to refuse harm: such rows are exempt from what rewards say (arXiv 2501.18578)."""
    return bool(row.get("safety"))


def _last(value: Any) -> str:
    if isinstance(value, str):
        return value
    return next((_content(turn) for turn in reversed(value) if turn.get("role") == "assistant"), "")


def _content(turn: Mapping[str, Any]) -> str:
    return str(turn.get("content") or "")
