"""The modulator: decides who becomes aware of what, in its group and beyond, and tells what happened.

Answers are numbers with a reason. The control arms replace the choice and keep the count: `random`
draws as many recipients as the model named, `none` asks nobody and delivers nothing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import Field, StringConstraints, create_model

from matrix_graph.context import Resources
from matrix_graph.schema import Action, Communication, Group
from matrix_graph.society.state import News

SHORTLIST = 5
"""Groups that a modulator is shown as candidates for its news, by embedding similarity."""

_Reason = Annotated[str, StringConstraints(max_length=120)]


@dataclass(frozen=True)
class Delivery:
    """One decision: positions of the recipients (members or groups), and why."""

    item: int
    recipients: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Modulator:
    """The modulator of `group`, asking `res.model` at slots below `society/r<round>/`."""

    group: Group
    res: Resources
    communication: Communication
    seed: int

    async def deliver(self, actions: Sequence[Action], round: int, step: int) -> list[Delivery]:
        """Who becomes aware of each of the step's actions; positions are those of the group's members.

        Raises:
            CallFailed: the model gave no usable answer.
        """
        ids = [m.id for m in self.group.members]
        senders = [ids.index(action["agent"]) for action in actions]
        text = _numbered(f"{self._name(a['agent'])}: {a['text']}" for a in actions)
        slot = f"society/r{round}/s{step}/{self.group.id}/deliver"
        return await self._route(slot, "deliver", "actions", text, senders)

    async def receive(self, news: Sequence[News], round: int) -> list[Delivery]:
        """Whom in the group each item of news reaches. Errors as `deliver`."""
        text = _numbered(f"{n['sender_name']}: {n['text']}" for n in news)
        return await self._route(f"society/r{round}/{self.group.id}/receive", "receive", "news", text, [-1] * len(news))

    async def exchange(self, actions: Sequence[Action], others: Sequence[Group], round: int) -> list[Delivery]:
        """What travels to which of the other groups. Errors as `deliver`."""
        if not others or not actions or self.communication == "none":
            return []
        messages = self.res.prompts.render(
            "modulator",
            "exchange",
            members=self._members(),
            scenario=self._told(actions),
            names=self._names(),
            candidates=_numbered("; ".join(f"{m.name}: {m.profile.description}" for m in g.members) for g in others),
            candidate_names=_numbered(", ".join(m.name for m in g.members) for g in others),
        )
        slot = f"society/r{round}/{self.group.id}/exchange"
        answer = await self.res.model.parsed(
            slot, messages, _exchange_schema(len(actions), len(others)), max_tokens=400
        )
        found = [Delivery(d.action - 1, _positions(d.groups), d.reason) for d in answer.value.items]
        return [self._controlled(d, range(len(others)), slot) for d in found]

    async def summarise(self, actions: Sequence[Action], round: int) -> str:
        """The scenario as a scene of a few sentences. Errors as `deliver`."""
        messages = self.res.prompts.render(
            "modulator", "summarise", members=self._members(), names=self._names(), scenario=self._told(actions)
        )
        answer = await self.res.model.text(
            f"society/r{round}/{self.group.id}/summary", messages, max_tokens=250, paragraph=True
        )
        return answer.value

    async def _route(self, slot: str, prompt: str, variable: str, text: str, senders: list[int]) -> list[Delivery]:
        n = len(self.group.members)
        if self.communication == "none" or (n == 1 and senders == [0] * len(senders)):
            return [Delivery(i, (), "") for i in range(len(senders))]
        messages = self.res.prompts.render(
            "modulator", prompt, members=self._members(), names=self._names(), **{variable: text}
        )
        schema = _delivery_schema(n, len(senders))
        answer = await self.res.model.parsed(slot, messages, schema, max_tokens=60 + 70 * len(senders))
        deliveries = []
        for i, (sender, choice) in enumerate(zip(senders, answer.value.deliveries, strict=True)):
            recipients = tuple(p for p in _positions(choice.recipients) if p != sender)
            others = [p for p in range(n) if p != sender]
            deliveries.append(self._controlled(Delivery(i, recipients, choice.reason), others, slot))
        return deliveries

    def _controlled(self, delivery: Delivery, pool: Sequence[int], slot: str) -> Delivery:
        if self.communication != "random":
            return delivery
        drawn = random.Random(f"{self.seed}/{slot}/{delivery.item}").sample(pool, len(delivery.recipients))
        return Delivery(delivery.item, tuple(sorted(drawn)), "drawn at random")

    def _name(self, agent: str) -> str:
        return next(m.name for m in self.group.members if m.id == agent)

    def _members(self) -> str:
        return _numbered(f"{m.name}: {m.profile.description} Goal: {m.goal}" for m in self.group.members)

    def _names(self) -> str:
        return _numbered(m.name for m in self.group.members)

    def _told(self, actions: Sequence[Action]) -> str:
        return _numbered(f"{self._name(a['agent'])}: {a['text']}" for a in actions)


@cache
def _delivery_schema(members: int, actions: int) -> type[Any]:
    numbers = list[Annotated[int, Field(ge=1, le=members)]]
    choice = create_model("Choice", reason=(_Reason, ...), recipients=(numbers, Field(max_length=members)))
    return create_model("Deliveries", deliveries=(list[choice], Field(min_length=actions, max_length=actions)))  # type: ignore[valid-type]


@cache
def _exchange_schema(actions: int, groups: int) -> type[Any]:
    numbers = list[Annotated[int, Field(ge=1, le=groups)]]
    item = create_model(
        "Item",
        reason=(_Reason, ...),
        action=(Annotated[int, Field(ge=1, le=actions)], ...),
        groups=(numbers, Field(max_length=groups)),
    )
    return create_model("Exchange", items=(list[item], Field(max_length=3)))  # type: ignore[valid-type]


def _positions(numbers: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({n - 1 for n in numbers}))


def _numbered(lines: Iterable[str]) -> str:
    return "\n".join(f"{n}. {line}" for n, line in enumerate(lines, 1))
