"""The data that passes between the stages: plain, JSON-ready, knowing nobody.

What a graph is built from is frozen (`Profile`, `Persona`, `Group`). What flows through graph
state, the store and the files is a `TypedDict`, since plain dicts cost a tenth of models there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, cast

from typing_extensions import TypedDict

Communication = Literal["structured", "random", "none"]
Routing = Literal["batched", "per_action", "human"]
"""One modulator call for all actions of a step, one for each (as in arXiv 2410.14251), or a person
who is asked.
"""

End = Literal["scenarios", "goals"]

Row = dict[str, Any]
"""One training row: `id`, `kind`, the columns of a TRL layout, and what else its owner put there.
"""


class Provenance(TypedDict, total=False):
    """Where a generated row comes from: ids, and the slots of its calls."""

    requirement: str
    scenario_id: str
    agent_id: str
    group: str
    actions: list[str]
    calls: list[str]


def requirement_of(row: Row) -> str:
    """The name of the requirement that a generated row serves."""
    return provenance_of(row).get("requirement") or str(row.get("kind", ""))


def provenance_of(row: Row) -> Provenance:
    """Where a generated row comes from; of a row that others made, what has the form of it."""
    value = row.get("provenance")
    kept: dict[str, Any] = {}
    for name, part in value.items() if isinstance(value, Mapping) else ():
        texts = part if name in ("actions", "calls") else [part]
        if (
            name in Provenance.__annotations__
            and isinstance(texts, list)
            and all(isinstance(text, str) for text in texts)
        ):
            kept[name] = part
    return cast(Provenance, kept)


@dataclass(frozen=True)
class Profile:
    """A person as the user gave them: untrusted text. `clone_of` is the id of the profile that a
    clone, for load tests, was made from.
    """

    id: str
    name: str
    description: str
    posts: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    clone_of: str = ""

    @property
    def text(self) -> str:
        """What the person is known by, for embedding."""
        return " ".join((self.description, *self.posts))


@dataclass(frozen=True)
class Persona:
    """A profile with what the model read out of it: personality, life goal, plan."""

    profile: Profile
    personality: str
    goal: str
    plan: tuple[str, ...]

    @property
    def id(self) -> str:
        return self.profile.id

    @property
    def name(self) -> str:
        return self.profile.name


@dataclass(frozen=True)
class Group:
    """Like-minded agents that live together; `id` names the group's node."""

    id: str
    members: tuple[Persona, ...]

    @property
    def text(self) -> str:
        """One line a member, for modulators of other groups."""
        return "; ".join(f"{m.name}: {m.profile.description}" for m in self.members)


class Life(TypedDict):
    """What an agent lives for: its goal and the plan to it, from step `since` on. `call` wrote
    them; the first ones are the persona's.
    """

    goal: str
    plan: list[str]
    since: int
    call: str


class Message(TypedDict):
    """An action as it reached somebody, or the part of it that did: why, and in which way, in words
    for the recipient.
    """

    id: str
    action: str
    sender: str
    sender_name: str
    recipient: str
    text: str
    reason: str
    way: NotRequired[str]


class Recollection(TypedDict):
    """A memory that came up for an agent's turn, by its step and number, with the scores that
    brought it up.
    """

    memory: str
    score: float
    relevance: float
    recency: float
    importance: float


class Action(TypedDict):
    """What one agent did at one step, what it remembered then, and who became aware of it.

    `date` is the day of the step, in ISO form; `answers` are the actions to which it reacts;
    `doubt` is why a first answer was not plausible and this one was asked for.
    """

    id: str
    agent: str
    step: int
    text: str
    trigger: Literal["goal", "reaction"]
    recipients: list[str]
    reason: str
    call: str
    date: NotRequired[str]
    answers: NotRequired[list[str]]
    doubt: NotRequired[str]
    recalled: NotRequired[list[Recollection]]


class Delivery(TypedDict):
    """A decision of the modulator: how far an action became known, and why.

    `within` the group and `incoming` from another, recipients are agents; `outgoing`, they are
    groups. `left_out` are those who could have been reached and were not. `learnt` is what
    recipients learn, where that is not all.
    """

    action: str
    sender: str
    scope: Literal["within", "incoming", "outgoing"]
    recipients: list[str]
    left_out: list[str]
    reason: str
    call: str
    learnt: NotRequired[str]


class Failure(TypedDict):
    """Something that did not happen, and why.

    `who` is the id of the agent, group, profile or row; `call` the call's place in the journal,
    if one was made; `step` counts from the run's beginning, where it happened to an agent.
    """

    stage: Literal["persona", "act", "route", "summary", "generate"]
    who: str
    reason: str
    call: str
    step: NotRequired[int]


class Person(TypedDict):
    """What a scenario says of an agent, so that it can be read without its society."""

    name: str
    description: str
    personality: str
    goal: str


class Scenario(TypedDict):
    """A set of agents and the actions they took, closed every few modulator steps.

    `date` is its first day, in ISO form; `lives` are those that agents began in it.
    """

    id: str
    group: str
    round: int
    agents: list[str]
    actions: list[Action]
    summary: str
    date: NotRequired[str]
    people: NotRequired[dict[str, Person]]
    lives: NotRequired[dict[str, list[Life]]]
    failures: NotRequired[list[Failure]]
    messages: NotRequired[list[Message]]
    deliveries: NotRequired[list[Delivery]]


class Rejection(TypedDict):
    """A dropped row with the rule that dropped it, the value seen and the threshold."""

    id: str
    kind: str
    rule: str
    value: float | str
    threshold: float | str
    row: Row
