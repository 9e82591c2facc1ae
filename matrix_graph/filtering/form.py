"""Form: a real request, whole answers, no text of templates or of the model about itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from matrix_graph.filtering.rows import answers_of, prompt_of, words_in
from matrix_graph.filtering.step import Drop
from matrix_graph.schema import Row

_ASKING = re.compile(
    r"[?？؟¿]|"
    r"\b(?:please|help me|can you|could you|would you|will you|tell me|show me|give me|"
    r"i (?:need|want|would like)|i'd like|i am looking for|i'm looking for|let me know|"
    r"(?:do you )?know (?:how|what|where|why|if|whether)|how (?:do|can|should|would|to)|what (?:is|are|should|would)|"
    r"advise|suggestions?|recommend(?:ations?)?)\b",
    re.I,
)
_VERBS = (
    "write|explain|describe|list|make|draft|compare|calculate|work out|check|review|suggest|plan|create|design|find|"
    "summari[sz]e|translate|rewrite|outline|walk me|prepare|propose|estimate|show|tell|give|help|implement|fix|"
    "evaluate|analy[sz]e|discuss|identify|provide|generate|compute|solve|prove|classify|edit|convert|recommend|draw up|"
    "break down|"
    "go through|set up|build|choose|decide|correct|complete|answer|name|state|define|brainstorm|develop|construct|sort|"
    "arrange|format|simplify|shorten|paraphrase|rephrase|proofread|polish|critique|assess|rank|predict|imagine|pretend|"
    "act as|role-?play|continue|fill in|match|extract|categori[sz]e|label|detect|debug|refactor|optimi[sz]e|improve|"
    "verify|teach|determine|derive|remove|replace|return|print|cite|share|consider|assume|let's|add|expand|elaborate|"
    "illustrate|interpret|justify|formulate|compose|produce|combine|merge|select|pick|organi[sz]e|schedule|diagnose|"
    "troubleshoot|advise|use (?:the|this|these)|turn (?:the|this|these|it)"
)
_IMPERATIVE = re.compile(
    rf"(?:^|[.!:;\n)\]\"”’]\s*)(?:now,?\s+|then,?\s+|first,?\s+)?(?:{_VERBS})\b"
    rf"|\b(?:{_VERBS})\s+(?:me|us)\b"
    rf"|(?:,|\band|\bthen|\bso)\s+(?:{_VERBS})\s+(?:my|our|an?|the|this|it|how|what|why|which|whether)\b",
    re.I,
)
_RESIDUE = re.compile(
    r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|<{3}|>{3}|\{\{\s*\w+\s*\}\}|^(?:###\s*)?(?:instruction|response|assistant|user|system)\s*:"
    r"|\bas an? (?:ai|artificial intelligence)(?: language)? (?:model|assistant)\b|\[(?:your|insert) [^\]]{0,30}\]",
    re.I | re.M,
)
_CODE = re.compile(r"^```.*?^```|^\s*>>> .*$", re.S | re.M)
_ENDED = re.compile(r"[.!?…。！？।؟:;)\]}\"'”’»`*|>\-=]\s*\Z|\d\s*\Z")


@dataclass(frozen=True)
class Form:
    """Bounds on length in words, and the marks of an unusable text."""

    name: str = "form"
    compares: bool = False
    min_prompt_words: int = 4
    max_prompt_words: int = 1500
    min_answer_words: int = 3

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        return [drop for row in rows if (drop := self._judge(row))]

    def _judge(self, row: Row) -> Drop | None:
        prompt, answers = prompt_of(row), answers_of(row)
        words = words_in(prompt)
        if words < self.min_prompt_words:
            return Drop(row["id"], "prompt too short", words, self.min_prompt_words)
        if words > self.max_prompt_words:
            return Drop(row["id"], "prompt too long", words, self.max_prompt_words)
        if broken := _broken_turns(row):
            return Drop(row["id"], "turns do not alternate", broken, "user and assistant in turn, all with text")
        english = str(row.get("language") or "English").lower().startswith("english")
        if english and not _ASKING.search(prompt) and not _IMPERATIVE.search(prompt):
            return Drop(row["id"], "no request", prompt[:80], "a question or a task")
        if found := _RESIDUE.search(without_code(prompt)):
            return Drop(row["id"], "template residue", found.group(), "none in the prompt")
        for column, answer in answers.items():
            if words_in(answer) < self.min_answer_words and column != "rejected":
                return Drop(row["id"], "answer too short", words_in(answer), self.min_answer_words)
            if found := _RESIDUE.search(without_code(answer)):
                return Drop(row["id"], "template residue", found.group(), f"none in {column}")
            if column != "rejected" and not _ENDED.search(answer.strip()):
                return Drop(row["id"], "answer breaks off", answer.strip()[-40:], "an end")
        if len(set(answers.values())) < len(answers):
            return Drop(row["id"], "identical answers", 1.0, "chosen and rejected differ")
        return None


def without_code(text: str) -> str:
    """`text` without blocks of code."""
    return _CODE.sub("", text)


def _broken_turns(row: Row) -> str:
    turns = row.get("messages")
    if not isinstance(turns, list):
        return ""
    talk = [turn for turn in turns if turn.get("role") != "system"]
    if len(talk) <= 2:
        return ""
    wanted = ["user", "assistant"] * (len(talk) // 2 + 1)
    if [turn.get("role") for turn in talk] != wanted[: len(talk)] or len(talk) % 2 or talk != turns[-len(talk) :]:
        return " ".join(str(turn.get("role")) for turn in turns)
    empty = [n for n, turn in enumerate(talk) if not str(turn.get("content") or "").strip()]
    return f"turn {empty[0] + 1} is empty" if empty else ""
