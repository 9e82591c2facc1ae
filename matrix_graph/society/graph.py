"""The society as a graph: a router that carries news between the groups, scenario after scenario.

memories → router ⇄ group₁ … group_K
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langgraph.graph import END, START
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.llm.journal import digest_of
from matrix_graph.memory import Memory
from matrix_graph.resources import opened
from matrix_graph.schema import End, Group, Persona
from matrix_graph.society.group import create_group
from matrix_graph.society.messages import HEARD, TOLD
from matrix_graph.society.own_agents import Agent, is_person, runnables
from matrix_graph.society.progress import can_act, fresh_progress
from matrix_graph.society.state import (
    GroupInput,
    SocietyInput,
    SocietyOutput,
    SocietyState,
)
from matrix_graph.stage import Stage, needed

_RESERVED = ("memories", "router", "__start__", "__end__")


def create_society(
    groups: Sequence[Group],
    *,
    agents: Mapping[str, Agent] | None = None,
    agent_checkpoints: bool = True,
) -> Stage[SocietyState, Context, SocietyInput, SocietyOutput]:
    """The uncompiled graph of a society: compile it with a store, invoke it with `{"quota": N}`.

    Args:
        groups: As `form_groups` makes them; every member becomes a node of its group's subgraph.
        agents: The user's own by persona id, in place of agents that the model plays: Runnables or
            functions of a `Turn`, graphs over `messages`, chat models.
        agent_checkpoints: With a checkpointer, groups checkpoint every step, so that one can pause
            and rewind inside a scenario, at three times the graph's own CPU. If False, only the
            society checkpoints, between rounds, and LangGraph does not draw what is inside the
            groups.

    Raises:
        InputError: no groups, a name used twice or reserved, agents for people who are in no group,
            or a person who plays without checkpoints.
    """
    _check_groups(groups)
    runnable_agents = runnables(agents)
    by_id = {group.id: group for group in groups or ()}
    members = [member.id for group in groups or () for member in group.members]
    if not groups or len(by_id) < len(groups) or len(set(members)) < len(members):
        raise InputError(
            "A society needs groups, and every group and member needs an id of its own."
        )
    for name in by_id:
        if not name or name in _RESERVED or set(name) & set(":|"):
            raise InputError(
                f"A group cannot have the id {name!r}: it names a node of the graph. Leave out ':' "
                f"and '|', and take none of {', '.join(_RESERVED)}."
            )
    if "" in members:
        raise InputError("A member's id is empty; give each profile an id.")
    people = [name for name, agent in runnable_agents.items() if is_person(agent)]
    if people and not agent_checkpoints:
        raise InputError(
            f"{', '.join(people)} is played by a person, whose answers are kept in checkpoints "
            "inside the group; leave agent_checkpoints=True."
        )
    if strangers := runnable_agents.keys() - set(members):
        raise InputError(
            f"No member has the id {', '.join(sorted(strangers))}; agents= goes by persona id."
        )
    nodes = _Nodes(by_id, runnable_agents.keys())
    builder = Stage("society", SocietyState, Context, SocietyInput, SocietyOutput)
    builder.add_node("memories", nodes.memories)
    builder.add_node("router", nodes.router, destinations=(*by_id, END))
    for group in groups:
        graph = create_group(group, by_id, runnable_agents, durable=agent_checkpoints).compile(
            checkpointer=None if agent_checkpoints else False, name=group.id
        )
        builder.add_node(group.id, graph, metadata={"group": group.id})
        builder.add_edge(group.id, "router")
    builder.add_edge(START, "memories")
    builder.add_edge("memories", "router")
    return builder


def _check_groups(groups: Any) -> None:
    if isinstance(groups, Group) or not all(isinstance(group, Group) for group in groups or ()):
        raise InputError(
            "groups= takes a list of Groups, as build_groups and form_groups make them."
        )
    for member in [member for group in groups or () for member in group.members]:
        if not isinstance(member, Persona) or isinstance(member.plan, str):
            raise InputError(
                f"A Group's members are Personas with a plan of several steps, not {member!r:.80}; "
                "build_groups makes them from profiles."
            )


class _Nodes:
    """The nodes of the society itself."""

    def __init__(self, groups: Mapping[str, Group], own: Collection[str]) -> None:
        self._groups = groups
        self._own = own
        # Two societies may be nodes of one graph, and live on one thread.
        members = {group.id: [member.id for member in group.members] for group in groups.values()}
        self._id = digest_of(json.dumps(members, sort_keys=True))

    async def memories(self, state: SocietyState, runtime: Runtime[Context]) -> dict[str, Any]:
        """Give every agent the memory of its posts, and every modulator that of its group.

        Raises:
            InputError: the store holds another life under this name.
        """
        quota = needed(state, "quota", '{"quota": 20}: how many scenarios to live')
        if not isinstance(quota, int) or quota < 0:
            raise InputError(f"quota is {quota!r}; give how many scenarios to live.")
        if "round" in state:
            # The thread goes on where it ended, with another quota.
            return {}
        resources = await opened(runtime.context)
        memory, records = resources.memory(runtime.store), resources.records(runtime.store)
        if standing := await records.aget("standing", self._id):
            return standing
        lived = [] if resources.named else await records.aall("scenarios")
        if any(scenario["group"] in self._groups for scenario in lived):
            raise InputError(
                f"The store holds the life of a society as {resources.run!r} already. Give this "
                "one a thread_id, or a name (Context(run=...)), of its own; or, where two "
                "societies live on one thread, groups with other ids."
            )
        past = [
            Memory(member.id, -1, number, post, "post", HEARD)
            for group in self._groups.values()
            for member in group.members
            for number, post in enumerate(member.profile.posts)
        ]
        past += [
            Memory(group.id, -1, 0, group.text, "group", TOLD) for group in self._groups.values()
        ]
        await memory.aremember(past)
        return {
            "round": 0,
            "produced": 0,
            "acted": 0,
            "failed": 0,
            "progress": {},
            "last": {},
            "waiting": {},
            "news": {},
            "played": {},
        }

    async def router(self, state: SocietyState, runtime: Runtime[Context]) -> Command[Any]:
        """Take in what the groups report, carry their news, and start the next round."""
        reports = sorted(state.get("reports", []), key=lambda report: report["group"])
        progress, waiting = dict(state["progress"]), dict(state["waiting"])
        news, played, last = dict(state["news"]), dict(state["played"]), dict(state["last"])
        for report in reports:
            progress |= report["progress"]
            waiting[report["group"]] = report["waiting"]
            last[report["group"]] = report["scenario"]
            news[report["group"]] = []
            played[report["group"]] = played.get(report["group"], 0) + 1
        for report in reports:
            for sent in report["outgoing"]:
                news[sent["group"]] = [*news.get(sent["group"], []), sent]
        produced = state["produced"] + sum(bool(report["scenario"]) for report in reports)
        round = state["round"] + bool(reports)
        update = {
            "reports": None,
            "round": round,
            "produced": produced,
            "acted": state["acted"] + sum(report["actions"] for report in reports),
            "failed": state["failed"] + sum(report["failed"] for report in reports),
            "progress": progress,
            "last": last,
            "waiting": waiting,
            "news": news,
            "played": played,
        }
        end = runtime.context.end
        ready = [group for group in self._groups.values() if self._is_ready(group, update, end)]
        ready.sort(key=lambda group: played.get(group.id, 0))
        chosen = ready[: max(0, state["quota"] - produced)]
        if not chosen:
            # Within another graph no checkpoint of this one outlives the invocation.
            resources = await opened(runtime.context)
            if resources.named or resources.threaded:
                standing = {name: value for name, value in update.items() if name != "reports"}
                await resources.records(runtime.store).asave("standing", {self._id: standing})
            return Command(update=update, goto=END)
        sends = [
            Send(
                group.id,
                GroupInput(
                    round=round,
                    progress={m.id: progress[m.id] for m in group.members if m.id in progress},
                    last=last.get(group.id, ""),
                    waiting=waiting.get(group.id, {}),
                    news=news.get(group.id, []),
                    closing=bool(state.get("closing")) and produced + len(chosen) >= state["quota"],
                ),
            )
            for group in chosen
        ]
        return Command(update=update, goto=sends)

    def _is_ready(self, group: Group, state: Mapping[str, Any], end: End) -> bool:
        """Whether anybody in the group would act."""
        waiting, news = state["waiting"].get(group.id, {}), state["news"].get(group.id, [])
        for member in group.members:
            progress = state["progress"].get(member.id) or fresh_progress()
            observes = bool(waiting.get(member.id) or news)
            if can_act(member, progress, observes, end, own=member.id in self._own):
                return True
        return False
