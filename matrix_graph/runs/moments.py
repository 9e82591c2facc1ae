"""Moments: the turns of a society's agents in the order in which one steps through them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from matrix_graph.schema import Action, Delivery, Failure, Message, Scenario
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
        return self.action["id"] if self.action else str(self.failure and self.failure["who"])

    @property
    def call(self) -> str:
        """The place of the call behind it in the journal; empty for an agent that no model plays.
        """
        return self.action["call"] if self.action else self.id


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
    before = {a["id"] for a in moment.scenario["actions"] if a["step"] == moment.step - 1}
    own = {a["id"] for a in moment.scenario["actions"]}
    first = moment.step % STEPS == 0
    return [
        message
        for message in moment.scenario.get("messages", [])
        for origin in [message["id"].split(">")[0]]
        if message["recipient"] == moment.agent and (origin in before or (first and origin not in own))
    ]


def delivery_of(moment: Moment) -> Delivery | None:
    """Who became aware of the action, who was left out, and why."""
    if moment.action is None:
        return None
    found = [d for d in moment.scenario.get("deliveries", []) if d["action"] == moment.action["id"]]
    return next((d for d in found if d["scope"] == "within"), None)


def _within(scenario: Scenario) -> list[Moment]:
    acted = [Moment(scenario, a["agent"], a["step"], a, None) for a in scenario["actions"]]
    failed = [
        Moment(scenario, f["who"].rpartition("/")[2].partition("#")[0], _step(f["who"], scenario), None, f)
        for f in scenario.get("failures", [])
        if f["stage"] == "act"
    ]
    return [*acted, *failed]


def _step(slot: str, scenario: Scenario) -> int:
    found = re.search(r"/s(\d+)/", slot)
    return scenario["round"] * STEPS + (int(found.group(1)) if found else 0)
