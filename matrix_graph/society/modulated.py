"""Structured communication for a graph that its owner already has: `add_modulator`.

The graph's agents are nodes that answer in `messages`, each message with its agent's `name`. The
modulator decides who becomes aware of what was said; they act next and see no more than has reached them.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.graph import END, MessagesState, StateGraph
from langgraph.types import Command, Send

from matrix_graph.context import Context, opened
from matrix_graph.errors import InputError
from matrix_graph.schema import Action, Delivery, Group, Persona, Profile
from matrix_graph.society.messages import sent_within
from matrix_graph.society.modulator import Modulator
from matrix_graph.society.state import STEPS


class ModulatedState(MessagesState):
    """What a modulated graph's state needs beside its own keys; `deliveries` is the record of who was told what."""

    deliveries: Annotated[list[Delivery], operator.add]
    modulator_step: int


def add_modulator(
    builder: StateGraph[Any, Any, Any, Any],
    agents: Mapping[str, str | Persona],
    *,
    context: Context,
    steps: int = STEPS,
    name: str = "modulator",
    then: str = END,
) -> StateGraph[Any, Any, Any, Any]:
    """Put a modulator between nodes of `builder`, which is changed and returned.

    Lead an edge to the node `name`. At first all agents act; after that those who became aware of
    something do, each on its own view of `messages`, until nobody did or `steps` times. What nobody of
    the agents said (a user's message) is seen by all.

    Args:
        agents: Names of the graph's nodes, each with who that is. The nodes need no edges of their own.
        context: The model that routes, and the limits on it. It need not be the graph's context.
        then: Where to go at the end.

    Raises:
        InputError: a node or a key of the state is missing, or an agent has an edge already.
    """
    if missing := ModulatedState.__annotations__.keys() - builder.channels.keys():
        raise InputError(
            f"The graph's state has no {', '.join(sorted(missing))}: build it with StateGraph(ModulatedState), "
            "or with a state that inherits from it."
        )
    if strangers := agents.keys() - builder.nodes.keys():
        raise InputError(f"The graph has no node {', '.join(sorted(strangers))}; agents= goes by the names of nodes.")
    if led := {start for start, _ in builder.edges if start in agents} | (agents.keys() & builder.branches.keys()):
        raise InputError(f"{', '.join(sorted(led))} has an edge already; from an agent the way leads to the modulator.")
    builder.add_node(name, _Node(agents, context, steps, name, then), destinations=(*agents, then))
    for agent in agents:
        builder.add_edge(agent, name)
    return builder


class _Node:
    """The modulator as a node over `ModulatedState`."""

    def __init__(self, agents: Mapping[str, str | Persona], context: Context, steps: int, name: str, then: str) -> None:
        people = [_persona(agent, who) for agent, who in agents.items()]
        self._group = Group(name, tuple(people))
        self._names = list(agents)
        self._context = context
        self._steps = steps
        self._then = then

    async def __call__(self, state: ModulatedState) -> Command[Any]:
        step, before = state.get("modulator_step", 0), state.get("deliveries", [])
        routed = {delivery["action"] for delivery in before}
        said = [m for m in state["messages"] if m.name in self._names and m.id not in routed] if step else []
        deliveries = await self._deliver(said, step)
        told = {agent for delivery in deliveries for agent in delivery["recipients"]}
        acting = [agent for agent in self._names if agent in told or not step]
        if step >= self._steps or not acting:
            return Command(update={"deliveries": deliveries, "modulator_step": 0}, goto=self._then)
        known = [*before, *deliveries]
        return Command(
            update={"deliveries": deliveries, "modulator_step": step + 1},
            goto=[Send(agent, {**state, "messages": self._view(agent, state["messages"], known)}) for agent in acting],
        )

    async def _deliver(self, said: Sequence[AnyMessage], step: int) -> list[Delivery]:
        if not said:
            return []
        modulator = Modulator(self._group, await opened(self._context), self._context, f"{self._group.id}/{step}")
        actions = [
            Action(
                id=str(m.id),
                agent=str(m.name),
                step=step,
                text=str(m.text),
                trigger="reaction",
                recipients=[],
                reason="",
                call="",
            )
            for m in said
        ]
        _, deliveries = sent_within(self._group, await modulator.deliver(actions), actions)
        decided = {delivery["action"] for delivery in deliveries}
        why = "; ".join(failure["reason"] for failure in modulator.failures) or "no communication"
        return deliveries + [
            Delivery(
                action=a["id"],
                sender=a["agent"],
                scope="within",
                recipients=[],
                left_out=[agent for agent in self._names if agent != a["agent"]],
                reason=why,
                call="",
            )
            for a in actions
            if a["id"] not in decided
        ]

    def _view(self, agent: str, messages: Sequence[AnyMessage], known: Sequence[Delivery]) -> list[AnyMessage]:
        told = {delivery["action"] for delivery in known if agent in delivery["recipients"]}
        return [
            m if m.name not in self._names or m.name == agent else HumanMessage(m.text, name=m.name, id=m.id)
            for m in messages
            if m.name not in self._names or m.name == agent or m.id in told
        ]


def _persona(agent: str, who: str | Persona) -> Persona:
    if isinstance(who, Persona):
        profile = Profile(agent, who.name, who.profile.description)
        return Persona(profile, who.personality, who.goal, who.plan)
    return Persona(Profile(agent, agent, who), "", "", ())
