"""Form: a real request, whole answers, no text of templates or of the model about itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from matrix_graph.filtering.rows import (
    answers_of,
    asked_in,
    turns_of,
    without_thinking,
    words_in,
    wrong_shape,
)
from matrix_graph.filtering.step import Drop, Step, Words, in_order
from matrix_graph.filtering.steps.verbs import TASKS
from matrix_graph.schema import Row

_ASKING = re.compile(
    r"[?？؟¿՞።]|"
    r"\b(?:please|help me|can you|could you|would you|will you|tell me|show me|give me|"
    r"i (?:need|want|would like|must)|i'd like|i am looking for|i'm looking for|let me know|"
    r"your task|the task is|"
    r"(?:do you )?know (?:how|what|where|why|if|whether)|how (?:do|can|should|would|to|many|much)|"
    r"what (?:is|are|should|would|do|does)|what's|who (?:is|was)|when (?:is|was|did)|"
    r"where (?:is|are|do)|"
    r"why (?:is|are|do|does)|"
    r"which (?:one|of)|advise|suggestions?|recommend(?:ations?)?|tl;?dr)\b",
    re.I,
)


def _by_letter(words: Iterable[str]) -> str:
    """The words as alternatives, by their first letters: a tenth of the tries."""
    ends: dict[str, list[str]] = {}
    for word in words:
        ends.setdefault(word[0], []).append(word[1:])
    return "|".join(f"{letter}(?:{'|'.join(rest)})" for letter, rest in ends.items())


_VERBS = _by_letter(TASKS)
_IMPERATIVE = re.compile(
    rf"(?:^|[.!:;)\]\"”’*>#-])[ \t*>#\"“-]{{0,8}}+(?=\w)"
    rf"(?:now,? |then,? |first,? |also,? |next,? )?(?:{_VERBS})\b"
    rf"|\b(?:{_VERBS}) (?:me|us)\b"
    rf"|(?:,|\band|\bthen|\bso|\bto|\bmust) (?:{_VERBS}) \w+\b",
    re.I | re.M,
)
_RESIDUE = re.compile(
    r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|^<{3}$|^>{3}$|\{\{ ?\w+ ?\}\}|"
    r"\A(?:### ?)?(?:instruction|response|assistant|user|system) ?:"
    r"|^###? (?:instruction|response|assistant) ?:"
    r"|\bas an? (?:ai|artificial intelligence)(?: language)? (?:model|assistant)\b"
    r"|\[(?:your|insert) [^\]]{0,30}\]",
    re.I | re.M,
)
_FENCED = re.compile(r"^[ \t]{0,8}```.*?^[ \t]{0,8}```", re.S | re.M)
_INLINE = re.compile(r"`[^`\n]+`|^[ \t]{0,8}>>> .*$", re.M)
_BLANK = re.compile(r"\n{3,}")
_RUNNING = re.compile(
    r"(?:\b(?:and|or|but|the|an?|of|to|in|on|for|with|that|which|because|then|is|are|was|will|by)|[,:(\[{–—])\Z",
    re.I,
)
_UNSTOPPED = re.compile(r"[^\W\d_]\Z")
_LETTERS = 40
"""Letters per word beyond which a prompt is too long, however few words it has."""
_PROSE = 60
"""Letters of a last line from which it counts as running prose, which ends in a full stop where its
script has one.
"""
_CASELESS = re.compile(
    r"[\u0900-\u0dff\u0e00-\u0eff\u1000-\u109f\u1200-\u137f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]"
)
_ITEM = re.compile(r"(?<![ \t])[ \t]*+(?:[-*•+]|\d{1,3}[.)])[ \t]")


@dataclass(frozen=True)
class Form(Step):
    """Bounds on length in words, and the marks of an unusable text.

    Whether there is a request is told of English alone: of rows whose `language` is English, or
    else `expected`.
    """

    name: ClassVar[str] = "form"
    hygiene: ClassVar[bool] = True
    min_prompt_words: Words = 4
    max_prompt_words: Words = 1500
    min_answer_words: Words = 3
    expected: str | None = None

    def __post_init__(self) -> None:
        bounds = ("min_prompt_words", self.min_prompt_words)
        in_order(*bounds, "max_prompt_words", self.max_prompt_words)

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return [drop for row in rows if (drop := self._judge(row))]

    def _judge(self, row: Row) -> Drop | None:
        if problem := wrong_shape(row):
            return Drop(
                row["id"],
                "not a TRL layout",
                problem,
                "messages; prompt and completion; chosen and rejected",
            )
        asked, answers = asked_in(row), answers_of(row)
        first, whole = asked[0] if asked else "", "\n".join(asked)
        words = words_in(first)
        if words < self.min_prompt_words:
            return Drop(row["id"], "prompt too short", words, self.min_prompt_words)
        length = words_in(whole)
        if length > self.max_prompt_words or len(whole) > self.max_prompt_words * _LETTERS:
            return Drop(row["id"], "prompt too long", length, self.max_prompt_words)
        if broken := _broken_turns(row):
            return Drop(
                row["id"],
                "turns do not alternate",
                broken,
                "user and assistant in turn, all with text",
            )
        if self._is_english(row) and not _asks(whole):
            return Drop(row["id"], "no request", first[:80], "a question or a task")
        if residue := _RESIDUE.search(without_code(whole)):
            return Drop(row["id"], "template residue", residue.group(), "none in the prompt")
        for column, answer in answers.items():
            spoken = without_thinking(answer).strip()
            if words_in(spoken) < self.min_answer_words and column != "rejected":
                return Drop(row["id"], "answer too short", words_in(spoken), self.min_answer_words)
            if residue := _RESIDUE.search(without_code(spoken)):
                return Drop(row["id"], "template residue", residue.group(), f"none in {column}")
            if column != "rejected" and _breaks_off(spoken):
                return Drop(row["id"], "answer breaks off", spoken[-40:], "an end")
        if len(set(answers.values())) < len(answers):
            return Drop(row["id"], "identical answers", 1.0, "chosen and rejected differ")
        return None

    def _is_english(self, row: Row) -> bool:
        language = str(row.get("language") or self.expected or "English").lower()
        return language.startswith("english") or language.split("-")[0] == "en"


def _asks(text: str) -> bool:
    if "?" in text:
        return True
    text = _BLANK.sub("\n\n", text)
    return bool(_ASKING.search(text) or _IMPERATIVE.search(text))


def _breaks_off(answer: str) -> bool:
    """Whether an answer ends in the middle: of a block, of a list of promises, of a sentence."""
    if answer.count("```") % 2:
        return True
    last = answer.rsplit("\n", 1)[-1].strip()
    if _RUNNING.search(last):
        return True
    if not _UNSTOPPED.search(last) or _ITEM.match(last) or _CASELESS.search(last[-1]):
        return False
    return len(last) >= _PROSE or (
        len(last.split()) > 3 and last[:1].isupper() and last.split()[-1].islower()
    )


def without_code(text: str) -> str:
    """`text` without code, in blocks or lines."""
    return _INLINE.sub("", _FENCED.sub("", _BLANK.sub("\n\n", text)))


def _broken_turns(row: Row) -> str:
    if not row.get("messages"):
        return ""
    turns = turns_of(row["messages"])
    talk = [turn for turn in turns if turn["role"] != "system"]
    wanted = ["user", "assistant"] * (len(talk) // 2 + 1)
    if (
        [turn["role"] for turn in talk] != wanted[: len(talk)]
        or len(talk) % 2
        or talk != turns[-len(talk) :]
    ):
        return " ".join(turn["role"] for turn in turns)[:80]
    empty = [n for n, turn in enumerate(talk) if not turn["content"].strip()]
    if len(talk) > 2 and empty:
        return f"turn {empty[0] + 1} is empty"
    cut = [
        n
        for n, turn in enumerate(talk[:-1])
        if turn["role"] == "assistant" and _breaks_off(turn["content"].strip())
    ]
    return f"turn {cut[0] + 1} breaks off" if cut else ""
