"""The modulator: decides who becomes aware of what, in its group and beyond, and tells what
happened.

Answers are numbers with a reason, asked for all actions of a step in one call or for each in its
own. The control arms replace the choice and keep the count: `random` draws as many recipients as
the model named, `none` asks nobody and delivers nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, NamedTuple

from langgraph.types import interrupt
from pydantic import Field, StringConstraints, create_model

from matrix_graph.context import Context, Resources
from matrix_graph.errors import CallFailed, InputError
from matrix_graph.llm.settled import settled
from matrix_graph.schema import Action, Failure, Group
from matrix_graph.society.state import LAST, News

SHORTLIST = 5
"""Groups that a modulator is shown as candidates for its news, by embedding similarity."""

_Reason = Annotated[str, StringConstraints(max_length=120)]


@dataclass(frozen=True)
class Choice:
    """One decision: positions of who is reached and of who could have been (members or groups),
    why, and the call.
    """

    item: int
    recipients: tuple[int, ...]
    left_out: tuple[int, ...]
    reason: str
    call: str


@dataclass
class Modulator:
    """The modulator of `group`, asking `res.model` at slots below `place`, with the `rank` of its
    step.

    What the model did not decide in spite of all attempts reaches nobody, and is listed in
    `failures`.
    """

    group: Group
    res: Resources
    context: Context
    place: str
    rank: int = 0
    failures: list[Failure] = field(default_factory=list)

    async def deliver(self, actions: Sequence[Action]) -> list[Choice]:
        """Who becomes aware of each of the step's actions; positions are those of the group's
        members.
        """
        ids = [m.id for m in self.group.members]
        told = [
            _Told(a["agent"], f"{self._name(a['agent'])}: {a['text']}", ids.index(a["agent"]))
            for a in actions
        ]
        return await self._route("deliver", "actions", told) if len(ids) > 1 else []

    async def receive(self, news: Sequence[News]) -> list[Choice]:
        """Whom in the group each item of news reaches."""
        told = [_Told(n["action"], f"{n['sender_name']}: {n['text']}", -1) for n in news]
        return await self._route("receive", "news", told)

    async def exchange(self, actions: Sequence[Action], others: Sequence[Group]) -> list[Choice]:
        """What travels to which of the other groups."""
        if not others or not actions or self.context.communication == "none":
            return []
        whole = range(len(actions))
        parts = (
            [range(n, n + 1) for n in whole] if self.context.modulator == "per_action" else [whole]
        )
        found = await settled([self._travel(actions, part, others) for part in parts])
        return [choice for choices in found for choice in choices]

    async def summarise(self, actions: Sequence[Action]) -> str:
        """The scenario as a scene of a few sentences; nothing if the model gave none."""
        messages = self.res.prompts.render(
            "modulator",
            "summarise",
            members=self._members(),
            names=self._names(),
            scenario=self._told(actions),
        )
        try:
            slot = f"{self.place}/summary"
            return (
                await self.res.model.text(
                    slot, messages, max_tokens=250, paragraph=True, rank=LAST + 1
                )
            ).value
        except CallFailed as error:
            self.failures.append(Failure(stage="summary", who=self.group.id, reason=error.reason))
            return ""

    async def _travel(
        self, actions: Sequence[Action], part: range, others: Sequence[Group]
    ) -> list[Choice]:
        if self.context.modulator == "human":
            told = [f"{self._name(actions[n]['agent'])}: {actions[n]['text']}" for n in part]
            call, said = await self._person("exchange", told, [g.id for g in others])
            whole = range(len(others))
            return [
                self._choice(n, to, whole, why, call)
                for n, (to, why) in zip(part, said, strict=True)
                if to
            ]
        slot = f"{self.place}/exchange{_suffix(actions[part[0]]['id'], part, actions)}"
        messages = self.res.prompts.render(
            "modulator",
            "exchange",
            members=self._members(),
            scenario=self._told([actions[n] for n in part]),
            names=self._names(),
            candidates=_numbered(
                "; ".join(f"{m.name}: {m.profile.description}" for m in g.members) for g in others
            ),
            candidate_names=_numbered(", ".join(m.name for m in g.members) for g in others),
        )
        schema = _exchange_schema(len(part), len(others))
        try:
            answer = await self.res.model.parsed(slot, messages, schema, max_tokens=400, rank=LAST)
        except CallFailed as error:
            self.failures.append(Failure(stage="route", who=error.slot, reason=error.reason))
            return []
        pool = range(len(others))
        groups: dict[int, list[int]] = {}
        reasons: dict[int, str] = {}
        for item in answer.value.items:
            groups.setdefault(item.action, []).extend(item.groups)
            reasons.setdefault(item.action, item.reason)
        return [
            self._choice(part[action - 1], _positions(numbers), pool, reasons[action], answer.call)
            for action, numbers in groups.items()
        ]

    async def _route(self, prompt: str, variable: str, told: Sequence[_Told]) -> list[Choice]:
        if self.context.communication == "none" or not told:
            return []
        whole = range(len(told))
        parts = (
            [range(n, n + 1) for n in whole] if self.context.modulator == "per_action" else [whole]
        )
        found = await settled([self._decide(prompt, variable, told, part) for part in parts])
        return [choice for choices in found for choice in choices]

    async def _decide(
        self, prompt: str, variable: str, told: Sequence[_Told], part: range
    ) -> list[Choice]:
        n, own = len(self.group.members), [told[item] for item in part]
        if self.context.modulator == "human":
            ids = [m.id for m in self.group.members]
            call, said = await self._person(prompt, [t.text for t in own], ids)
            return [
                self._choice(
                    item, named, [p for p in range(n) if p != told[item].sender], reason, call
                )
                for item, (named, reason) in zip(part, said, strict=True)
            ]
        slot = f"{self.place}/{prompt}{_suffix(own[0].key, part, told)}"
        messages = self.res.prompts.render(
            "modulator",
            prompt,
            members=self._members(),
            names=self._names(),
            **{variable: _numbered(t.text for t in own)},
        )
        schema, tokens = _delivery_schema(n, len(own)), 60 + 70 * len(own)
        try:
            answer = await self.res.model.parsed(
                slot, messages, schema, max_tokens=tokens, rank=self.rank
            )
        except CallFailed as error:
            self.failures.append(Failure(stage="route", who=error.slot, reason=error.reason))
            return []
        return [
            self._choice(
                item,
                _positions(choice.recipients),
                [p for p in range(n) if p != told[item].sender],
                choice.reason,
                answer.call,
            )
            for item, choice in zip(part, answer.value.deliveries, strict=True)
        ]

    async def _person(
        self, what: str, told: Sequence[str], ids: Sequence[str]
    ) -> tuple[str, list[tuple[tuple[int, ...], str]]]:
        """Where it is on record, and what a person decides: per item, positions in `ids` and a
        reason.

        The person is asked through `interrupt()`: resume with a list that holds, for each item in
        order, ids or a mapping with `recipients` and `reason`.
        """
        asked = {"asks": what, "group": self.group.id, "items": list(told), "candidates": list(ids)}
        slot = f"{self.place}/{what}#1"

        async def decision() -> str:
            return json.dumps(_checked(interrupt(asked), told, ids), ensure_ascii=False)

        answer = json.loads(
            await self.res.journal.kept(
                slot, "person", json.dumps(asked, ensure_ascii=False), decision
            )
        )
        return slot, [
            (tuple(sorted(ids.index(name) for name in set(given["recipients"]))), given["reason"])
            for given in answer
        ]

    def _choice(
        self, item: int, named: tuple[int, ...], pool: Sequence[int], reason: str, call: str
    ) -> Choice:
        recipients = [p for p in named if p in pool]
        if self.context.communication == "random":
            draw = random.Random(f"{self.context.seed}/{call}/{item}")
            recipients, reason = sorted(draw.sample(pool, len(recipients))), "drawn at random"
        left_out = tuple(p for p in pool if p not in recipients)
        return Choice(item, tuple(recipients), left_out, reason, call)

    def _name(self, agent: str) -> str:
        return next(m.name for m in self.group.members if m.id == agent)

    def _members(self) -> str:
        return _numbered(
            f"{m.name}: {m.profile.description}" + (f" Goal: {m.goal}" if m.goal else "")
            for m in self.group.members
        )

    def _names(self) -> str:
        return _numbered(m.name for m in self.group.members)

    def _told(self, actions: Sequence[Action]) -> str:
        return _numbered(f"{self._name(a['agent'])}: {a['text']}" for a in actions)


def _checked(answer: Any, told: Sequence[str], ids: Sequence[str]) -> list[dict[str, Any]]:
    """A person's decision, as recipients and reason for each item."""
    if not isinstance(answer, list) or len(answer) != len(told):
        raise InputError(
            f"Resume with a list of {len(told)}: for each item the ids of whom it reaches."
        )
    decided = []
    for given in answer:
        named = given.get("recipients", []) if isinstance(given, dict) else given
        reason = str(given.get("reason", "")) if isinstance(given, dict) else ""
        if strangers := set(named) - set(ids):
            raise InputError(
                f"Nobody is called {', '.join(sorted(map(str, strangers)))}; there are "
                f"{', '.join(ids)}."
            )
        decided.append({"recipients": list(named), "reason": reason or "a person's decision"})
    return decided


class _Told(NamedTuple):
    """Something to route: what tells it apart, what the model reads, the sender's position (-1 from
    elsewhere).
    """

    key: str
    text: str
    sender: int


def _suffix(key: str, part: range, whole: Sequence[object]) -> str:
    return f"/{key}" if len(part) < len(whole) else ""


@cache
def _delivery_schema(members: int, actions: int) -> type[Any]:
    numbers = list[Annotated[int, Field(ge=1, le=members)]]
    choice = create_model(
        "Choice", reason=(_Reason, ...), recipients=(numbers, Field(max_length=members))
    )
    return create_model(
        "Deliveries", deliveries=(list[choice], Field(min_length=actions, max_length=actions))
    )  # type: ignore[valid-type]


@cache
def _exchange_schema(actions: int, groups: int) -> type[Any]:
    numbers = list[Annotated[int, Field(ge=1, le=groups)]]
    item = create_model(
        "Item",
        reason=(_Reason, ...),
        action=(Annotated[int, Field(ge=1, le=actions)], ...),
        groups=(numbers, Field(max_length=groups)),
    )
    return create_model("Exchange", items=(list[item], Field(max_length=min(actions, 3))))  # type: ignore[valid-type]


def _positions(numbers: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted({n - 1 for n in numbers}))


def _numbered(lines: Iterable[str]) -> str:
    return "\n".join(f"{n}. {line}" for n, line in enumerate(lines, 1))
