"""What a visit of the modulator sees and decides, and what of it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matrix_graph.memory import Memory
from matrix_graph.schema import Action, Delivery, Failure, Life, Message, Person, Persona
from matrix_graph.society.state import GroupState, Progress


@dataclass(frozen=True)
class Visit:
    """What one visit of the modulator saw and decided."""

    step: int
    progress: dict[str, Progress]
    inbox: dict[str, list[Message]]
    actions: list[Action]
    messages: list[Message]
    deliveries: list[Delivery]
    failures: list[Failure]
    memories: list[Memory]
    lives: dict[str, Life]
    scene: str


def noted(state: GroupState, visit: Visit, unrouted: Sequence[Failure]) -> dict[str, Any]:
    """The update of the group's state after a visit of the modulator."""
    lives = dict(state.get("lives", {}))
    for agent, life in visit.lives.items():
        lives[agent] = [*lives.get(agent, []), life]
    return {
        "outcomes": None,
        "step": visit.step,
        "progress": visit.progress,
        "inbox": visit.inbox,
        "scene": visit.scene,
        "lives": lives,
        "actions": [*state.get("actions", []), *visit.actions],
        "messages": [*state.get("messages", []), *visit.messages],
        "deliveries": [*state.get("deliveries", []), *visit.deliveries],
        "failures": [*state.get("failures", []), *visit.failures, *unrouted],
    }


def waiting_of(state: GroupState) -> dict[str, list[int]]:
    """The positions of the messages that nobody has reacted to yet, by recipient.

    Where nobody acted they are for people who act no more.
    """
    if not state["actions"]:
        return {}
    places = {message["id"]: n for n, message in enumerate(state["messages"])}
    return {agent: [places[m["id"]] for m in inbox] for agent, inbox in state["inbox"].items()}


def described(persona: Persona, life: Life) -> Person:
    """What a scenario says of one of its people."""
    return Person(
        name=persona.name,
        description=persona.profile.description,
        personality=persona.personality,
        goal=life["goal"],
    )
