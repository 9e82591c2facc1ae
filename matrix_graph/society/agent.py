"""An agent: a node that acts once per turn, reacting to what it observed or else going on with its
plan.
"""

from __future__ import annotations

import re
from typing import Literal, Protocol

from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from matrix_graph.boundary.quoting import listed, numbered, one_line
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed
from matrix_graph.llm.caller import ChatMessage
from matrix_graph.llm.slot import Slot
from matrix_graph.resources import Resources, opened
from matrix_graph.schema import Persona
from matrix_graph.society.messages import remembered
from matrix_graph.society.state import Outcome, Turn, time_of

MAX_TOKENS = 200
_STATUS = re.compile(
    r"(?<![^\w\n])(?=[^\w\n]*+(CONTINUE|GOAL REACHED)\W*+\Z)(?:(?<!\w)|[^\w\n]*?[.!?](?=\s))"
)
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
        messages = asked_of(persona, state, res)
        try:
            rank = 2 * state["step"]
            answer = await res.model.text(
                slot_of(state), messages, max_tokens=MAX_TOKENS, paragraph=True, rank=rank
            )
        except CallFailed as error:
            return Acted(outcomes=[failed(state, error.reason, error.slot)])
        return Acted(outcomes=[outcome_of(state, answer.text, answer.call)])

    return act


def asked_of(persona: Persona, turn: Turn, res: Resources) -> list[ChatMessage]:
    """What an agent is asked in a turn, in words."""
    plan = res.amendments.plan(persona.id, persona.plan, time_of(turn))
    return res.prompts.render(
        "agent",
        "act_reaction" if turn["observations"] else "act_goal",
        name=one_line(persona.name),
        description=one_line(persona.profile.description),
        personality=one_line(persona.personality),
        goal=one_line(persona.goal),
        plan=numbered(plan),
        memories=listed(turn["memories"]) or _UNKNOWN,
        plan_step=one_line(turn["plan_step"]) or "nothing in particular; your plan is carried out",
        observations=listed(remembered(m) for m in turn["observations"]),
    )


def outcome_of(turn: Turn, text: str, call: str) -> Outcome:
    """What comes of an agent's words: an action with its status, or a failure where there is no
    action in them.
    """
    body, mark = parted(text)
    if not body:
        return failed(turn, "the agent said nothing but its status", call)
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


def parted(text: str) -> tuple[str, str]:
    """What was said or done, and the status at its end, if any."""
    status = _STATUS.search(text)
    return (text[: status.end()].strip(), status[1]) if status else (text.strip(), "")


def failed(turn: Turn, reason: str, call: str) -> Outcome:
    """A turn without an action, and why."""
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


def slot_of(turn: Turn) -> Slot:
    """The place of a turn in the work."""
    return Slot(
        stage="society", who=turn["agent"], what="act", round=turn["round"], step=turn["step"]
    )
