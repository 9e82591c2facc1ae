"""One group as a graph: its modulator, its agents, and the scenario that they close.

modulator ⇄ agents (STEPS times) → scenario
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import END, START
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from matrix_graph.context import Context
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.tasks import gather_to_end
from matrix_graph.memory import EpisodicMemory, Memory
from matrix_graph.memory.records import Records
from matrix_graph.resources import Resources, opened
from matrix_graph.schema import (
    Action,
    Delivery,
    Failure,
    Group,
    Persona,
    Scenario,
)
from matrix_graph.society.acquaintances import with_new
from matrix_graph.society.agent import agent_node
from matrix_graph.society.calendar import day_of
from matrix_graph.society.messages import (
    TOLD,
    memories_of,
    received,
    sent_out,
    sent_within,
    sorted_in,
)
from matrix_graph.society.modulator import SHORTLIST, Modulator
from matrix_graph.society.own_agents import runnable_node
from matrix_graph.society.progress import (
    advanced,
    can_act,
    fresh_progress,
    is_over,
    life_of,
    trigger_of,
)
from matrix_graph.society.record import on_record
from matrix_graph.society.routing import Nobody, router_of
from matrix_graph.society.state import (
    STEPS,
    Dated,
    GroupInput,
    GroupOutput,
    GroupReport,
    GroupState,
    Sent,
    Turn,
    time_of,
)
from matrix_graph.society.turn import (
    action_of,
    failure_of,
    put_in_mind,
    query_of,
    turn_node,
)
from matrix_graph.society.visit import Visit, described, noted, waiting_of
from matrix_graph.society.watch import watching
from matrix_graph.stage import Stage

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
) -> Stage[GroupState, Context, GroupInput, GroupOutput]:
    """The uncompiled graph of one group.

    Args:
        groups: All groups by id, to which news can travel.
        agents: The user's own agents by persona id, in place of the model's.
        durable: Write memories at every step, for checkpoints inside the group; otherwise with the
            scenario.
    """
    names = node_names(group.members)
    nodes = _Nodes(group, groups, names, (agents or {}).keys(), durable)
    builder = Stage(group.id, GroupState, Context, GroupInput, GroupOutput)
    builder.add_node("modulator", nodes.modulator, destinations=(*names.values(), "scenario"))
    builder.add_node("scenario", nodes.scenario)
    for member in group.members:
        runnable = (agents or {}).get(member.id)
        played = runnable_node(runnable, member, group) if runnable else agent_node(member, group)
        node = turn_node(played, member, group)
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
        self,
        group: Group,
        groups: Mapping[str, Group],
        names: Mapping[str, str],
        own: Collection[str],
        durable: bool,
    ) -> None:
        self._group = group
        self._all = groups
        self._names = names
        self._members = {m.id: m for m in group.members}
        self._own = own
        self._durable = durable

    async def modulator(self, state: GroupState, runtime: Runtime[Context]) -> Command[Any]:
        """Route what was just done or heard, then give every agent that can act its next turn."""
        resources = await opened(runtime.context)
        if state.get("outcomes"):
            rank = 2 * state["step"] + 1
            modulator = self._modulator(runtime, resources, state, state["step"], rank)
            visit = await self._follow(state, modulator)
        else:
            modulator = self._modulator(runtime, resources, state)
            visit = await self._open(state, modulator, resources.records(runtime.store))
        update = noted(state, visit, modulator.failures)
        await self._tell(runtime, {**state, **update}, visit)
        end = runtime.context.end
        acting = [
            m
            for m in self._group.members
            if can_act(m, visit.progress[m.id], m.id in visit.inbox, end, own=m.id in self._own)
        ]
        over = visit.step >= STEPS or not acting
        turns = [] if over else self._turns(acting, visit, state["round"], runtime.context)
        await self._recall(resources, resources.memory(runtime.store), visit, turns, state)
        if over:
            return Command(update=update, goto="scenario")
        sends = [Send(self._names[turn["agent"]], turn) for turn in turns]
        return Command(update=update, goto=sends)

    async def scenario(self, state: GroupState, runtime: Runtime[Context]) -> GroupOutput:
        """Close the scenario: tell it, let news travel, put it on record."""
        resources = await opened(runtime.context)
        records = resources.records(runtime.store)
        modulator = self._modulator(runtime, resources, state)
        outgoing: list[Sent] = []
        if state["actions"]:
            outgoing = await self._close(state, modulator, runtime)
        failures = [*state["failures"], *modulator.failures]
        name = self._name(state)
        by_name = {f"{name}-{n}": failure for n, failure in enumerate(failures)}
        await records.asave("failures", by_name, durable=False)
        await resources.written(runtime.store)
        report = GroupReport(
            group=self._group.id,
            scenario=name if state["actions"] else "",
            actions=len(state["actions"]),
            failed=len(failures),
            progress=state["progress"],
            waiting=waiting_of(state),
            outgoing=outgoing,
        )
        return GroupOutput(reports=[report])

    async def _close(
        self, state: GroupState, modulator: Modulator, runtime: Runtime[Context]
    ) -> list[Sent]:
        """Put the scenario on record; returns the news that travels from it."""
        resources = modulator.resources
        memory, records = resources.memory(runtime.store), resources.records(runtime.store)
        summary: str
        exchanged: tuple[list[Sent], list[Delivery]]
        work: list[Any] = [
            modulator.summarise(state["actions"]),
            self._exchange(modulator, memory, state),
        ]
        summary, exchanged = await gather_to_end(work)
        outgoing, deliveries = exchanged
        scenario = self._scenario(state, runtime.context, summary, deliveries, modulator.failures)
        scenario["messages"] = resources.amendments.messages(state["messages"])
        if watch := watching(runtime.context):
            await watch.told(scenario)
        last = state["round"] * STEPS + STEPS - 1
        if summary:
            memories = [Memory(self._group.id, last, 0, summary, "scenario", TOLD)]
            await memory.aremember(memories, durable=False)
        await records.asave("scenarios", {scenario["id"]: scenario}, durable=False)
        event = {"event": "scenario", "group": self._group.id, "id": scenario["id"]}
        runtime.stream_writer({"stage": "society", **event})
        return outgoing

    def _modulator(
        self,
        runtime: Runtime[Context],
        resources: Resources,
        state: GroupState,
        step: int | None = None,
        rank: int = 0,
    ) -> Modulator:
        place = Slot(stage="society", who=self._group.id, round=state["round"], step=step)
        router = router_of(runtime.context, resources)
        lives = {
            member.id: life_of(member, state["progress"][member.id])
            for member in self._group.members
            if member.id in state["progress"]
        }
        return Modulator(
            self._group, resources, router, place, rank, state.get("scene", ""),
            resources.context.setting, lives,
        )  # fmt: skip

    def _name(self, state: GroupState) -> str:
        return f"{self._group.id}-r{state['round']}"

    async def _tell(self, runtime: Runtime[Context], state: Any, visit: Visit) -> None:
        """Show who watches the scenario as far as it has come; tell who listens what was done and
        who became aware of it, and count.
        """
        if watch := watching(runtime.context):
            await watch.told(self._scenario(state, runtime.context, "", [], []))
        for action in visit.actions:
            runtime.stream_writer(self._message_of(action))
        runtime.stream_writer(
            {
                "stage": "society",
                "event": "step",
                "group": self._group.id,
                "actions": len(visit.actions),
                "failed": len(visit.failures),
            }
        )

    def _message_of(self, action: Action) -> dict[str, Any]:
        """An action as an event for a chat window."""
        people = [{"agent": i, "name": self._members[i].name} for i in action["recipients"]]
        return {
            "stage": "society",
            "event": "message",
            "group": self._group.id,
            "id": action["id"],
            "step": action["step"],
            "agent": action["agent"],
            "name": self._members[action["agent"]].name,
            "text": action["text"],
            "to": people,
            "reason": action["reason"],
        }

    async def _recall(
        self,
        resources: Resources,
        memory: EpisodicMemory,
        visit: Visit,
        turns: Sequence[Turn],
        state: GroupState,
    ) -> None:
        """Remember what happened, and give each turn what comes to its agent's mind."""
        now = state["round"] * STEPS + visit.step - 1
        queries = [query_of(turn) for turn in turns]
        # Both need embeddings: asked for together, they take one request.
        await resources.embedder.embed(
            [*(m.text for m in visit.memories), *(q.text for q in queries)]
        )
        await memory.aremember(visit.memories, durable=self._durable)
        await put_in_mind(turns, queries, memory, resources.context, now)

    async def _open(self, state: GroupState, modulator: Modulator, records: Records) -> Visit:
        progress = {i: state["progress"].get(i) or fresh_progress() for i in self._members}
        before = await on_record(state, self._group.id, records)
        modulator.scene = before.scene
        choices = await modulator.receive(before.news)
        messages, deliveries = received(self._group, choices, before.news)
        lines = {item["sender"]: item["sender_line"] for item in before.news}
        for agent in self._members:
            new = [lines[m["sender"]] for m in messages if m["recipient"] == agent]
            known = with_new(progress[agent]["known"], new)
            progress[agent] = {**progress[agent], "known": known}
        heard = memories_of([], messages, state["round"] * STEPS - 1, first=_NEWS)
        inbox = sorted_in({}, [*before.messages, *messages])
        return Visit(0, progress, inbox, [], messages, deliveries, [], heard, {}, before.scene)

    async def _follow(self, state: GroupState, modulator: Modulator) -> Visit:
        step, time = state["step"], time_of(state)
        outcomes = sorted(state["outcomes"], key=lambda o: o["agent"])
        progress = dict(state["progress"])
        failures: list[Failure] = []
        actions: list[Action] = []
        lives = {o["agent"]: o["life"] for o in outcomes if o["life"]}
        day = day_of(modulator.resources.context, time).isoformat()
        for outcome in outcomes:
            agent = outcome["agent"]
            progress[agent] = advanced(progress[agent], outcome)
            place = Dated(round=state["round"], step=step, date=day)
            if action := action_of(outcome, self._group, place):
                actions.append(action)
            else:
                failures.append(failure_of(outcome, time))
        choices = await modulator.deliver(actions, state["inbox"])
        actions, messages, deliveries = sent_within(self._group, choices, actions)
        memories = memories_of(actions, messages, time, first=1)
        inbox = sorted_in({}, messages)
        return Visit(
            step + 1, progress, inbox, actions, messages, deliveries, failures, memories, lives,
            state["scene"],
        )  # fmt: skip

    def _turns(
        self, acting: Sequence[Persona], visit: Visit, round: int, context: Context
    ) -> list[Turn]:
        day = day_of(context, time_of({"round": round, "step": visit.step})).isoformat()
        turns = []
        for persona in acting:
            progress, observed = visit.progress[persona.id], visit.inbox.get(persona.id, [])
            life, position = life_of(persona, progress), progress["plan_step"]
            ahead = not is_over(persona, progress)
            turns.append(
                Turn(
                    agent=persona.id,
                    round=round,
                    step=visit.step,
                    date=day,
                    trigger=trigger_of(persona, progress, bool(observed), context.end),
                    life=life,
                    plan_number=position + 1 if ahead else 0,
                    plan_step=life["plan"][position] if ahead else "",
                    observations=observed,
                    memories=[],
                    recalled=[],
                    known=progress["known"],
                )
            )
        return turns

    async def _exchange(
        self, modulator: Modulator, memory: EpisodicMemory, state: GroupState
    ) -> tuple[list[Sent], list[Delivery]]:
        if isinstance(modulator.router, Nobody) or state["closing"]:
            return [], []
        actions = state["actions"]
        done = [m for action in actions for m in memories_of([action], [], action["step"], first=1)]
        now = state["round"] * STEPS - 1
        near = await memory.anearest(
            list(self._all), done, besides=self._group.id, k=SHORTLIST, now=now
        )
        others = [self._all[group] for group in near]
        choices = await modulator.exchange(actions, others)
        return sent_out(self._name(state), choices, actions, others)

    def _scenario(
        self,
        state: GroupState,
        context: Context,
        summary: str,
        outgoing: Sequence[Delivery],
        failures: Sequence[Failure],
    ) -> Scenario:
        return Scenario(
            id=self._name(state),
            group=self._group.id,
            round=state["round"],
            agents=list(dict.fromkeys(action["agent"] for action in state["actions"])),
            actions=state["actions"],
            summary=summary,
            date=day_of(context, state["round"] * STEPS).isoformat(),
            lives=state["lives"],
            messages=state["messages"],
            deliveries=[*state["deliveries"], *outgoing],
            people={
                i: described(m, life_of(m, state["progress"][i])) for i, m in self._members.items()
            },
            failures=[*state["failures"], *failures],
        )
