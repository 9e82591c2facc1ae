"""The answer that a text gives, and the result that a truth states."""

from __future__ import annotations

import re

from matrix_graph.filtering.answers.clock import TIME
from matrix_graph.filtering.answers.notation import is_expression
from matrix_graph.filtering.answers.quantities import lone_number, numbers_in, quantities
from matrix_graph.filtering.answers.words import SHORT, SYMBOL
from matrix_graph.filtering.rows import without_thinking, words_of

_MARKED = re.compile(r"(?:####|\b(?:final answer|answer|result)\b\s*+(?:is|:|=)++)\s*+(.+)", re.I)
_REST = re.compile(
    r",\s+(?=(?:and|so|which|not|because|since|as)\b)|;\s|\.\s|\s(?:because|since)\s", re.I
)


def final_answer(text: str) -> str:
    """The answer in `text`: boxed or marked as such, else its last number, else its words."""
    text = without_thinking(text).strip()
    if boxed := _boxed(text):
        return boxed
    if marked := _MARKED.findall(text):
        return str(_REST.split(marked[-1])[0]).strip().rstrip(".")
    if _is_whole(text):
        alone = len(numbers_in(text)) == 1 and not quantities(text)
        return (lone_number(text) if alone else "") or text
    if times := [time.group() for time in TIME.finditer(text)]:
        return times[-1]
    numbers = numbers_in(text)
    return numbers[-1] if numbers else text


def stated(truth: str) -> str:
    """The result that a truth states."""
    if _boxed(truth) or _MARKED.search(truth) or _is_whole(truth):
        return final_answer(truth)
    numbers = numbers_in(truth)
    return numbers[0] if numbers else truth


def is_guess(text: str, answer: str) -> bool:
    """Whether the answer is only the last number of a text that marks none."""
    text = without_thinking(text).strip()
    return answer != text and not _boxed(text) and not _MARKED.search(text)


def _is_whole(text: str) -> bool:
    """Whether an unmarked text is an answer and nothing else."""
    return len(words_of(text)) <= SHORT or bool(SYMBOL.search(text) and is_expression(text))


def _boxed(text: str) -> str:
    """What stands in the last `\\boxed{}`, whatever braces it holds."""
    _, mark, rest = text.rpartition("\\boxed{")
    depth = 1
    for place, letter in enumerate(rest if mark else ""):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return rest[:place].strip()
    return ""
