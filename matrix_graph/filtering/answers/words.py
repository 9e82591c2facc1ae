"""Answers in plain words: choices by letter, yes and no, and a few words among others."""

from __future__ import annotations

import re

from matrix_graph.filtering.rows import words_of

_CHOICE = re.compile(r"\(?([A-Ja-j])(?:[).:,;]|\s*$|\s+(?:because|since)\b)")
_CHOSEN = re.compile(r"\b(?i:option|choice|answer|letter)\b(?:\s+is)?:?\s+\(?([A-J])(?!\w|['’])")
IS_CHOICE = re.compile(r"\(?[A-J]\)?\.?")
OTHERWISE = re.compile(
    r"\b(?:not|never|neither|nor|or|than|between|except|without|at least|at most|up to)\b|n['’]t\b",
    re.I,
)
"""Words by which an answer does not say what it names."""
_SAID = re.compile(r"(yes|no|true|false)\s*(?:[,.;:!–—-]|$)", re.I)
_IN_WORDS = re.compile(r"\w")
SYMBOL = re.compile(r"[\^*+<>=\\/{}]")
SHORT = 6
"""Words up to which an unmarked answer counts as a whole."""


def same_choice(given: str, letter: str) -> bool | None:
    if OTHERWISE.search(given):
        return None
    named = [m.group(1).upper() for m in [_CHOICE.match(given)] if m] or _CHOSEN.findall(given)
    return named[-1] == letter if named else None


def same_words(given: str, truth: str) -> bool | None:
    """By the words, where they stand among a few others; a yes or no may begin a sentence."""
    if (wanted := _SAID.fullmatch(truth)) and (begins := _SAID.match(given)):
        return begins.group(1).lower() == wanted.group(1).lower()
    if len(words_of(given)) > 2 * SHORT or OTHERWISE.search(given):
        return None
    if _stands(folded(truth), folded(given)):
        return True
    return None if wanted or len(words_of(given)) > SHORT else False


def _stands(words: str, text: str) -> bool:
    """Whether the words are there as words, and not as parts of others."""
    place = text.find(words)
    while place >= 0:
        around = text[place - 1 : place] if place else "", text[place + len(words) :][:1]
        if not any(_IN_WORDS.match(sign) for sign in around):
            return True
        place = text.find(words, place + 1)
    return False


def is_words(text: str) -> bool:
    return not re.search(r"\d", text) and not SYMBOL.search(text)


def folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip().rstrip(".").lower())
