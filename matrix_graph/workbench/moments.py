"""Moments: the turns of a society's agents in the order in which one steps through them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from matrix_graph.schema import Action, Failure, Message, Scenario
from matrix_graph.society.state import STEPS


class Moment(NamedTuple):
    """One agent's turn: what it did, or why it did nothing. `step` counts from the run's beginning, and
    what the agent had `heard` is told where it was seen.
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
        """The place of the call behind it in the journal; empty for an agent that no model plays."""
        return self.action["call"] if self.action else self.id


def moments_of(scenarios: Sequence[Scenario]) -> list[Moment]:
    """All turns, by round, step and group; those of one step happened at the same time."""
    return sorted(
        (moment for scenario in scenarios for moment in _within(scenario)),
        key=lambda m: (m.scenario["round"], m.step, m.scenario["group"], m.agent),
    )


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
