"""Agents that are not played by the context's model: the user's own, and people."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable, RunnableLambda
from langgraph.errors import GraphBubbleUp
from langgraph.pregel import Pregel
from langgraph.runtime import Runtime

from matrix_graph.asking import ask
from matrix_graph.context import Context
from matrix_graph.errors import InputError, MatrixError
from matrix_graph.llm.provider import fault_of, reason_of
from matrix_graph.resources import opened
from matrix_graph.schema import Group, Persona
from matrix_graph.society.agent import (
    Acted,
    AgentNode,
    asked_of,
    failed,
    outcome_of,
    parted,
    slot_of,
)
from matrix_graph.society.state import Turn

OWN_AGENT, PERSON = "own agent", "person"
"""Whose answers they are in the journal, where no model of ours was asked."""

Agent = Runnable[Any, Any] | Callable[[Turn], Any]
"""A Runnable or a function of a `Turn`; or a graph over `messages`, such as `create_agent` makes,
or a chat model, which are asked in words."""


def runnables(agents: Mapping[str, Agent] | None) -> dict[str, Runnable[Any, Any]]:
    """The user's own agents by persona id, functions as Runnables.

    Raises:
        InputError: `agents` is no mapping, or holds something else.
    """
    if not isinstance(agents or {}, Mapping):
        raise InputError("agents= maps persona ids to agents: {'p001': agent}.")
    made: dict[str, Runnable[Any, Any]] = {}
    given: Mapping[str, Any] = agents or {}
    for name, agent in given.items():
        if agent is human_agent:
            raise InputError(f"agents={{{name!r}: human_agent}} lacks its parentheses.")
        if isinstance(agent, Runnable):
            made[name] = agent
        elif callable(agent) and not isinstance(agent, type):
            made[name] = RunnableLambda(agent)
        else:
            raise InputError(
                f"agents={{{name!r}: ...}} is a {type(agent).__name__}; give a Runnable or a "
                "function of a Turn, a graph over messages, or a chat model."
            )
    return made


def runnable_node(runnable: Runnable[Any, Any], persona: Persona, group: Group) -> AgentNode:
    """The node of an agent that is the user's own.

    It receives a `Turn`, or, where it works on messages, what a model would be asked. It returns
    text, a message, or a mapping with `text` or `messages`. What it returned is on record, and not
    asked for again. An exception of the way to a model is that agent's failure for the step; one
    that is a mistake in code travels up (see `fault_of`), as does an answer of another kind.
    """
    in_words = _takes_messages(runnable)

    async def act(state: Turn, runtime: Runtime[Context]) -> Acted:
        resources, slot = await opened(runtime.context), slot_of(state)
        by = PERSON if is_person(runnable) else OWN_AGENT
        described = json.dumps({**state, **resources.apart}, ensure_ascii=False, indent=1)

        async def answer() -> str:
            given: Any = state
            if in_words:
                given = asked_of(persona, group, state, resources)
                given = {"messages": given} if isinstance(runnable, Pregel) else given
            return _text_of(await runnable.ainvoke(given), persona.id)

        try:
            text = await resources.journal.kept(slot, by, described, answer)
        except (MatrixError, GraphBubbleUp):
            raise
        except Exception as error:
            if fault_of(error) is None:
                raise
            return Acted(outcomes=[failed(state, reason_of(error), "")])
        call = str(slot.at(1))
        if not text.strip():
            return Acted(outcomes=[failed(state, "the agent returned no text", call)])
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


def is_person(agent: object) -> bool:
    """Whether a person plays the agent."""
    return getattr(agent, "name", None) == PERSON


def _takes_messages(runnable: Runnable[Any, Any]) -> bool:
    inner: Any = runnable
    while not isinstance(inner, BaseChatModel | Pregel) and hasattr(inner, "bound"):
        inner = inner.bound
    return isinstance(inner, BaseChatModel) or (
        isinstance(inner, Pregel) and "messages" in inner.channels
    )


def _action(answer: Any) -> str:
    if not isinstance(answer, str) or not parted(answer)[0]:
        raise InputError("Resume with the text of the action, in words.")
    return answer


def _text_of(answer: Any, agent: str) -> str:
    given = answer
    if isinstance(answer, Mapping) and (messages := answer.get("messages")):
        given = messages[-1]
    if isinstance(answer, Mapping) and "text" in answer:
        given = answer["text"]
    if isinstance(given, BaseMessage):
        return str(given.text)
    if not isinstance(given, str):
        raise InputError(
            f"The agent of {agent} returned {answer!r:.100}; it must return text, a message, or a "
            "mapping with `text` or `messages`. Where it has nothing to do, text that is empty."
        )
    return given
