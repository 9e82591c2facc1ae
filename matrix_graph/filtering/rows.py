"""Read a row of any TRL layout: its prompt and its answers as text. Nothing here raises, whatever a
row holds.
"""

from __future__ import annotations

import re
from typing import Any

from matrix_graph.llm.journal import clean
from matrix_graph.schema import Row

Turns = list[dict[str, str]]
_WORD = re.compile(
    r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]|[^\W\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]+"
)
_THINKING = re.compile(r"\A\s*<think>.*?(?:</think>\s*|\Z)", re.S)
_ANSWERS = ("messages", "completion", "chosen", "rejected")


def wrong_shape(row: Row) -> str:
    """What keeps a row from being in one of TRL's layouts, or nothing."""
    present = [name for name in ("prompt", *_ANSWERS) if row.get(name) is not None]
    for name in present:
        value = row[name]
        if isinstance(value, str) and name != "messages":
            continue
        if not isinstance(value, list) or not value or not all(map(_is_turn, value)):
            text = "" if name == "messages" else "text or "
            return f"{name} is no {text}list of messages"
    if not {"messages", "prompt", "chosen"} & set(present):
        return "it has neither messages nor prompt nor chosen"
    return ""


def prompt_of(row: Row) -> str:
    """What the user asks: the first user turn of a conversation, or the prompt."""
    return next(iter(asked_in(row)), "")


def asked_in(row: Row) -> list[str]:
    """Everything that the user says, turn by turn."""
    return [turn["content"] for turn in opening_of(row) if turn["role"] == "user"]


def answers_of(row: Row) -> dict[str, str]:
    """The answers by column: the assistant's last turn of each."""
    return {column: _last(row[column]) for column in _ANSWERS if row.get(column) is not None}


def answer_of(row: Row) -> str:
    """The answer that the row would teach, or nothing."""
    answers = answers_of(row)
    return next(
        (answers[column] for column in ("messages", "completion", "chosen") if column in answers),
        "",
    )


def opening_of(row: Row) -> Turns:
    """The turns up to the last answer: what a model would be given to answer."""
    for column in ("messages", "prompt", "chosen"):
        if row.get(column):
            turns = turns_of(row[column], "user")
            last = max(
                (n for n, turn in enumerate(turns) if turn["role"] == "assistant"),
                default=len(turns),
            )
            return turns[: last if column != "prompt" else None]
    return []


def turns_of(value: Any, role: str = "assistant") -> Turns:
    """Messages with role and text; a bare text is one of `role`, and what is no message is left
    out.
    """
    if isinstance(value, str):
        return [{"role": role, "content": clean(value)}]
    turns = value if isinstance(value, list) else []
    return [
        {"role": str(turn.get("role")), "content": _content(turn)}
        for turn in turns
        if isinstance(turn, dict)
    ]


def without_thinking(text: str) -> str:
    """An answer without the thinking before it; nothing, if the thinking never ends."""
    return _THINKING.sub("", text)


def words_of(text: str) -> list[str]:
    """The words, without punctuation; in scripts that put no spaces between them each character
    counts as one.
    """
    return _WORD.findall(text)


def words_in(text: str) -> int:
    """How many words."""
    return len(words_of(text))


def is_safety(row: Row) -> bool:
    """Whether the row teaches to refuse harm: such rows are exempt from what rewards say (arXiv
    2501.18578).
    """
    return bool(row.get("safety"))


def _last(value: Any) -> str:
    return next(
        (turn["content"] for turn in reversed(turns_of(value)) if turn["role"] == "assistant"), ""
    )


def _is_turn(turn: Any) -> bool:
    content = turn.get("content") if isinstance(turn, dict) else None
    return (
        isinstance(turn, dict)
        and isinstance(turn.get("role"), str)
        and isinstance(content, str | list | None)
    )


def _content(turn: dict[str, Any]) -> str:
    """The text of a message, whose content may be a list of parts."""
    content = turn.get("content")
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return clean("\n".join(part for part in parts if isinstance(part, str)))
    return clean(content) if isinstance(content, str) else ""
