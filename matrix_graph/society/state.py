"""What the society's graphs carry between steps: ids, inboxes and counters, small and concretely
typed.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from typing_extensions import TypedDict

from matrix_graph.schema import Action, Delivery, Failure, Life, Message, Recollection

STEPS = 3
"""Modulator steps after which a scenario closes (arXiv 2410.14251)."""

LAST = 2 * STEPS + 1
"""Rank of the calls that close a scenario. Those of an agent at step s have 2s, of the modulator
after it 2s + 1: a group that lags goes first, so that a round does not end with all waiting for
one."""


class Progress(TypedDict):
    """Where an agent stands: the next plan step, whether its goal is reached, failures and
    reactions in a row, the life that it has begun (None: the persona's), and whom of other groups
    it has heard of, a line each.
    """

    plan_step: int
    finished: bool
    failures: int
    reactions: int
    life: Life | None
    known: list[str]


class Placed(TypedDict):
    """Where in the run something happens."""

    round: int
    step: int


def time_of(place: Placed) -> int:
    """The step counted from the run's beginning, as memories and actions have it."""
    return place["round"] * STEPS + place["step"]


class Dated(Placed):
    """The same with its day, in ISO form."""

    date: str


class Turn(Dated):
    """The input of an agent node: everything that it needs to act once.

    A `reaction` is to the observations; where its `goal` is the
    next plan step, they are what was heard meanwhile. `plan_number` is 0 past the plan's end.
    `memories` begin with what the agent did last. `known` are people of other groups, a line each.
    """

    agent: str
    trigger: Literal["goal", "reaction"]
    life: Life
    plan_number: int
    plan_step: str
    observations: list[Message]
    memories: list[str]
    recalled: list[Recollection]
    known: list[str]


class Outcome(TypedDict):
    """What an agent node returns: an action, or the reason why there is none.

    `step` is the status of a reaction that also got the plan step done, `finished` that of an
    action that reached the goal. `life` is what the agent began to live for in this turn; `doubt`
    is why its first answer was asked for again.
    """

    agent: str
    text: str
    trigger: Literal["goal", "reaction"]
    status: Literal["done", "step", "continue", "finished", "failed"]
    answers: list[str]
    life: Life | None
    doubt: str
    call: str
    reason: str
    recalled: list[Recollection]


class News(TypedDict):
    """An action of one group, as it comes to another."""

    sender: str
    sender_name: str
    sender_line: str
    action: str
    text: str


class Sent(TypedDict):
    """News on its way to a group: an action of a scenario on record, by its position there."""

    group: str
    scenario: str
    action: int


class GroupReport(TypedDict):
    """What a group hands to the society when its scenario is over; `scenario` is empty if nothing
    happened.
    """

    group: str
    scenario: str
    actions: int
    failed: int
    progress: dict[str, Progress]
    waiting: dict[str, list[int]]
    outgoing: list[Sent]


def collected(before: list[Outcome], new: list[Outcome] | None) -> list[Outcome]:
    """Reducer: nodes of one step add, and None clears."""
    return [] if new is None else before + new


def reported(before: list[GroupReport], new: list[GroupReport] | None) -> list[GroupReport]:
    """Reducer: groups of one round add, and None clears."""
    return [] if new is None else before + new


class GroupInput(TypedDict):
    """What a group starts a scenario with.

    `waiting` holds messages by recipient, as their positions in the group's last scenario, `last`.
    In a `closing` round no news leaves the group, since nobody would hear of it.
    """

    round: int
    progress: dict[str, Progress]
    last: str
    waiting: dict[str, list[int]]
    news: list[Sent]
    closing: bool


class GroupState(GroupInput):
    """A group within a scenario. `step` counts the modulator steps taken; `scene` is how the
    scenario before ended.
    """

    step: int
    scene: str
    lives: dict[str, list[Life]]
    inbox: dict[str, list[Message]]
    outcomes: Annotated[list[Outcome], collected]
    actions: list[Action]
    messages: list[Message]
    deliveries: list[Delivery]
    failures: list[Failure]
    reports: Annotated[list[GroupReport], reported]


class GroupOutput(TypedDict):
    """What a group gives back."""

    reports: Annotated[list[GroupReport], reported]


class SocietyInput(TypedDict):
    """`quota`: how many scenarios are wanted. `closing` says that there will not be more: no news
    leaves a group in the last round, since nobody would hear of it.
    """

    quota: int
    closing: NotRequired[bool]


class SocietyState(SocietyInput):
    """The society between scenarios. What waits for a group's next one is on record in scenarios;
    here is where.
    """

    round: int
    produced: int
    acted: int
    failed: int
    played: dict[str, int]
    progress: dict[str, Progress]
    last: dict[str, str]
    waiting: dict[str, dict[str, list[int]]]
    news: dict[str, list[Sent]]
    reports: Annotated[list[GroupReport], reported]


class SocietyOutput(TypedDict):
    """How many scenarios there are, how many actions they hold, and how many things failed."""

    produced: int
    acted: int
    failed: int
