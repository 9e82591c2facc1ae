"""Where an agent stands in its life, and what it acts on next."""

from __future__ import annotations

from typing import Literal

from matrix_graph.schema import End, Life, Persona
from matrix_graph.society.state import Outcome, Progress

PATIENCE = 3
"""Failures in a row after which an agent acts no more."""
REACTIONS = 2
"""Reactions in a row after which the own plan is next: two who answer each other get on, too."""


def fresh_progress() -> Progress:
    """Where an agent starts."""
    return Progress(plan_step=0, finished=False, failures=0, reactions=0, life=None, known=[])


def first_life(persona: Persona) -> Life:
    """The goal and plan of the persona."""
    return Life(goal=persona.goal, plan=list(persona.plan), since=-1, call="")


def life_of(persona: Persona, progress: Progress) -> Life:
    """What the agent lives for."""
    return progress["life"] or first_life(persona)


def is_over(persona: Persona, progress: Progress) -> bool:
    """Whether the goal is reached or the plan carried out."""
    return progress["finished"] or progress["plan_step"] >= len(life_of(persona, progress)["plan"])


def can_act(
    persona: Persona, progress: Progress, observes: bool, end: End, *, own: bool = False
) -> bool:
    """Whether there is something that the agent would act on now. One of the user's own, or a
    person, writes no next goal here: whoever of them says that it is reached acts no more.
    """
    if progress["failures"] >= PATIENCE or (own and progress["finished"]):
        return False
    if end == "scenarios" or not is_over(persona, progress):
        return True
    return observes and not progress["finished"]


def trigger_of(
    persona: Persona, progress: Progress, observes: bool, end: End
) -> Literal["goal", "reaction"]:
    """What the agent acts on: what it observed, unless it has only reacted for a while."""
    ahead = end == "scenarios" or not is_over(persona, progress)
    if observes and not (ahead and progress["reactions"] >= REACTIONS):
        return "reaction"
    return "goal"


def advanced(progress: Progress, outcome: Outcome) -> Progress:
    """Where the agent stands after `outcome`: acting on the plan takes it one step on, and so does
    a reaction that got the step done.
    """
    status, begun = outcome["status"], outcome["life"]
    reacted = outcome["trigger"] == "reaction"
    onwards = status == "step" or (status == "done" and not reacted)
    failed = status == "failed"
    return Progress(
        plan_step=(0 if begun else progress["plan_step"]) + onwards,
        finished=status == "finished" or (progress["finished"] and not begun),
        failures=progress["failures"] + 1 if failed else 0,
        reactions=progress["reactions"] + reacted if reacted or failed else 0,
        life=begun or progress["life"],
        known=progress["known"],
    )
