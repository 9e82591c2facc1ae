"""One group as a graph: its modulator, its agents, and the scenario that they close.

modulator ⇄ agents (STEPS times) → scenario
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from matrix_graph.context import Context, Resources, opened
from matrix_graph.errors import CallFailed
from matrix_graph.llm.settled import settled
from matrix_graph.memory import EpisodicMemory, Memory, Query
from matrix_graph.schema import Action, Failure, Group, Message, Person, Persona, Scenario
from matrix_graph.society.agent import agent_node, runnable_node
from matrix_graph.society.modulator import SHORTLIST, Delivery, Modulator
from matrix_graph.society.progress import advanced, can_act, fresh_progress
from matrix_graph.society.state import (
    STEPS,
    GroupInput,
    GroupOutput,
    GroupReport,
    GroupState,
    News,
    Outcome,
    Progress,
    Turn,
)

RECALLED = 5
OWN, HEARD, TOLD = 0.5, 0.6, 0.8
"""Importance of own actions, of observations, and of a group's scenarios."""

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
) -> StateGraph[GroupState, Context, GroupInput, GroupOutput]:
    """The uncompiled graph of one group.

    Args:
        groups: All groups by id, to which news can travel.
        agents: The user's own agents by persona id, in place of the model's.
    """
    names = node_names(group.members)
    nodes = _Nodes(group, groups, names)
    builder = StateGraph(GroupState, Context, input_schema=GroupInput, output_schema=GroupOutput)
    builder.add_node("modulator", nodes.modulator, destinations=(*names.values(), "scenario"))
    builder.add_node("scenario", nodes.scenario)
    for member in group.members:
        own = (agents or {}).get(member.id)
        node = runnable_node(own) if own else agent_node(member)
        builder.add_node(names[member.id], node, metadata={"agent": member.id, "group": group.id}, input_schema=Turn)
        builder.add_edge(names[member.id], "modulator")
    builder.add_edge(START, "modulator")
    builder.add_edge("scenario", END)
    return builder


class _Nodes:
    """The modulator and scenario nodes of one group."""

    def __init__(self, group: Group, groups: Mapping[str, Group], names: Mapping[str, str]) -> None:
        self._group = group
        self._all = groups
        self._names = names
        self._members = {m.id: m for m in group.members}

    async def modulator(self, state: GroupState, runtime: Runtime[Context]) -> Command[Any]:
        """Route what was just done or heard, then give every agent that can act its next turn."""
        res = await opened(runtime.context)
        memory, modulator = res.memory(runtime.store), self._modulator(res, runtime.context)
        acted = bool(state.get("outcomes"))
        moment = await (self._follow(state, modulator) if acted else self._open(state, modulator))
        await memory.remember(moment.memories)
        acting = [m for m in self._group.members if can_act(m, moment.progress[m.id], m.id in moment.inbox)]
        update = {
            "outcomes": None,
            "step": moment.step,
            "progress": moment.progress,
            "inbox": moment.inbox,
            "actions": state.get("actions", []) + moment.actions,
            "messages": state.get("messages", []) + moment.messages,
            "failures": state.get("failures", []) + moment.failures,
        }
        runtime.stream_writer(
            {"stage": "society", "event": "step", "group": self._group.id, "actions": len(moment.actions)}
        )
        if moment.step >= STEPS or not acting:
            return Command(update=update, goto="scenario")
        turns = await self._turns(memory, acting, moment, state["round"])
        return Command(update=update | {"inbox": {}}, goto=[Send(self._names[turn["agent"]], turn) for turn in turns])

    async def scenario(self, state: GroupState, runtime: Runtime[Context]) -> GroupOutput:
        """Close the scenario: tell it, let news travel, put it on record."""
        res = await opened(runtime.context)
        actions, failures, scenario_id = state["actions"], list(state["failures"]), ""
        outgoing: list[News] = []
        records = res.records(runtime.store)
        if actions:
            memory, modulator = res.memory(runtime.store), self._modulator(res, runtime.context)
            scenario_id = f"{self._group.id}-r{state['round']}"
            told: list[Any] = await settled(
                [self._summary(modulator, state, failures), self._exchange(modulator, memory, state, failures)]
            )
            summary, outgoing = told
            people = {i: _described(m) for i, m in self._members.items()}
            scenario = Scenario(
                id=scenario_id,
                group=self._group.id,
                round=state["round"],
                agents=list(dict.fromkeys(action["agent"] for action in actions)),
                actions=actions,
                summary=summary,
                messages=state["messages"],
                people=people,
                failures=failures,
            )
            last = state["round"] * STEPS + STEPS - 1
            memories = [Memory(self._group.id, last, 0, summary, "scenario", TOLD)] if summary else []
            await memory.remember(memories)
            await records.save("scenarios", {scenario_id: scenario})
            runtime.stream_writer({"stage": "society", "event": "scenario", "id": scenario_id})
        await records.save("failures", {f"{self._group.id}-r{state['round']}-{n}": f for n, f in enumerate(failures)})
        report = GroupReport(
            group=self._group.id,
            scenario=scenario_id,
            actions=len(actions),
            failed=len(failures),
            progress=state["progress"],
            inbox=state["inbox"],
            outgoing=outgoing,
        )
        return GroupOutput(reports=[report])

    def _modulator(self, res: Resources, context: Context) -> Modulator:
        return Modulator(self._group, res, context.communication, context.seed)

    async def _open(self, state: GroupState, modulator: Modulator) -> _Moment:
        progress = {i: state["progress"].get(i) or fresh_progress() for i in self._members}
        news, failures = state["news"], list[Failure]()
        deliveries = await _or_none(modulator.receive(news, state["round"]), failures) if news else []
        messages = [
            self._message(
                f"{n['action']}>{self._group.id}", n["sender"], n["sender_name"], n["text"], position, d.reason
            )
            for d in deliveries
            for n in [news[d.item]]
            for position in d.recipients
        ]
        heard = _observed(messages, state["round"] * STEPS - 1, first=100)
        return _Moment(0, progress, _sorted_in(state["inbox"], messages), [], messages, failures, heard)

    async def _follow(self, state: GroupState, modulator: Modulator) -> _Moment:
        round, step = state["round"], state["step"]
        outcomes = sorted(state["outcomes"], key=lambda o: o["agent"])
        progress = state["progress"] | {o["agent"]: advanced(state["progress"][o["agent"]], o) for o in outcomes}
        failures = [
            Failure(stage="act", who=o["agent"], reason=o["reason"]) for o in outcomes if o["status"] == "failed"
        ]
        time = round * STEPS + step
        actions = [
            self._action(o, f"{self._group.id}-r{round}-s{step}-{o['agent']}", time) for o in outcomes if o["text"]
        ]
        deliveries = await _or_none(modulator.deliver(actions, round, step), failures) if actions else []
        messages: list[Message] = []
        for delivery in deliveries:
            action = actions[delivery.item]
            sender = self._members[action["agent"]]
            action["reason"] = delivery.reason
            action["recipients"] = [self._group.members[position].id for position in delivery.recipients]
            messages += [
                self._message(action["id"], sender.id, sender.name, action["text"], position, delivery.reason)
                for position in delivery.recipients
            ]
        memories = [Memory(a["agent"], time, 0, f"I did this: {a['text']}", "action", OWN) for a in actions]
        memories += _observed(messages, time, first=1)
        return _Moment(step + 1, progress, _sorted_in({}, messages), actions, messages, failures, memories)

    async def _turns(
        self, memory: EpisodicMemory, acting: Sequence[Persona], moment: _Moment, round: int
    ) -> list[Turn]:
        now = round * STEPS + moment.step - 1
        turns = []
        for persona in acting:
            position = moment.progress[persona.id]["plan_step"]
            turns.append(
                Turn(
                    agent=persona.id,
                    round=round,
                    step=moment.step,
                    plan_step=persona.plan[position] if position < len(persona.plan) else "",
                    observations=moment.inbox.get(persona.id, []),
                    memories=[],
                )
            )
        queries = [Query(t["agent"], " ".join(m["text"] for m in t["observations"]) or t["plan_step"]) for t in turns]
        for turn, recalled in zip(turns, await memory.recall(queries, k=RECALLED, now=now), strict=True):
            turn["memories"] = [r.memory.text for r in recalled]
        return turns

    async def _summary(self, modulator: Modulator, state: GroupState, failures: list[Failure]) -> str:
        try:
            return await modulator.summarise(state["actions"], state["round"])
        except CallFailed as error:
            failures.append(Failure(stage="summary", who=self._group.id, reason=error.reason))
            return ""

    async def _exchange(
        self, modulator: Modulator, memory: EpisodicMemory, state: GroupState, failures: list[Failure]
    ) -> list[News]:
        actions = state["actions"]
        told = " ".join(action["text"] for action in actions)
        near = await memory.nearest(
            list(self._all), told, besides=self._group.id, k=SHORTLIST, now=state["round"] * STEPS - 1
        )
        others = [self._all[group] for group in near]
        deliveries = await _or_none(modulator.exchange(actions, others, state["round"]), failures)
        return [
            News(
                group=others[position].id,
                sender=actions[d.item]["agent"],
                sender_name=self._members[actions[d.item]["agent"]].name,
                action=actions[d.item]["id"],
                text=actions[d.item]["text"],
                reason=d.reason,
            )
            for d in deliveries
            for position in d.recipients
        ]

    def _action(self, outcome: Outcome, action_id: str, time: int) -> Action:
        return Action(
            id=action_id,
            agent=outcome["agent"],
            step=time,
            text=outcome["text"],
            trigger=outcome["trigger"],
            recipients=[],
            reason="",
            call=outcome["call"],
        )

    def _message(self, action: str, sender: str, name: str, text: str, position: int, reason: str) -> Message:
        recipient = self._group.members[position].id
        return Message(
            id=f"{action}>{recipient}", sender=sender, sender_name=name, recipient=recipient, text=text, reason=reason
        )


@dataclass(frozen=True)
class _Moment:
    """What one visit of the modulator found and decided."""

    step: int
    progress: dict[str, Progress]
    inbox: dict[str, list[Message]]
    actions: list[Action]
    messages: list[Message]
    failures: list[Failure]
    memories: list[Memory]


async def _or_none(routing: Awaitable[list[Delivery]], failures: list[Failure]) -> list[Delivery]:
    try:
        return await routing
    except CallFailed as error:
        failures.append(Failure(stage="route", who=error.slot, reason=error.reason))
        return []


def _observed(messages: Sequence[Message], time: int, first: int) -> list[Memory]:
    return [
        Memory(m["recipient"], time, number, f"{m['sender_name']}: {m['text']}", "observation", HEARD)
        for number, m in enumerate(messages, first)
    ]


def _described(persona: Persona) -> Person:
    return Person(
        name=persona.name, description=persona.profile.description, personality=persona.personality, goal=persona.goal
    )


def _sorted_in(inbox: Mapping[str, list[Message]], messages: Sequence[Message]) -> dict[str, list[Message]]:
    filled = dict(inbox)
    for message in messages:
        filled[message["recipient"]] = [*filled.get(message["recipient"], []), message]
    return filled
