"""Whether two answers are the same.

Choices, clock times, units and plain words are told apart here; numbers and expressions are
compared by math-verify. An answer that is wrong and one that cannot be compared are two things.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from matrix_graph.filtering.answers.clock import IS_TIME, times_in
from matrix_graph.filtering.answers.final import final_answer, is_guess, stated
from matrix_graph.filtering.answers.lists import parts_of
from matrix_graph.filtering.answers.notation import is_expression, same_value
from matrix_graph.filtering.answers.quantities import (
    lone_number,
    numbers_in,
    priced,
    quantities,
    same_quantity,
    value_of,
)
from matrix_graph.filtering.answers.words import (
    IS_CHOICE,
    OTHERWISE,
    SHORT,
    folded,
    is_words,
    same_choice,
    same_words,
)
from matrix_graph.filtering.rows import without_thinking, words_of

_DRESS = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}|\\[,;! ]|\\left|\\right|[$*`]")
_LONGEST_ANSWER, _DEEPEST, _MOST_PARTS = 4_000, 8, 12
"""Characters of an answer, brackets within brackets, and members of a set without a twin, up to
which answers are compared.
"""


def same_answer(given: str, truth: str) -> bool | None:
    """Whether `given` gives the answer that `truth` states; None where they cannot be compared.

    A long truth that marks no result is read as stating it first, as this package's own rows do. A
    truth of one letter is a choice.

    Raises:
        InputError: the packages that compare are not installed.
    """
    given, truth = priced(without_thinking(given)), priced(truth)
    answer, result = _undressed(final_answer(given)), _undressed(stated(truth))
    if not (_is_bounded(answer) and _is_bounded(result)):
        return True if folded(answer) == folded(result) else None
    guessed = is_guess(given, final_answer(given))
    whole = _undressed(given) if guessed else answer
    exact = len(words_of(whole)) <= SHORT
    if exact and (_is_either(whole) != _is_either(truth) or not _same_left(whole, truth)):
        return None
    if folded(answer) == folded(result):
        return True
    if IS_CHOICE.fullmatch(result):
        return same_choice(whole, result.strip("(). "))
    if is_words(result):
        return same_words(whole, result)
    if exact and OTHERWISE.search(whole):
        return None
    if IS_TIME.fullmatch(result):
        times = times_in(whole)
        return times[-1] == times_in(result)[0] if times else None
    if IS_TIME.fullmatch(answer) and numbers_in(result):
        return None
    same = _same(answer, result)
    if same is False and guessed and _mentions(given, result):
        return None
    return same


def majority(responses: Sequence[str]) -> str:
    """The answer that most of the responses give; of several, the one that came first."""
    answers: list[str] = []
    counts: list[int] = []
    for response in responses:
        answer = final_answer(response)
        for number, known in enumerate(answers):
            if answer == known or same_answer(answer, known):
                counts[number] += 1
                break
        else:
            answers.append(answer)
            counts.append(1)
    return answers[counts.index(max(counts))] if answers else ""


def _is_bounded(answer: str) -> bool:
    """Whether an answer is short and flat enough to be taken apart."""
    depth = deepest = 0
    for sign in answer[:_LONGEST_ANSWER]:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return len(answer) <= _LONGEST_ANSWER and deepest <= _DEEPEST


def _same_left(given: str, truth: str) -> bool:
    """Whether two equations are about the same: of those, right-hand sides are compared."""
    if given.count("=") != 1 or truth.count("=") != 1:
        return True
    return re.sub(r"\s", "", given.split("=")[0]) == re.sub(r"\s", "", truth.split("=")[0])


def _mentions(text: str, result: str) -> bool:
    wanted = quantities(_undressed(result))
    numbers = numbers_in(_undressed(without_thinking(text)))
    return bool(wanted) and any(value_of(n) == value_of(wanted[0][0]) for n in numbers)


def _is_either(text: str) -> bool:
    return "±" in text or "\\pm" in text


def _same(given: str, truth: str) -> bool | None:
    if folded(given) == folded(truth):
        return True
    parts = parts_of(truth)
    if len(parts) > 1:
        return _same_list(given, truth)
    wanted, quantity = quantities(truth), quantities(given)
    if wanted:
        quantity = quantity or quantities(lone_number(given))
        return same_quantity(quantity, wanted) if quantity else same_value(given, truth)
    if is_expression(truth):
        return same_value(given, truth)
    return same_words(given, truth) if is_words(truth) else None


def _same_list(given: str, truth: str) -> bool | None:
    wanted, parts = parts_of(truth), parts_of(given)
    if len(wanted) != len(parts):
        return False if len(parts) > 1 or quantities(given) else None
    if truth.startswith(("{", "\\{")) or "=" in truth:
        return _same_set(parts, wanted)
    kinds = {text[0] + text[-1] for text in (given, truth) if text[0] in "(["}
    if len(kinds) > 1:
        # An open interval, or a list in other brackets.
        return None
    verdicts = [_same(part, other) for part, other in zip(parts, wanted, strict=True)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _same_set(parts: Sequence[str], wanted: Sequence[str]) -> bool | None:
    """Whether each part has a partner of its own."""
    twins = Counter(map(folded, parts)) & Counter(map(folded, wanted))
    alone, left = _without(parts, twins), _without(wanted, twins)
    if len(alone) > _MOST_PARTS:
        return None
    for part in alone:
        verdicts = [_same(part, other) for other in left]
        if True not in verdicts:
            return None if None in verdicts else False
        del left[verdicts.index(True)]
    return True


def _without(parts: Sequence[str], twins: Counter[str]) -> list[str]:
    """Those of the parts that have no twin among the others."""
    left = Counter(twins)
    alone = []
    for part in parts:
        if left[folded(part)]:
            left[folded(part)] -= 1
        else:
            alone.append(part)
    return alone


def _undressed(answer: str) -> str:
    """Without what only sets it in type."""
    return _DRESS.sub(lambda m: m.group(1) or "", answer).strip().rstrip(".").strip()
