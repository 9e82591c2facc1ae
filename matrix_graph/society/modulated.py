"""Structured communication for a graph that its owner already has: `add_modulator`.

The graph's agents are nodes that answer in `messages`; a message without a `name` gets that of its
node. The modulator decides who becomes aware of what was said; they act next and see no more than
has reached them.

entry → agents ⇄ step → then
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NotRequired

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langgraph.graph import END, MessagesState, StateGraph
from langgraph.types import Command, Send

from matrix_graph.context import SETTING, Context
from matrix_graph.errors import InputError
from matrix_graph.llm.slot import Slot
from matrix_graph.resources import opened
from matrix_graph.schema import Action, Delivery, Group, Persona, Profile
from matrix_graph.society.messages import sent_within
from matrix_graph.society.modulator import Modulator
from matrix_graph.society.routing import router_of
from matrix_graph.society.state import STEPS
from matrix_graph.stage import make_synchronous

_TO = ">to>"
"""In the id of a message that an agent is shown in place of another's."""


class ModulatedState(MessagesState):
    """What a modulated graph's state needs beside its own keys; `deliveries` is the record of who
    was told what.
    """

    deliveries: NotRequired[Annotated[list[Delivery], operator.add]]
    modulator_step: NotRequired[int]
    modulator_past: NotRequired[list[str]]


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
    something do, each on its own view of `messages`, until nobody did or `steps` times. What nobody
    of the agents said (a user's message) is seen by all; calls of tools and their results only by
    their agent.

    Args:
        agents: Names of the graph's nodes, each with who that is. The nodes need no edges of their
            own.
        context: The model that routes, and the limits on it. It need not be the graph's context.
        then: Where to go at the end.

    Raises:
        InputError: a node or a key of the state is missing, or an agent has an edge already.
    """
    if not isinstance(context, Context):
        raise InputError("add_modulator(..., context=Context(model=...)) says who routes.")
    if not isinstance(agents, Mapping) or not agents:
        raise InputError('agents= maps names of nodes to who that is: {"ana": "a baker"}.')
    if steps < 1:
        raise InputError(f"steps is {steps}; the agents act at least once.")
    if missing := ModulatedState.__annotations__.keys() - builder.channels.keys():
        raise InputError(
            f"The graph's state has no {', '.join(sorted(missing))}: build it with "
            "StateGraph(ModulatedState), "
            "or with a state that inherits from it."
        )
    if strangers := agents.keys() - builder.nodes.keys():
        raise InputError(
            f"The graph has no node {', '.join(sorted(strangers))}; agents= goes by the names of "
            "nodes."
        )
    if led := {start for start, _ in builder.edges if start in agents} | (
        agents.keys() & builder.branches.keys()
    ):
        raise InputError(
            f"{', '.join(sorted(led))} has an edge already; from an agent the way leads to the "
            "modulator. Add the agents to the builder without edges of their own."
        )
    nodes = _Nodes(agents, context, steps, name, then)
    # With the graph's own schema as input, so that agents see the keys that its owner added.
    builder.add_node(
        name, nodes.begin, destinations=(*agents, then), input_schema=builder.state_schema
    )
    builder.add_node(
        f"{name} step", nodes.step, destinations=(*agents, then), input_schema=builder.state_schema
    )
    for node in (name, f"{name} step"):
        make_synchronous(builder, node)
    for agent in agents:
        spec: Any = builder.nodes[agent]
        spec.runnable = _named(agent, spec.runnable)
        builder.add_edge(agent, f"{name} step")
    return builder


def _named(agent: str, runnable: Runnable[Any, Any]) -> Runnable[Any, Any]:
    """The same node, whose own messages carry its name where they carry none."""

    def signed(state: Any, made: Any) -> Any:
        if not isinstance(made, dict):
            return made
        given = {message.id for message in state["messages"]}
        messages = made.get("messages") or []
        for message in messages if isinstance(messages, list) else [messages]:
            is_new = message.id is None or message.id not in given
            if isinstance(message, AIMessage) and not message.name and is_new:
                message.name = agent
        return made

    def invoke(state: Any, config: RunnableConfig) -> Any:
        return signed(state, runnable.invoke(state, config))

    async def ainvoke(state: Any, config: RunnableConfig) -> Any:
        return signed(state, await runnable.ainvoke(state, config))

    return RunnableLambda(invoke, ainvoke, name=agent)


class _Nodes:
    """The modulator as two nodes: where an invocation enters, and where the agents come back."""

    def __init__(
        self,
        agents: Mapping[str, str | Persona],
        context: Context,
        steps: int,
        name: str,
        then: str,
    ) -> None:
        people = [_persona(agent, who) for agent, who in agents.items()]
        self._group = Group(name, tuple(people))
        self._names = list(agents)
        self._context = context
        self._steps = steps
        self._then = then

    async def begin(self, state: Any) -> Command[Any]:
        """All agents act; what was said before is past."""
        past = [str(m.id) for m in state["messages"] if m.name in self._names]
        return self._next(
            state,
            self._names if self._steps > 0 else [],
            [],
            {"modulator_step": 1, "modulator_past": past},
        )

    async def step(self, state: Any) -> Command[Any]:
        """Route what was just said; who became aware of something acts next."""
        step = state["modulator_step"]
        routed = {d["action"] for d in state.get("deliveries", [])} | set(state["modulator_past"])
        spoken = [m for m in state["messages"] if self._is_said(m) and str(m.id) not in routed]
        deliveries = await self._deliver(spoken, step)
        reached = {agent for delivery in deliveries for agent in delivery["recipients"]}
        acting = [agent for agent in self._names if agent in reached] if step < self._steps else []
        # An agent that is a graph of its own gives back all that it was shown.
        shown: list[Any] = [RemoveMessage(id=m.id) for m in state["messages"] if _TO in str(m.id)]
        update = {"deliveries": deliveries, "modulator_step": step + 1, "messages": shown}
        return self._next(state, acting, deliveries, update)

    def _next(
        self, state: Any, acting: Sequence[str], new: Sequence[Delivery], update: Mapping[str, Any]
    ) -> Command[Any]:
        if not acting:
            return Command(update=dict(update), goto=self._then)
        known, inside = [*state.get("deliveries", []), *new], {**state, **update}
        sends = [
            Send(a, {**inside, "messages": self._view(a, state["messages"], known)}) for a in acting
        ]
        return Command(update=dict(update), goto=sends)

    def _is_said(self, message: AnyMessage) -> bool:
        calls = message.tool_calls if isinstance(message, AIMessage) else []
        is_agents = (
            message.name in self._names
            and _TO not in str(message.id)
            and not isinstance(message, ToolMessage)
        )
        return is_agents and not calls and bool(str(message.text).strip())

    async def _deliver(self, spoken: Sequence[AnyMessage], step: int) -> list[Delivery]:
        if not spoken:
            return []
        resources = await opened(self._context)
        # The first message's id is that of the conversation, too: no other has it.
        place = Slot(stage="modulated", who=self._group.id, part=str(spoken[0].id), step=step)
        router = router_of(self._context, resources)
        setting = "" if self._context.setting == SETTING else self._context.setting
        modulator = Modulator(self._group, resources, router, place, setting=setting)
        actions = [_action(message, step) for message in spoken]
        _, _, deliveries = sent_within(self._group, await modulator.deliver(actions), actions)
        decided = {delivery["action"] for delivery in deliveries}
        why = "; ".join(failure["reason"] for failure in modulator.failures) or "no communication"
        for action in actions:
            if action["id"] not in decided:
                deliveries.append(self._undelivered(action, why))
        return deliveries

    def _undelivered(self, action: Action, reason: str) -> Delivery:
        return Delivery(
            action=action["id"],
            sender=action["agent"],
            scope="within",
            recipients=[],
            left_out=[agent for agent in self._names if agent != action["agent"]],
            reason=reason,
            call="",
        )

    def _view(
        self, agent: str, messages: Sequence[AnyMessage], known: Sequence[Delivery]
    ) -> list[AnyMessage]:
        reached = {d["action"]: d.get("learnt", "") for d in known if agent in d["recipients"]}
        own_calls = {
            call["id"]
            for m in messages
            if isinstance(m, AIMessage) and m.name == agent
            for call in m.tool_calls
        }
        view: list[AnyMessage] = []
        for message in messages:
            if _TO in str(message.id):
                continue
            if isinstance(message, ToolMessage):
                view += [message] if message.tool_call_id in own_calls else []
            elif message.name not in self._names or message.name == agent:
                view.append(message)
            elif str(message.id) in reached:
                text = reached[str(message.id)] or message.text
                view.append(HumanMessage(text, name=message.name, id=f"{message.id}{_TO}{agent}"))
        return view


def _action(message: AnyMessage, step: int) -> Action:
    return Action(
        id=str(message.id),
        agent=str(message.name),
        step=step,
        text=str(message.text),
        trigger="reaction",
        recipients=[],
        reason="",
        call="",
    )


def _persona(agent: str, who: str | Persona) -> Persona:
    if isinstance(who, Persona):
        profile = Profile(agent, who.name, who.profile.description)
        return Persona(profile, who.personality, who.goal, who.plan)
    return Persona(Profile(agent, agent, who), "", "", ())
