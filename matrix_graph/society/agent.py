"""An agent: a node that acts once per turn, reacting to what it observed or else going on with its
plan, and with the next one when that is carried out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Annotated, Literal, Protocol

from langgraph.runtime import Runtime
from pydantic import BaseModel, Field, StringConstraints
from typing_extensions import TypedDict

from matrix_graph.boundary.quoting import listed, numbered, one_line
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed
from matrix_graph.llm.caller import Answer, ChatMessage
from matrix_graph.llm.slot import Slot
from matrix_graph.resources import Resources, opened
from matrix_graph.schema import Group, Life, Persona
from matrix_graph.society.acquaintances import acquaintances
from matrix_graph.society.calendar import spelt
from matrix_graph.society.messages import remembered
from matrix_graph.society.state import Outcome, Turn, time_of

MAX_TOKENS = 200
PlanStep = Annotated[str, StringConstraints(min_length=4, max_length=240)]
_STATUS = re.compile(
    r"(?<![^\w\n])(?=[^\w\n]*+(CONTINUE|STEP DONE|GOAL REACHED)\W*+\Z)"
    r"(?:(?<!\w)|[^\w\n]*?[.!?](?=\s))"
)
_STATUSES: dict[str, Literal["continue", "step", "finished"]] = {
    "CONTINUE": "continue",
    "STEP DONE": "step",
    "GOAL REACHED": "finished",
}
_UNKNOWN = "(nothing comes to mind)"
_SETBACK = "This time something does not go as planned: let it happen, and say what."
_OUTREACH = (
    "This time you turn to people whom you know with it: post to the group, or write to the one "
    "whom it concerns, and tell, ask, offer or warn."
)


class Acted(TypedDict):
    """The state update of an agent node."""

    outcomes: list[Outcome]


class AgentNode(Protocol):
    """A node that takes a turn."""

    async def __call__(self, state: Turn, runtime: Runtime[Context]) -> Acted: ...


class Verdict(BaseModel):
    """Whether an action could have happened."""

    reason: str = Field(max_length=400)
    plausible: bool


class LifeReply(BaseModel):
    """What an agent says that it lives for."""

    life_goal: str = Field(min_length=4, max_length=400)
    plan: list[PlanStep] = Field(min_length=3, max_length=8)


def agent_node(persona: Persona, group: Group) -> AgentNode:
    """The node of an agent that the context's model plays.

    Where its plan is carried out, it writes its next goal and plan first, in a call of its own.
    Where the context asks for `plausible` actions, each is checked, and once asked for again.
    """

    async def act(state: Turn, runtime: Runtime[Context]) -> Acted:
        res, turn = await opened(runtime.context), state
        begun: Life | None = None
        try:
            if turn["trigger"] == "goal" and not turn["plan_number"] and is_endless(res):
                begun = await _next_life(persona, group, turn, res)
                turn = {**turn, "life": begun, "plan_number": 1, "plan_step": begun["plan"][0]}
            messages = asked_of(persona, group, turn, res)
            answer = await _deed(slot_of(turn), messages, turn, res)
            outcome = outcome_of(turn, answer.text, answer.call, begun)
            if res.context.plausible and outcome["text"]:
                about = _about(persona, group, turn, res)
                doubt = await _doubt(outcome["text"], about, turn, res)
                if doubt:
                    messages += [
                        {"role": "assistant", "content": answer.text},
                        *res.prompts.render("act_again", reason=one_line(doubt)),
                    ]
                    # Where there is no second answer, the first one stands.
                    with suppress(CallFailed):
                        slot = replace(slot_of(turn), what="again")
                        answer = await _deed(slot, messages, turn, res)
                        outcome = outcome_of(turn, answer.text, answer.call, begun)
                outcome["doubt"] = doubt
        except CallFailed as error:
            return Acted(outcomes=[failed(turn, error.reason, error.slot, begun)])
        return Acted(outcomes=[outcome])

    return act


async def _deed(
    slot: Slot, messages: Sequence[ChatMessage], turn: Turn, res: Resources
) -> Answer[str]:
    rank = 2 * turn["step"]
    return await res.model.text(slot, messages, max_tokens=MAX_TOKENS, paragraph=True, rank=rank)


async def _doubt(action: str, about: dict[str, str], turn: Turn, res: Resources) -> str:
    """Why the action could not have happened to this person; nothing where it could, or where that
    cannot be told.
    """
    messages = res.prompts.render("plausible", action=action, **_mind(turn), **about)
    slot = replace(slot_of(turn), what="check")
    try:
        answer = await res.model.parsed(
            slot, messages, Verdict, max_tokens=120, rank=2 * turn["step"]
        )
    except CallFailed:
        return ""
    return "" if answer.value.plausible else answer.value.reason.strip() or "it is implausible"


def is_endless(res: Resources) -> bool:
    """Whether a life that is over is followed by another."""
    return res.context.end == "scenarios"


async def _next_life(persona: Persona, group: Group, turn: Turn, res: Resources) -> Life:
    slot = replace(slot_of(turn), what="life")
    about = _about(persona, group, turn, res)
    messages = res.prompts.render("next_life", **_mind(turn), **about)
    answer = await res.model.parsed(
        slot, messages, LifeReply, max_tokens=500, rank=2 * turn["step"]
    )
    steps = [step.strip() for step in answer.value.plan]
    return Life(
        goal=answer.value.life_goal.strip(), plan=steps, since=time_of(turn), call=answer.call
    )


def asked_of(persona: Persona, group: Group, turn: Turn, res: Resources) -> list[ChatMessage]:
    """What an agent is asked in a turn, in words."""
    return res.prompts.render(
        "agent",
        f"act_{turn['trigger']}",
        plan_step=one_line(turn["plan_step"]) or "nothing in particular; your plan is carried out",
        chance=_by_chance(persona, turn, res.context),
        **_mind(turn),
        **_about(persona, group, turn, res),
    )


def _mind(turn: Turn) -> dict[str, str]:
    """What an agent has in mind, and what it has just become aware of, for prompts."""
    heard = listed(remembered(m) for m in turn["observations"])
    return {
        "memories": listed(turn["memories"]) or _UNKNOWN,
        "observations": heard or "- (nothing)",
    }


def _about(persona: Persona, group: Group, turn: Turn, res: Resources) -> dict[str, str]:
    """Who the agent is in a turn, for prompts."""
    life = turn["life"]
    return {
        "name": one_line(persona.name),
        "description": one_line(persona.profile.description),
        "personality": one_line(persona.personality),
        "goal": one_line(life["goal"]),
        "plan": numbered(res.amendments.plan(persona.id, life, time_of(turn))),
        "setting": one_line(res.context.setting),
        "acquaintances": listed(acquaintances(persona, group, turn["known"])) or "- (nobody)",
        "date": spelt(date.fromisoformat(turn["date"])),
    }


def _by_chance(persona: Persona, turn: Turn, context: Context) -> str:
    """What happens at a plan's step by chance, in words for the agent."""
    if turn["trigger"] == "reaction":
        return ""
    shares = {_SETBACK: context.setbacks, _OUTREACH: context.outreach}
    place = f"{context.seed}/{persona.id}/{time_of(turn)}"
    happens = [text for text, p in shares.items() if random.Random(f"{place}/{text}").random() < p]
    return " ".join(happens)


def outcome_of(turn: Turn, text: str, call: str, begun: Life | None = None) -> Outcome:
    """What comes of an agent's words: an action with its status, or a failure where there is no
    action in them. `begun` is the life that it began in this turn.
    """
    body, mark = parted(text)
    if not body:
        return failed(turn, "the agent said nothing but its status", call, begun)
    reacts = turn["trigger"] == "reaction"
    return Outcome(
        agent=turn["agent"],
        text=body,
        trigger=turn["trigger"],
        status=_STATUSES.get(mark, "done"),
        answers=[m["action"] for m in turn["observations"]] if reacts else [],
        life=begun,
        doubt="",
        call=call,
        reason="",
        recalled=turn.get("recalled", []),
    )


def parted(text: str) -> tuple[str, str]:
    """What was said or done, and the status at its end, if any."""
    status = _STATUS.search(text)
    return (text[: status.end()].strip(), status[1]) if status else (text.strip(), "")


def failed(turn: Turn, reason: str, call: str, begun: Life | None = None) -> Outcome:
    """A turn without an action, and why."""
    return Outcome(
        agent=turn["agent"],
        text="",
        trigger=turn["trigger"],
        status="failed",
        answers=[],
        life=begun,
        doubt="",
        call=call,
        reason=reason,
        recalled=[],
    )


def slot_of(turn: Turn) -> Slot:
    """The place of a turn in the work."""
    return Slot(
        stage="society", who=turn["agent"], what="act", round=turn["round"], step=turn["step"]
    )
