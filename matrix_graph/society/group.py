"""One group as a graph: its modulator, its agents, and the scenario that they close.

modulator ⇄ agents (STEPS times) → scenario
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from matrix_graph.context import Context, opened
from matrix_graph.llm.settled import settled
from matrix_graph.memory import EpisodicMemory, Memory
from matrix_graph.schema import Action, Delivery, Failure, Group, Message, Person, Persona, Scenario
from matrix_graph.society.agent import agent_node, runnable_node
from matrix_graph.society.messages import (
    TOLD,
    memories_of,
    received,
    sent_out,
    sent_within,
    sorted_in,
)
from matrix_graph.society.modulator import SHORTLIST, Modulator
from matrix_graph.society.progress import advanced, can_act, fresh_progress
from matrix_graph.society.state import (
    STEPS,
    GroupInput,
    GroupOutput,
    GroupReport,
    GroupState,
    News,
    Progress,
    Turn,
    time_of,
)
from matrix_graph.society.turn import action_of, put_in_mind, query_of, turn_node
from matrix_graph.society.watch import watching

_NEWS = 10_000
"""Number of the first memory of news from outside: past those of the step before."""
_NOT_IN_NAMES = re.compile(r"[^\w .'-]+")


def node_names(members: Sequence[Persona]) -> dict[str, str]:
    """A node name per agent id: the person's name, with the id where that is not enough."""
    names: dict[str, str] = {}
    for member in members:
        name = _NOT_IN_NAMES.sub(" ", member.name).strip(" _")[:40]
        taken = {"", "modulator", "scenario", *names.values()}
        names[member.id] = f"{name} {member.id}".strip() if name in taken else name
    return names


def create_group(
    group: Group,
    groups: Mapping[str, Group],
    agents: Mapping[str, Runnable[Any, Any]] | None = None,
    *,
    durable: bool = True,
) -> StateGraph[GroupState, Context, GroupInput, GroupOutput]:
    """The uncompiled graph of one group.

    Args:
        groups: All groups by id, to which news can travel.
        agents: The user's own agents by persona id, in place of the model's.
        durable: Write memories at every step, for checkpoints inside the group; otherwise with the
            scenario.
    """
    names = node_names(group.members)
    nodes = _Nodes(group, groups, names, durable)
    builder = StateGraph(GroupState, Context, input_schema=GroupInput, output_schema=GroupOutput)
    builder.add_node("modulator", nodes.modulator, destinations=(*names.values(), "scenario"))
    builder.add_node("scenario", nodes.scenario)
    for member in group.members:
        own = (agents or {}).get(member.id)
        node = turn_node(runnable_node(own) if own else agent_node(member), member, group)
        builder.add_node(
            names[member.id],
            node,
            metadata={"agent": member.id, "group": group.id},
            input_schema=Turn,
        )
        builder.add_edge(names[member.id], "modulator")
    builder.add_edge(START, "modulator")
    builder.add_edge("scenario", END)
    return builder


class _Nodes:
    """The modulator and scenario nodes of one group."""

    def __init__(
        self, group: Group, groups: Mapping[str, Group], names: Mapping[str, str], durable: bool
    ) -> None:
        self._group = group
        self._all = groups
        self._names = names
        self._members = {m.id: m for m in group.members}
        self._durable = durable

    async def modulator(self, state: GroupState, runtime: Runtime[Context]) -> Command[Any]:
        """Route what was just done or heard, then give every agent that can act its next turn."""
        res = await opened(runtime.context)
        memory = res.memory(runtime.store)
        acted = bool(state.get("outcomes"))
        place = (
            f"society/r{state['round']}/s{state['step']}/{self._group.id}"
            if acted
            else self._place(state)
        )
        modulator = Modulator(
            self._group, res, runtime.context, place, rank=2 * state["step"] + 1 if acted else 0
        )
        moment = await (self._follow(state, modulator) if acted else self._open(state, modulator))
        acting = [
            m
            for m in self._group.members
            if can_act(m, moment.progress[m.id], m.id in moment.inbox)
        ]
        update = {
            "outcomes": None,
            "step": moment.step,
            "progress": moment.progress,
            "inbox": moment.inbox,
            "actions": state.get("actions", []) + moment.actions,
            "messages": state.get("messages", []) + moment.messages,
            "deliveries": state.get("deliveries", []) + moment.deliveries,
            "failures": state.get("failures", []) + moment.failures + modulator.failures,
        }
        if watch := watching(runtime.context):
            so_far: Any = state | update
            await watch.told(self._scenario(so_far, "", [], []))
        runtime.stream_writer(
            {
                "stage": "society",
                "event": "step",
                "group": self._group.id,
                "actions": len(moment.actions),
                "failed": len(moment.failures),
            }
        )
        over = moment.step >= STEPS or not acting
        turns = [] if over else self._turns(acting, moment, state["round"])
        queries = [query_of(turn) for turn in turns]
        # Both need embeddings: asked for together, they take one request.
        await res.embedder.embed([m.text for m in moment.memories] + [q.text for q in queries])
        await memory.remember(moment.memories, durable=self._durable)
        if over:
            return Command(update=update, goto="scenario")
        now = state["round"] * STEPS + moment.step - 1
        await put_in_mind(turns, queries, memory, now)
        return Command(
            update=update | {"inbox": {}},
            goto=[Send(self._names[turn["agent"]], turn) for turn in turns],
        )

    async def scenario(self, state: GroupState, runtime: Runtime[Context]) -> GroupOutput:
        """Close the scenario: tell it, let news travel, put it on record."""
        res = await opened(runtime.context)
        memory, records = res.memory(runtime.store), res.records(runtime.store)
        modulator = Modulator(self._group, res, runtime.context, self._place(state))
        scenario_id = f"{self._group.id}-r{state['round']}" if state["actions"] else ""
        outgoing: list[News] = []
        if scenario_id:
            told: list[Any] = await settled(
                [modulator.summarise(state["actions"]), self._exchange(modulator, memory, state)]
            )
            summary, (outgoing, deliveries) = told
            scenario = self._scenario(state, summary, deliveries, modulator.failures)
            scenario["messages"] = res.amendments.messages(state["messages"])
            if watch := watching(runtime.context):
                await watch.told(scenario)
            last = state["round"] * STEPS + STEPS - 1
            memories = (
                [Memory(self._group.id, last, 0, summary, "scenario", TOLD)] if summary else []
            )
            await memory.remember(memories, durable=False)
            await records.save("scenarios", {scenario_id: scenario}, durable=False)
            runtime.stream_writer({"stage": "society", "event": "scenario", "id": scenario_id})
        failures = state["failures"] + modulator.failures
        told_of = {f"{self._group.id}-r{state['round']}-{n}": f for n, f in enumerate(failures)}
        await records.save("failures", told_of, durable=False)
        await res.written(runtime.store)
        report = GroupReport(
            group=self._group.id,
            scenario=scenario_id,
            actions=len(state["actions"]),
            failed=len(failures),
            progress=state["progress"],
            inbox=state["inbox"],
            outgoing=outgoing,
        )
        return GroupOutput(reports=[report])

    def _place(self, state: GroupState) -> str:
        return f"society/r{state['round']}/{self._group.id}"

    async def _open(self, state: GroupState, modulator: Modulator) -> _Moment:
        progress = {i: state["progress"].get(i) or fresh_progress() for i in self._members}
        messages, deliveries = received(
            self._group, await modulator.receive(state["news"]), state["news"]
        )
        heard = memories_of([], messages, state["round"] * STEPS - 1, first=_NEWS)
        return _Moment(
            0, progress, sorted_in(state["inbox"], messages), [], messages, deliveries, [], heard
        )

    async def _follow(self, state: GroupState, modulator: Modulator) -> _Moment:
        step, time = state["step"], time_of(state)
        outcomes = sorted(state["outcomes"], key=lambda o: o["agent"])
        progress = state["progress"] | {
            o["agent"]: advanced(state["progress"][o["agent"]], o) for o in outcomes
        }
        failures = [
            Failure(stage="act", who=o["call"] or o["agent"], reason=o["reason"])
            for o in outcomes
            if o["status"] == "failed"
        ]
        acted = [action_of(o, self._group, state["round"], step) for o in outcomes]
        actions = [action for action in acted if action]
        messages, deliveries = sent_within(self._group, await modulator.deliver(actions), actions)
        memories = memories_of(actions, messages, time, first=1)
        return _Moment(
            step + 1,
            progress,
            sorted_in({}, messages),
            actions,
            messages,
            deliveries,
            failures,
            memories,
        )

    def _turns(self, acting: Sequence[Persona], moment: _Moment, round: int) -> list[Turn]:
        turns = []
        for persona in acting:
            position = moment.progress[persona.id]["plan_step"]
            ahead = position < len(persona.plan)
            turns.append(
                Turn(
                    agent=persona.id,
                    round=round,
                    step=moment.step,
                    plan_number=position + 1 if ahead else 0,
                    plan_step=persona.plan[position] if ahead else "",
                    observations=moment.inbox.get(persona.id, []),
                    memories=[],
                    recalled=[],
                )
            )
        return turns

    async def _exchange(
        self, modulator: Modulator, memory: EpisodicMemory, state: GroupState
    ) -> tuple[list[News], list[Delivery]]:
        if modulator.context.communication == "none":
            return [], []
        actions = state["actions"]
        done = [
            memory
            for action in actions
            for memory in memories_of([action], [], action["step"], first=1)
        ]
        now = state["round"] * STEPS - 1
        near = await memory.nearest(
            list(self._all), done, besides=self._group.id, k=SHORTLIST, now=now
        )
        others = [self._all[group] for group in near]
        return sent_out(self._group, await modulator.exchange(actions, others), actions, others)

    def _scenario(
        self,
        state: GroupState,
        summary: str,
        outgoing: Sequence[Delivery],
        failures: Sequence[Failure],
    ) -> Scenario:
        return Scenario(
            id=f"{self._group.id}-r{state['round']}",
            group=self._group.id,
            round=state["round"],
            agents=list(dict.fromkeys(action["agent"] for action in state["actions"])),
            actions=state["actions"],
            summary=summary,
            messages=state["messages"],
            deliveries=[*state["deliveries"], *outgoing],
            people={i: _described(m) for i, m in self._members.items()},
            failures=[*state["failures"], *failures],
        )


@dataclass(frozen=True)
class _Moment:
    """What one visit of the modulator found and decided."""

    step: int
    progress: dict[str, Progress]
    inbox: dict[str, list[Message]]
    actions: list[Action]
    messages: list[Message]
    deliveries: list[Delivery]
    failures: list[Failure]
    memories: list[Memory]


def _described(persona: Persona) -> Person:
    return Person(
        name=persona.name,
        description=persona.profile.description,
        personality=persona.personality,
        goal=persona.goal,
    )
