"""Routers: whom each of several items reaches, decided by a model, by a person, or by chance.

A `Question` says what is to be routed and to whom it could go; a `Router` answers it. The control
arms are routers, too: `Random` keeps the counts of the router it wraps and draws who is reached,
`Nobody` reaches no one and asks no one.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from matrix_graph.asking import ask
from matrix_graph.boundary.values import read_json
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed, InputError
from matrix_graph.llm.caller import Caller, ChatMessage
from matrix_graph.llm.journal import Journal
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.tasks import gather_to_end
from matrix_graph.resources import Resources
from matrix_graph.schema import Failure


class Item(NamedTuple):
    """Something to route: what tells it apart, its text, the sender's position (-1: elsewhere)."""

    key: str
    text: str
    sender: int = -1


class Decision(NamedTuple):
    """What is decided of one item: its position, positions of who is reached, why, in which way, in
    words for them, and what they learn, if not all.
    """

    item: int
    recipients: tuple[int, ...]
    reason: str
    way: str = ""
    learnt: str = ""


@dataclass(frozen=True)
class Choice:
    """A decision on record: positions of who is reached and of who is left out, and the call."""

    item: int
    recipients: tuple[int, ...]
    left_out: tuple[int, ...]
    reason: str
    call: str
    way: str = ""
    learnt: str = ""


class Routed(NamedTuple):
    """The choices, and what could not be decided in spite of all attempts: that reaches nobody."""

    choices: list[Choice]
    failures: list[Failure]


class Question(Protocol):
    """Items, and the candidates (ids of members or of groups) that each could reach.

    Attributes:
        slot: Where it is asked; a question about one of several items has that item's key as part.
    """

    slot: Slot
    items: Sequence[Item]
    rank: int

    @property
    def candidates(self) -> Sequence[str]:
        """The ids that recipients are positions of."""
        ...

    def messages(self, items: Sequence[Item]) -> list[ChatMessage]:
        """The prompt about some of the items."""
        ...

    def schema(self, items: int) -> type[Any]:
        """The shape of an answer about so many items."""
        ...

    def max_tokens(self, items: int) -> int:
        """Length limit of that answer."""
        ...

    def decisions(self, answer: Any) -> Iterator[Decision]:
        """What the answer says, by position among the items that were asked about."""
        ...


class Router(Protocol):
    """Answers questions."""

    async def route(self, question: Question) -> Routed:
        """Who is reached by each item; an item without a choice reaches nobody."""
        ...


@dataclass(frozen=True)
class Batched:
    """A model that decides of all items in one call."""

    caller: Caller

    async def route(self, question: Question) -> Routed:
        """See `Router`."""
        return await _asked(self.caller, question, range(len(question.items)))


@dataclass(frozen=True)
class PerAction:
    """A model that decides of each item in a call of its own (arXiv 2410.14251)."""

    caller: Caller

    async def route(self, question: Question) -> Routed:
        """See `Router`."""
        single = [range(n, n + 1) for n in range(len(question.items))]
        parts = await gather_to_end([_asked(self.caller, question, part) for part in single])
        choices = [choice for part in parts for choice in part.choices]
        return Routed(choices, [failure for part in parts for failure in part.failures])


@dataclass(frozen=True)
class Person:
    """A person who is asked through `interrupt()`; a wrong answer is asked for again, with why.

    Resume with a list that holds, for each item in order, ids or a mapping with `recipients` and
    `reason`.
    """

    journal: Journal
    apart: Mapping[str, str]

    async def route(self, question: Question) -> Routed:
        """See `Router`."""
        asked = {
            "asks": question.slot.what,
            "group": question.slot.who,
            "items": [item.text for item in question.items],
            "candidates": list(question.candidates),
        }

        def checked(answer: Any) -> list[dict[str, Any]]:
            return _checked(answer, len(question.items), question.candidates)

        async def decision() -> str:
            return json.dumps(ask(asked, checked), ensure_ascii=False)

        described = json.dumps(asked | dict(self.apart), ensure_ascii=False)
        answer = read_json(await self.journal.kept(question.slot, "person", described, decision))
        place = {name: n for n, name in enumerate(question.candidates)}
        call = str(question.slot.at(1))
        choices = []
        for number, entry in enumerate(answer):
            positions = tuple(sorted({place[name] for name in entry["recipients"]}))
            decided = Decision(number, positions, entry["reason"])
            choices.append(_choice(question, decided, call))
        return Routed(choices, [])


@dataclass(frozen=True)
class Random:
    """The control arm: as many recipients as another router names, drawn at random."""

    router: Router
    seed: int

    async def route(self, question: Question) -> Routed:
        """See `Router`."""
        routed = await self.router.route(question)
        return routed._replace(choices=[self._drawn(choice) for choice in routed.choices])

    def _drawn(self, choice: Choice) -> Choice:
        pool = sorted((*choice.recipients, *choice.left_out))
        draw = random.Random(f"{self.seed}/{choice.call}/{choice.item}")
        recipients = tuple(sorted(draw.sample(pool, len(choice.recipients))))
        left_out = tuple(p for p in pool if p not in recipients)
        reason = "drawn at random"
        return replace(choice, recipients=recipients, left_out=left_out, reason=reason)


@dataclass(frozen=True)
class Nobody:
    """The control arm without communication."""

    async def route(self, question: Question) -> Routed:
        """See `Router`."""
        return Routed([], [])


def router_of(context: Context, resources: Resources) -> Router:
    """The router that the context names."""
    if context.communication == "none":
        return Nobody()
    router: Router
    if context.modulator == "human":
        router = Person(resources.journal, resources.apart)
    elif context.modulator == "per_action":
        router = PerAction(resources.model)
    else:
        router = Batched(resources.model)
    return Random(router, context.seed) if context.communication == "random" else router


async def _asked(caller: Caller, question: Question, part: range) -> Routed:
    """What a model decides of the items in `part`."""
    items = [question.items[n] for n in part]
    slot = question.slot
    if len(items) < len(question.items):
        slot = replace(slot, part=items[0].key)
    try:
        answer = await caller.parsed(
            slot,
            question.messages(items),
            question.schema(len(items)),
            max_tokens=question.max_tokens(len(items)),
            rank=question.rank,
        )
    except CallFailed as error:
        failure = Failure(stage="route", who=slot.who, reason=error.reason, call=error.slot)
        return Routed([], [failure])
    decided = question.decisions(answer.value)
    moved = (decision._replace(item=part[decision.item]) for decision in decided)
    return Routed([_choice(question, decision, answer.call) for decision in moved], [])


def _choice(question: Question, decision: Decision, call: str) -> Choice:
    """The decision without those who cannot be reached: the sender."""
    sender = question.items[decision.item].sender
    pool = [p for p in range(len(question.candidates)) if p != sender]
    recipients = tuple(p for p in decision.recipients if p in pool)
    left_out = tuple(p for p in pool if p not in recipients)
    return Choice(
        decision.item, recipients, left_out, decision.reason, call, decision.way, decision.learnt
    )


def _checked(answer: Any, items: int, candidates: Sequence[str]) -> list[dict[str, Any]]:
    """A person's decision: `recipients` and `reason` for each item."""
    if not isinstance(answer, list) or len(answer) != items:
        raise InputError(
            f"Resume with a list of {items}: for each item the ids of whom it reaches."
        )
    decided = []
    for entry in answer:
        named, reason = entry, ""
        if isinstance(entry, dict):
            named, reason = entry.get("recipients", []), str(entry.get("reason", ""))
        if not isinstance(named, list | tuple):
            raise InputError(f"{named!r} is no list of ids; name some of {', '.join(candidates)}.")
        if strangers := [name for name in named if name not in candidates]:
            unknown = ", ".join(map(str, strangers))
            raise InputError(f"Nobody is called {unknown}; there are {', '.join(candidates)}.")
        reason = reason or "a person's decision"
        decided.append({"recipients": list(dict.fromkeys(named)), "reason": reason})
    return decided
