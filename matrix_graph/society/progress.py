"""Where an agent stands in its plan, and whether it acts."""

from __future__ import annotations

from matrix_graph.schema import Persona
from matrix_graph.society.state import Outcome, Progress

PATIENCE = 3
"""Failures in a row after which an agent acts no more."""


def fresh_progress() -> Progress:
    """Where an agent starts."""
    return Progress(plan_step=0, finished=False, failures=0)


def can_act(persona: Persona, progress: Progress, observes: bool) -> bool:
    """Whether there is something that the agent would act on now."""
    if progress["finished"] or progress["failures"] >= PATIENCE:
        return False
    return observes or progress["plan_step"] < len(persona.plan)


def advanced(progress: Progress, outcome: Outcome) -> Progress:
    """Where the agent stands after `outcome`: acting on the plan takes it one step on, a reaction
    does not.
    """
    status = outcome["status"]
    onwards = outcome["trigger"] == "goal" and status == "done"
    return Progress(
        plan_step=progress["plan_step"] + onwards,
        finished=progress["finished"] or status == "finished",
        failures=progress["failures"] + 1 if status == "failed" else 0,
    )
