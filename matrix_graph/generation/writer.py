"""The calls behind one row: they know the person, the requirement and what was drawn from its
mixes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TypeVar

from pydantic import BaseModel

from matrix_graph.boundary.quoting import one_line, talk
from matrix_graph.generation.requirements import Requirement
from matrix_graph.generation.retrieval import Source
from matrix_graph.llm.caller import ChatMessage
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.structured import Malformed
from matrix_graph.resources import Resources
from matrix_graph.schema import Person

M = TypeVar("M", bound=BaseModel)
_SPEAKER = re.compile(r"^\s*(?:user|me|message|question|request|prompt)\s*:\s*", re.I)
_QUOTES = {'"': '"', "“": "”", "'": "'", "«": "»"}
_LEVELS = {
    "simple": "simple: one thing asked, everyday words",
    "moderate": "moderate: one task with two or three details that matter",
    "complex": "complex: several conditions that must hold together",
}


class Writer:
    """Asks the models for one row, and notes the calls."""

    def __init__(self, source: Source, requirement: Requirement, res: Resources) -> None:
        self.source = source
        self.requirement = requirement
        self.res = res
        self.calls: list[str] = []
        self._slot = Slot(stage="generate", who=source.id, what=requirement.id)
        categories, complexity = requirement.mixes
        self.category = _drawn(categories, f"{source.id}/category")
        self.complexity = _drawn(complexity, f"{source.id}/complexity")

    async def request(self) -> str:
        """What the person asks first."""
        return await self._paragraph("instruction", "instruct", f"instruct_{self.requirement.kind}")

    async def follow_up(self, turns: Sequence[ChatMessage], check: Callable[[str], str]) -> str:
        """What the person sends next."""
        speakers = ("You" if turn["role"] == "user" else "Assistant" for turn in turns)
        said = talk(zip(speakers, (turn["content"] for turn in turns), strict=True))
        place = f"follow-up-{len(turns) // 2}"
        return await self._paragraph(place, "instruct", "follow_up", check=check, conversation=said)

    async def whole(self, check: Callable[[str], str]) -> str:
        """Request and answer in one call."""
        messages = self._prompt("instruct", "single")
        answer = await self.res.model.text(
            replace(self._slot, part="single"),
            messages,
            max_tokens=self.requirement.max_tokens + 200,
            check=check,
        )
        self.calls.append(answer.call)
        return answer.value

    async def answer(
        self,
        place: str,
        turns: Sequence[ChatMessage],
        *,
        prompt: str = "respond",
        student: bool = False,
        check: Callable[[str], str] = str.strip,
    ) -> str:
        """An answer to `turns`, by the model under `prompt`, or by the student under none."""
        if student:
            before: list[ChatMessage] = []
        elif self.requirement.system and prompt == "respond":
            before = [{"role": "system", "content": self.requirement.system}]
        else:
            before = self.res.prompts.render(prompt, language=self.requirement.language)
            if self.requirement.system:
                before[0] = {
                    **before[0],
                    "content": f"{self.requirement.system}\n\n{before[0]['content']}",
                }
        caller = self.res.student if student else self.res.model
        answer = await caller.text(
            replace(self._slot, part=place),
            [*before, *turns],
            max_tokens=self.requirement.max_tokens,
            check=check,
            grammar=None if student else self.res.prompts.grammar(prompt),
        )
        self.calls.append(answer.call)
        return answer.value

    async def judged(self, place: str, schema: type[M], **variables: str) -> M:
        """A structured judgement by the model."""
        messages = self.res.prompts.render("rate", **variables)
        answer = await self.res.model.parsed(
            replace(self._slot, part=place), messages, schema, max_tokens=60
        )
        self.calls.append(answer.call)
        return answer.value

    def opening(self) -> list[ChatMessage]:
        """The turns that come before the first request: the requirement's system prompt."""
        return [message("system", self.requirement.system)] if self.requirement.system else []

    async def _paragraph(
        self,
        place: str,
        *prompts: str,
        check: Callable[[str], str] = lambda text: text,
        **variables: str,
    ) -> str:
        answer = await self.res.model.text(
            replace(self._slot, part=place),
            self._prompt(*prompts, **variables),
            max_tokens=400,
            check=lambda text: check(cleaned(text)),
            paragraph=True,
            grammar=self.res.prompts.grammar(prompts[-1]),
        )
        self.calls.append(answer.call)
        return answer.value

    def _prompt(self, *prompts: str, **variables: str) -> list[ChatMessage]:
        scenario, agent = self.source.scenario, self.source.agent
        person = scenario.get("people", {}).get(agent) or Person(
            name=agent, description="(not known)", personality="(not known)", goal="(not known)"
        )
        actions = [a for a in scenario["actions"] if a["agent"] == agent]
        heard = [m for m in scenario.get("messages", []) if m["recipient"] == agent]
        lines = [f"- {a['text']}" for a in actions] + [
            f"- (heard) {m['sender_name']}: {m['text']}" for m in heard
        ]
        styles = self.requirement.styles
        return self.res.prompts.render(
            *prompts,
            name=one_line(person["name"]),
            description=one_line(person["description"]),
            personality=one_line(person["personality"]),
            goal=one_line(person["goal"]),
            actions="\n".join(map(one_line, lines)),
            style=styles[_hash_of(self.source.id) % len(styles)],
            category=self.category,
            complexity=_LEVELS[self.complexity],
            domain=self.requirement.domain or "whatever of this concerns them most",
            language=self.requirement.language,
            **variables,
        )


def message(role: str, content: str) -> ChatMessage:
    """A message of a conversation."""
    return {"role": role, "content": content}


def cleaned(text: str) -> str:
    """An instruction without a speaker's label or quotation marks around the whole.

    Raises:
        Malformed: nothing is left.
    """
    text = _SPEAKER.sub("", text.strip())
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[-1] not in text[1:-1]:
        text = text[1:-1]
    if not text.strip():
        raise Malformed("the message was empty")
    return text.strip()


def _drawn(mix: Mapping[str, float], key: str) -> str:
    # A generator of its own per draw would cost as much as the prompt.
    point = (
        int.from_bytes(blake2b(key.encode(), digest_size=8).digest()) / 2**64 * sum(mix.values())
    )
    for name, weight in mix.items():
        point -= weight
        if point < 0:
            return name
    return name


def _hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum(ord(c) * (i + 1) for i, c in enumerate(text))
