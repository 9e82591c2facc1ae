"""A turn: what comes to an agent's mind, what a person amended of it, and its taking under
somebody's eyes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from langgraph.runtime import Runtime

from matrix_graph.context import Context
from matrix_graph.memory import EpisodicMemory, Memory, Query, Recalled
from matrix_graph.resources import Resources, opened
from matrix_graph.schema import Action, Failure, Group, Persona, Recollection
from matrix_graph.society.agent import Acted, AgentNode, outcome_of
from matrix_graph.society.calendar import brief, day_of
from matrix_graph.society.messages import remembered
from matrix_graph.society.state import Dated, Outcome, Turn, time_of
from matrix_graph.society.watch import Taken, watching

RECALLED = 5
LATEST = 2
"""Actions of its own, the last ones, that an agent has in mind in any case."""


def query_of(turn: Turn) -> Query:
    """What an agent's memory is asked for: what it reacts to, or else what it is about to do."""
    observed = " ".join(m["text"] for m in turn["observations"])
    ahead = turn["plan_step"] or turn["life"]["goal"]
    return Query(turn["agent"], observed if turn["trigger"] == "reaction" else ahead)


async def put_in_mind(
    turns: Sequence[Turn],
    queries: Sequence[Query],
    memory: EpisodicMemory,
    context: Context,
    now: int,
) -> None:
    """Give each turn what its agent did last, the latest first, and what else comes to its mind of
    the time up to step `now`: nothing twice, and not what it becomes aware of just now.

    What one has in mind does not depend on who else takes a turn.
    """
    for turn, query in zip(turns, queries, strict=True):
        latest = await memory.alatest(turn["agent"], "action", k=LATEST, now=now)
        heard = {remembered(m) for m in turn["observations"]}
        others = await _others(query, heard | {m.text for m in latest}, memory, now)
        year = date.fromisoformat(turn["date"]).year
        shown = [*reversed(latest), *(r.memory for r in others)]
        turn["memories"] = [_dated(m, context, year) for m in shown]
        turn["recalled"] = [_recollection(r) for r in others]


async def _others(
    query: Query, in_mind: set[str], memory: EpisodicMemory, now: int
) -> list[Recalled]:
    """The best memories that say something else than what is in mind, and than each other."""
    k = RECALLED + len(in_mind)
    while True:
        (ranked,) = await memory.arecall([query], k=k, now=now)
        best = {r.memory.text: r for r in reversed(ranked) if r.memory.text not in in_mind}
        if len(best) >= RECALLED or len(ranked) < k:
            return sorted(best.values(), key=ranked.index)[:RECALLED]
        k *= 2


def _dated(memory: Memory, context: Context, year: int) -> str:
    """The memory as it comes to mind in a year, with its day; what was before the run has none."""
    if memory.step < 0:
        return memory.text
    day = day_of(context, memory.step)
    return f"{brief(day)}{f' {day.year}' if day.year != year else ''}: {memory.text}"


def turn_node(node: AgentNode, persona: Persona, group: Group) -> AgentNode:
    """`node` as it acts when somebody watches or has amended something; otherwise just `node`."""

    async def act(state: Turn, runtime: Runtime[Context]) -> Acted:
        res, watch = await opened(runtime.context), watching(runtime.context)
        if watch is None and not res.amendments:
            return await node(state, runtime)
        memory = res.memory(runtime.store)

        async def take(before: Turn) -> Taken:
            turn = await _amended(state, before, persona, res, memory)
            (outcome,) = (await node(turn, runtime))["outcomes"]
            if text := res.amendments.action(persona.id, time_of(turn)):
                outcome = outcome_of(turn, text, outcome["call"], outcome["life"])
            action = action_of(outcome, group, turn)
            return Taken(group, turn, outcome, action, res, memory, lambda: take(turn))

        taken = await take(state)
        if watch:
            taken = await watch.acted(taken)
        return Acted(outcomes=[taken.outcome])

    return act


def action_of(outcome: Outcome, group: Group, at: Dated) -> Action | None:
    """The action that came of a turn, of which nobody knows yet; None where it failed."""
    if outcome["status"] == "failed":
        return None
    action = Action(
        id=f"{group.id}-r{at['round']}-s{at['step']}-{outcome['agent']}",
        agent=outcome["agent"],
        step=time_of(at),
        text=outcome["text"],
        trigger=outcome["trigger"],
        recipients=[],
        reason="",
        call=outcome["call"],
        date=at["date"],
        answers=outcome["answers"],
        recalled=outcome.get("recalled", []),
    )
    if outcome["doubt"]:
        action["doubt"] = outcome["doubt"]
    return action


def failure_of(outcome: Outcome, time: int) -> Failure:
    """Why no action came of a turn."""
    reason, call = outcome["reason"], outcome["call"]
    return Failure(stage="act", who=outcome["agent"], reason=reason, call=call, step=time)


async def _amended(
    given: Turn, before: Turn, persona: Persona, res: Resources, memory: EpisodicMemory
) -> Turn:
    """The turn as it was `given`, with all that was amended up to its step; `before` is how it was
    last taken.
    """
    agent, step, amendments = persona.id, time_of(given), res.amendments
    if not amendments.concern(agent):
        return given
    plan = ("", *amendments.plan(agent, given["life"], step))
    texts_of_messages = {a.what: a.text for a in amendments.of(agent, "message", step)}
    heard = [
        m | {"text": texts_of_messages.get(m["id"], m["text"])} for m in before["observations"]
    ]
    known = await memory.aall(agent, now=step - 1)
    texts = amendments.memories(agent, step)
    for old, new in zip(before["observations"], heard, strict=True):
        same = [m for m in known if m.kind == "observation" and m.text == remembered(old)]
        if same and new != old:
            texts[f"{same[-1].step}-{same[-1].number}"] = remembered(new)
    changed = [(m, texts.get(f"{m.step}-{m.number}", m.text)) for m in known]
    await memory.aremember([m._replace(text=text) for m, text in changed if text != m.text])
    turn: Turn = given | {"plan_step": plan[given["plan_number"]], "observations": heard}
    await put_in_mind([turn], [query_of(turn)], memory, res.context, step - 1)
    return turn


def _recollection(recalled: Recalled) -> Recollection:
    return Recollection(
        memory=f"{recalled.memory.step}-{recalled.memory.number}",
        score=round(recalled.score, 3),
        relevance=round(recalled.relevance, 3),
        recency=round(recalled.recency, 3),
        importance=round(recalled.importance, 3),
    )
