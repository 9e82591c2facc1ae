"""Checkable answers: what a text comes to, and whether two come to the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from matrix_graph.filtering.rows import without_thinking, words_of

_BOXED = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_MARKED = re.compile(r"(?:####|\b(?:final answer|answer|result)\b\s*(?:is|:|=)+)\s*(.+)", re.I)
_NUMBER = re.compile(r"[-−]?(?:\d{1,3}(?:[,  ]\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*\d+)?")
_SHORT = 6
"""Words up to which an answer without a number is compared as a whole."""


def final_answer(text: str) -> str:
    """What `text` comes to: boxed or marked as the answer, else its last number, else its words."""
    text = without_thinking(text).strip()
    for found in (_BOXED.findall(text), _MARKED.findall(text)):
        if found:
            return str(found[-1]).strip().rstrip(".").strip("*$ ")
    numbers = _NUMBER.findall(text)
    if numbers and len(words_of(text)) > _SHORT:
        return str(numbers[-1])
    return text


def same_answer(given: str, truth: str) -> bool:
    """Whether `given` comes to the number that `truth` states, or else to the same words.

    A long truth that marks no result is read as stating it first, as this package's own rows do.
    """
    stated = _NUMBER.findall(truth)
    unmarked = not _BOXED.search(truth) and not _MARKED.search(truth) and len(words_of(truth)) > _SHORT
    result = str(stated[0]) if stated and unmarked else final_answer(truth)
    return _key(final_answer(given)) == _key(result)


def majority(responses: Sequence[str]) -> str:
    """What most of the responses come to; of several, what came first."""
    keys = [_key(final_answer(response)) for response in responses]
    return max(keys, key=lambda key: (keys.count(key), -keys.index(key)))


def _key(answer: str) -> str:
    numbers = _NUMBER.findall(answer)
    if len(numbers) == 1 or (numbers and len(words_of(answer)) <= _SHORT):
        value = _value(numbers[0])
        if value is not None:
            return str(value)
    return " ".join(words_of(answer.lower()))


def _value(number: str) -> Fraction | None:
    plain = re.sub(r"[,  \s]", "", number).replace("−", "-")
    top, _, bottom = plain.partition("/")
    try:
        return Fraction(Decimal(top)) / (Fraction(Decimal(bottom)) if bottom else 1)
    except (InvalidOperation, ZeroDivisionError):
        return None
