"""Moments: the turns of a society's agents in the order in which one steps through them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from matrix_graph.schema import Action, Delivery, Failure, Life, Message, Persona, Scenario
from matrix_graph.society.progress import first_life
from matrix_graph.society.state import STEPS


class Moment(NamedTuple):
    """One agent's turn: what it did, or why it did nothing. `step` counts from the run's beginning,
    and what the agent had `heard` is told where it was seen.
    """

    scenario: Scenario
    agent: str
    step: int
    action: Action | None
    failure: Failure | None
    heard: Sequence[Message] | None = None

    @property
    def id(self) -> str:
        """The action's id, or that of the call that failed."""
        if self.action:
            return self.action["id"]
        return self.call or f"{self.scenario['id']}-{self.agent}-{self.step}"

    def __repr__(self) -> str:
        return f"<Moment {self.id}: {self.text[:120]!r}>"

    @property
    def text(self) -> str:
        """What was done; or, of a turn that failed, why nothing was."""
        if self.action:
            return self.action["text"]
        return self.failure["reason"] if self.failure else ""

    @property
    def call(self) -> str:
        """The place of its call in the journal; empty for an agent that no model plays."""
        if self.action:
            return self.action["call"]
        return self.failure["call"] if self.failure else ""


def moments_of(scenarios: Sequence[Scenario]) -> list[Moment]:
    """All turns, by round, step and group; those of one step happened at the same time."""
    return sorted(
        (moment for scenario in scenarios for moment in _within(scenario)),
        key=lambda m: (m.scenario["round"], m.step, m.scenario["group"], m.agent),
    )


def inbox_of(moment: Moment) -> list[Message]:
    """What had reached the agent since its last turn in the scenario, as far as it is on record
    there.
    """
    if moment.heard is not None:
        return list(moment.heard)
    actions = moment.scenario["actions"]
    before = {a["id"] for a in actions if a["step"] == moment.step - 1}
    inside = {a["id"] for a in actions}
    first = moment.step % STEPS == 0
    inbox = []
    for message in moment.scenario.get("messages", []):
        origin = message["action"]
        if message["recipient"] == moment.agent and (
            origin in before or (first and origin not in inside)
        ):
            inbox.append(message)
    return inbox


def life_at(persona: Persona, scenarios: Sequence[Scenario], step: int) -> Life:
    """What the agent lived for at a step, as far as it is on record."""
    lives = [life for s in scenarios for life in s.get("lives", {}).get(persona.id, [])]
    begun = [life for life in lives if life["since"] <= step]
    return max(begun, key=lambda life: life["since"], default=first_life(persona))


def delivery_of(moment: Moment) -> Delivery | None:
    """Who became aware of the action, who was left out, and why."""
    if moment.action is None:
        return None
    deliveries = [
        d for d in moment.scenario.get("deliveries", []) if d["action"] == moment.action["id"]
    ]
    return next((d for d in deliveries if d["scope"] == "within"), None)


def _within(scenario: Scenario) -> list[Moment]:
    moments = [Moment(scenario, a["agent"], a["step"], a, None) for a in scenario["actions"]]
    for failure in scenario.get("failures", []):
        if failure["stage"] == "act":
            moments.append(Moment(scenario, failure["who"], failure["step"], None, failure))
    return moments
