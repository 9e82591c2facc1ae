"""Read a row of any TRL layout: its prompt and its answers as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from matrix_graph.schema import Row

_WORD = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+")


def prompt_of(row: Row) -> str:
    """What the user asks: the first user turn of a conversation, or the prompt."""
    turns = row.get("messages") or row.get("prompt") or row.get("chosen") or ""
    if isinstance(turns, str):
        return turns
    return next((_content(turn) for turn in turns if turn.get("role") == "user"), "")


def answers_of(row: Row) -> dict[str, str]:
    """The answers by column: the assistant's last turn of each."""
    columns = ("messages", "completion", "chosen", "rejected")
    return {column: _last(row[column]) for column in columns if row.get(column) is not None}


def words_in(text: str) -> int:
    """How many words; in scripts that put no spaces between them each character counts as one."""
    return len(_WORD.findall(text))


def _last(value: Any) -> str:
    if isinstance(value, str):
        return value
    return next((_content(turn) for turn in reversed(value) if turn.get("role") == "assistant"), "")


def _content(turn: Mapping[str, Any]) -> str:
    return str(turn.get("content") or "")
