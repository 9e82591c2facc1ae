"""Checkable answers: what a text comes to, and whether two come to the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction

from matrix_graph.filtering.rows import without_thinking, words_of

_MARKED = re.compile(r"(?:####|\b(?:final answer|answer|result)\b\s*(?:is|:|=)+)\s*(.+)", re.I)
_REST = re.compile(
    r",\s+(?=(?:and|so|which|not|because|since|as)\b)|;\s|\.\s|\s(?:because|since)\s", re.I
)
_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:[,  ]\d{3})+|\d+)?(?:\.\d+)?(?<=\d)(?:\s*/\s*\d+)?")
_QUANTITY = re.compile(
    rf"[$€£]?\s*({_NUMBER.pattern})\s*(?:%|°?\s?[^\W\d_]{{2,}}[^\d^*+<>=/\\()\[\]{{}}]*)?"
)
_SAID = re.compile(
    rf"[^\d^*+<>=/\\()\[\]{{}}:]*(?<![^\W\d_])(?<![.+−-])({_NUMBER.pattern})(?![^\W\d_])[^\d^*+<>=/\\()\[\]{{}}:]*"
)
_FRACTION = re.compile(r"\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")
_DRESS = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}|\\[,;!( )\[\]]|[$*`]|\\left|\\right")
_CHOICE = re.compile(r"\(?([A-Ja-j])(?:[).:]|\s*$)")
_SHORT = 6
"""Words up to which an unmarked answer counts as a whole."""


def final_answer(text: str) -> str:
    """What `text` comes to: boxed or marked as the answer, else its last number, else its words."""
    text = without_thinking(text).strip()
    if boxed := _boxed(text):
        return boxed
    if marked := _MARKED.findall(text):
        return str(_REST.split(marked[-1])[0]).strip().rstrip(".")
    if said := _SAID.fullmatch(text):
        return str(said.group(1))
    numbers = [found for found in _NUMBER.findall(text) if found]
    if numbers and len(words_of(text)) > _SHORT:
        return str(numbers[-1])
    return text


def same_answer(given: str, truth: str) -> bool:
    """Whether `given` comes to the number that `truth` states, or else to the same text, its
    symbols included.

    A long truth that marks no result is read as stating it first, as this package's own rows do. A
    truth of one letter is a choice.
    """
    stated = [found for found in _NUMBER.findall(truth) if found]
    unmarked = not _boxed(truth) and not _MARKED.search(truth) and len(words_of(truth)) > _SHORT
    result = str(stated[0]) if stated and unmarked else final_answer(truth)
    answer = final_answer(given)
    if re.fullmatch(r"\(?[A-J]\)?\.?", result.strip()):
        chosen = _CHOICE.match(answer.strip())
        return chosen is not None and chosen.group(1).upper() == result.strip("(). ")
    return _key(answer) == _key(result)


def majority(responses: Sequence[str]) -> str:
    """What most of the responses come to; of several, what came first."""
    keys = [_key(final_answer(response)) for response in responses]
    return max(keys, key=lambda key: (keys.count(key), -keys.index(key)))


def _boxed(text: str) -> str:
    """What stands in the last `\\boxed{}`, whatever braces it holds."""
    _, mark, rest = text.rpartition("\\boxed{")
    depth = 1
    for place, letter in enumerate(rest if mark else ""):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return rest[:place].strip()
    return ""


def _key(answer: str) -> str:
    plain = _DRESS.sub(lambda found: found.group(1) or "", answer).strip().rstrip(".")
    plain = _FRACTION.sub(r"\1/\2", plain)
    quantity = _QUANTITY.fullmatch(plain)
    value = _value(quantity.group(1)) if quantity else None
    return str(value) if value is not None else re.sub(r"\s+", " ", plain.lower())


def _value(number: str) -> Fraction | None:
    plain = re.sub(r"[,  \s]", "", number).replace("−", "-")
    top, _, bottom = plain.partition("/")
    try:
        return Fraction(Decimal(top)) / (Fraction(Decimal(bottom)) if bottom else 1)
    except (InvalidOperation, ZeroDivisionError):
        return None
