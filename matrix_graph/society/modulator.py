"""The modulator of a group: who becomes aware of what, within and beyond it, and the scenario told.

It puts the questions; a `Router` answers them. Answers are numbers with a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

from pydantic import Field, StringConstraints, create_model

from matrix_graph.boundary.quoting import numbered, one_line
from matrix_graph.errors import CallFailed
from matrix_graph.llm.caller import ChatMessage
from matrix_graph.llm.prompts import Prompts
from matrix_graph.llm.slot import Slot
from matrix_graph.resources import Resources
from matrix_graph.schema import Action, Failure, Group, Life, Message
from matrix_graph.society.routing import Choice, Decision, Item, Question, Router
from matrix_graph.society.state import LAST, News

SHORTLIST = 5
"""Groups that a modulator is shown as candidates for its news, by embedding similarity."""

_Reason = Annotated[str, StringConstraints(max_length=300)]
_Way = Annotated[str, StringConstraints(max_length=120)]
_Learnt = Annotated[str, StringConstraints(max_length=700)]
_EMPTY: Mapping[str, Sequence[Message]] = {}


@dataclass
class Modulator:
    """The modulator of `group` at one visit.

    Attributes:
        place: The slot of the visit: its time, with the group as `who`.
        rank: That of the step's calls.
        scene: How the group's scenario before ended, in words.
        setting: How its people know each other.
        lives: What its members live for, by id; the goals of their personas where there is none.
        failures: What could not be decided in spite of all attempts.
    """

    group: Group
    resources: Resources
    router: Router
    place: Slot
    rank: int = 0
    scene: str = ""
    setting: str = ""
    lives: Mapping[str, Life] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    async def deliver(
        self, actions: Sequence[Action], inbox: Mapping[str, Sequence[Message]] = _EMPTY
    ) -> list[Choice]:
        """Who becomes aware of each of the step's actions; positions are those of the members.

        `inbox` holds what had reached those who acted.
        """
        if len(self.group.members) < 2:
            return []
        ids = [m.id for m in self.group.members]
        items = [
            Item(a["agent"], self._line(a, inbox.get(a["agent"], ())), ids.index(a["agent"]))
            for a in actions
        ]
        return await self._route("deliver", items)

    async def receive(self, news: Sequence[News]) -> list[Choice]:
        """Whom in the group each item of news reaches."""
        items = [Item(n["action"], f"{n['sender_name']}: {n['text']}") for n in news]
        return await self._route("receive", items)

    async def exchange(self, actions: Sequence[Action], others: Sequence[Group]) -> list[Choice]:
        """What travels to which of the other groups; positions are those of `others`."""
        if not others or not actions:
            return []
        items = [Item(a["id"], self._line(a)) for a in actions]
        question = _Exchange(
            self.group, self._about(), self.resources.prompts, self._slot("exchange"), items,
            others, LAST,
        )  # fmt: skip
        return await self._answered(question)

    async def summarise(self, actions: Sequence[Action]) -> str:
        """The scenario as a scene of a few sentences; nothing if the model gave none."""
        messages = self.resources.prompts.render(
            "modulator",
            "summarise",
            **self._about(),
            scenario=numbered(map(self._line, actions)),
        )
        slot = self._slot("summary")
        try:
            answer = await self.resources.model.text(
                slot, messages, max_tokens=350, paragraph=True, rank=LAST + 1
            )
        except CallFailed as error:
            failure = Failure(
                stage="summary", who=self.group.id, reason=error.reason, call=error.slot
            )
            self.failures.append(failure)
            return ""
        return answer.value

    async def _route(self, what: str, items: Sequence[Item]) -> list[Choice]:
        if not items:
            return []
        question = _Delivery(
            self.group, self._about(), self.resources.prompts, self._slot(what), items, self.rank,
            self.scene,
        )  # fmt: skip
        return await self._answered(question)

    async def _answered(self, question: Question) -> list[Choice]:
        routed = await self.router.route(question)
        self.failures += routed.failures
        return routed.choices

    def _about(self) -> dict[str, str]:
        """The group for prompts: its members with what they live for now, a line each, and the
        setting.
        """
        lines = []
        for member in self.group.members:
            goal = self.lives[member.id]["goal"] if member.id in self.lives else member.goal
            wants = f" Goal: {goal}" if goal else ""
            lines.append(f"{member.name}: {member.profile.description}{wants}")
        names = numbered(m.name for m in self.group.members)
        return {
            "members": numbered(lines), "names": names, "setting": one_line(self.setting)
        }  # fmt: skip

    def _slot(self, what: str) -> Slot:
        place = self.place
        return Slot(
            stage=place.stage,
            who=place.who,
            what=what,
            part=place.part,
            round=place.round,
            step=place.step,
        )

    def _line(self, action: Action, heard: Sequence[Message] = ()) -> str:
        """An action with who did it, and whom they had heard."""
        name = next(m.name for m in self.group.members if m.id == action["agent"])
        answered = [m["sender_name"] for m in heard if m["action"] in action.get("answers", ())]
        after = f", having heard {' and '.join(dict.fromkeys(answered))}" if answered else ""
        return f"{name}{after}: {action['text']}"


@dataclass
class _Delivery:
    """Whom in the group each item reaches: what was just done there, or news from outside."""

    group: Group
    about: Mapping[str, str]
    prompts: Prompts
    slot: Slot
    items: Sequence[Item]
    rank: int
    scene: str

    @property
    def candidates(self) -> Sequence[str]:
        return [m.id for m in self.group.members]

    def messages(self, items: Sequence[Item]) -> list[ChatMessage]:
        variable = "news" if self.slot.what == "receive" else "actions"
        return self.prompts.render(
            "modulator",
            self.slot.what,
            **self.about,
            scene=one_line(self.scene) or "(it begins)",
            **{variable: numbered(item.text for item in items)},
        )

    def schema(self, items: int) -> type[Any]:
        whole = self.slot.what == "receive" or self.prompts.small
        return _delivery_schema(len(self.group.members), items, not whole)

    def max_tokens(self, items: int) -> int:
        return 60 + 160 * items

    def decisions(self, answer: Any) -> Iterator[Decision]:
        for number, choice in enumerate(answer.deliveries):
            recipients = _positions(choice.recipients)
            yield Decision(number, recipients, choice.reason, choice.way, _learnt(choice))


@dataclass
class _Exchange:
    """Which of the other groups each of the scenario's actions travels to."""

    group: Group
    about: Mapping[str, str]
    prompts: Prompts
    slot: Slot
    items: Sequence[Item]
    others: Sequence[Group]
    rank: int

    @property
    def candidates(self) -> Sequence[str]:
        return [group.id for group in self.others]

    def messages(self, items: Sequence[Item]) -> list[ChatMessage]:
        return self.prompts.render(
            "modulator",
            "exchange",
            **self.about,
            scenario=numbered(item.text for item in items),
            candidates=numbered(group.text for group in self.others),
            candidate_names=numbered(
                ", ".join(m.name for m in group.members) for group in self.others
            ),
        )

    def schema(self, items: int) -> type[Any]:
        return _exchange_schema(items, len(self.others), not self.prompts.small)

    def max_tokens(self, items: int) -> int:
        return 600

    def decisions(self, answer: Any) -> Iterator[Decision]:
        # A group that is named twice for one action learns the less of it.
        items = sorted(answer.items, key=lambda item: not _learnt(item))
        told: dict[tuple[int, str], list[int]] = {}
        reasons: dict[tuple[int, str], str] = {}
        reached: set[tuple[int, int]] = set()
        for item in items:
            what = item.action, _learnt(item)
            new = [number for number in item.groups if (item.action, number) not in reached]
            reached |= {(item.action, number) for number in new}
            told.setdefault(what, []).extend(new)
            reasons.setdefault(what, item.reason)
        for (action, learnt), numbers in told.items():
            if numbers:
                reason = reasons[action, learnt]
                yield Decision(action - 1, _positions(numbers), reason, learnt=learnt)


def _learnt(choice: Any) -> str:
    """What recipients learn, where that is not all; small models are not asked."""
    return str(getattr(choice, "learnt", "")).strip()


@cache
def _delivery_schema(members: int, actions: int, in_part: bool) -> type[Any]:
    """`in_part`: with what recipients learn, if that is not all."""
    numbers = list[Annotated[int, Field(ge=1, le=members)]]
    fields: dict[str, Any] = {
        "reason": (_Reason, ...),
        "recipients": (numbers, Field(max_length=members)),
        "way": (_Way, ""),
    }
    if in_part:
        fields["learnt"] = (_Learnt, "")
    choice: Any = create_model("Choice", **fields)
    deliveries: Any = (list[choice], Field(min_length=actions, max_length=actions))
    return create_model("Deliveries", deliveries=deliveries)


@cache
def _exchange_schema(actions: int, groups: int, in_part: bool) -> type[Any]:
    numbers = list[Annotated[int, Field(ge=1, le=groups)]]
    fields: dict[str, Any] = {
        "reason": (_Reason, ...),
        "action": (Annotated[int, Field(ge=1, le=actions)], ...),
        "groups": (numbers, Field(max_length=groups)),
    }
    if in_part:
        fields["learnt"] = (_Learnt, "")
    item: Any = create_model("Item", **fields)
    items: Any = (list[item], Field(max_length=min(actions, 3)))
    return create_model("Exchange", items=items)


def _positions(numbers: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({n - 1 for n in numbers}))
