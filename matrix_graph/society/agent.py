"""An agent: a node that acts once per turn, reacting to what it observed or else going on with its
plan.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal, Protocol

from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.errors import GraphBubbleUp
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from matrix_graph.asking import ask
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed, InputError, MatrixError
from matrix_graph.llm.provider import reason_of
from matrix_graph.llm.slot import Slot
from matrix_graph.resources import opened
from matrix_graph.schema import Persona
from matrix_graph.society.messages import remembered
from matrix_graph.society.state import Outcome, Turn, time_of

MAX_TOKENS = 200
OWN_AGENT, PERSON = "own agent", "person"
"""Whose answers they are in the journal, where no model of ours was asked."""

_STATUS = re.compile(r"(?:\A|\n|(?<=[.!?])\s)[^\w\n]*(CONTINUE|GOAL REACHED)\W*\Z")
_UNKNOWN = "(nothing comes to mind)"


class Acted(TypedDict):
    """The state update of an agent node."""

    outcomes: list[Outcome]


class AgentNode(Protocol):
    """A node that takes a turn."""

    async def __call__(self, state: Turn, runtime: Runtime[Context]) -> Acted: ...


def agent_node(persona: Persona) -> AgentNode:
    """The node of an agent that the context's model plays."""

    async def act(state: Turn, runtime: Runtime[Context]) -> Acted:
        res = await opened(runtime.context)
        plan = res.amendments.plan(persona.id, persona.plan, time_of(state))
        messages = res.prompts.render(
            "agent",
            "act_reaction" if state["observations"] else "act_goal",
            name=persona.name,
            description=persona.profile.description,
            personality=persona.personality,
            goal=persona.goal,
            plan="\n".join(f"{n}. {step}" for n, step in enumerate(plan, 1)),
            memories=_listed(state["memories"]),
            plan_step=state["plan_step"] or "nothing in particular; your plan is carried out",
            observations=_listed([remembered(m) for m in state["observations"]]),
        )
        try:
            rank = 2 * state["step"]
            answer = await res.model.text(
                _slot(state), messages, max_tokens=MAX_TOKENS, paragraph=True, rank=rank
            )
        except CallFailed as error:
            return Acted(outcomes=[_failed(state, error.reason, error.slot)])
        return Acted(outcomes=[outcome_of(state, answer.text, answer.call)])

    return act


def runnable_node(runnable: Runnable[Any, Any]) -> AgentNode:
    """The node of an agent that is the user's own Runnable.

    It receives a `Turn` and returns text, a message, or a mapping with `text`. What it returned is
    on record, and not asked for again. An exception is that agent's failure for the step.
    """

    async def act(state: Turn, runtime: Runtime[Context]) -> Acted:
        resources, slot = await opened(runtime.context), _slot(state)
        by = PERSON if getattr(runnable, "name", None) == PERSON else OWN_AGENT
        described = json.dumps({**state, **resources.apart}, ensure_ascii=False, indent=1)

        async def answer() -> str:
            return _text_of(await runnable.ainvoke(state))

        try:
            text = await resources.journal.kept(slot, by, described, answer)
        except (MatrixError, GraphBubbleUp):
            raise
        except Exception as error:  # noqa: BLE001 (whatever the user's agent raises is its failure)
            return Acted(outcomes=[_failed(state, reason_of(error), "")])
        call = str(slot.at(1))
        if not text.strip():
            return Acted(outcomes=[_failed(state, "the agent returned no text", call)])
        return Acted(outcomes=[outcome_of(state, text, call)])

    return act


def human_agent() -> Runnable[Turn, str]:
    """An agent that a person plays, for `agents={id: human_agent()}`: each of its turns is an
    `interrupt()`.

    The interrupt's value holds the `turn` (observations, memories, plan step); resume with the text
    of the action; anything else is asked for again, with why as `problem`. Compile the graph with
    a checkpointer, and the person may take days.
    """

    async def act(turn: Turn) -> str:
        return ask({"asks": "action", "agent": turn["agent"], "turn": dict(turn)}, _action)

    return RunnableLambda(act, name=PERSON)


def _action(answer: Any) -> str:
    if not isinstance(answer, str) or not _STATUS.sub("", answer).strip():
        raise InputError("Resume with the text of the action, in words.")
    return answer


def _text_of(answer: Any) -> str:
    if isinstance(answer, BaseMessage):
        return str(answer.text)
    return str(answer["text"] if isinstance(answer, dict) else answer)


def outcome_of(turn: Turn, text: str, call: str) -> Outcome:
    """What comes of an agent's words: an action with its status, or a failure where there is no
    action in them.
    """
    status = _STATUS.search(text)
    mark = status.group(1) if status else ""
    body = _STATUS.sub("", text).strip()
    if not body:
        return _failed(turn, "the agent said nothing but its status", call)
    return Outcome(
        agent=turn["agent"],
        text=body,
        trigger=_trigger(turn),
        status="finished"
        if mark == "GOAL REACHED"
        else "continue"
        if mark == "CONTINUE"
        else "done",
        call=call,
        reason="",
        recalled=turn.get("recalled", []),
    )


def _failed(turn: Turn, reason: str, call: str) -> Outcome:
    return Outcome(
        agent=turn["agent"],
        text="",
        trigger=_trigger(turn),
        status="failed",
        call=call,
        reason=reason,
        recalled=[],
    )


def _trigger(turn: Turn) -> Literal["goal", "reaction"]:
    return "reaction" if turn["observations"] else "goal"


def _slot(turn: Turn) -> Slot:
    return Slot(
        stage="society", who=turn["agent"], what="act", round=turn["round"], step=turn["step"]
    )


def _listed(lines: list[str]) -> str:
    return "\n".join(f"- {line}" for line in lines) or _UNKNOWN
