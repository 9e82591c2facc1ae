"""Agents that are the user's own: what they may be, and what they are given."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.store.memory import InMemoryStore

from matrix_graph import Records, create_society
from matrix_graph.testing import FakeChat
from tests.helpers import context, groups

PEOPLE = groups(2)
MINE = PEOPLE[0].members[0]
WORDS = "I mend the net."


async def lived(agent: Any) -> tuple[set[str], set[str]]:
    """What the agent did, and why it failed."""
    store = InMemoryStore()
    graph = create_society(PEOPLE, agents={MINE.id: agent}).compile(store=store)
    await graph.ainvoke({"quota": 1}, context=context())
    (scenario,) = await Records(store, "run").aall("scenarios")
    failures = await Records(store, "run").aall("failures")
    said = {a["text"] for a in scenario["actions"] if a["agent"] == MINE.id}
    return said, {f["reason"] for f in failures}


def by_function(turn: Any) -> str:
    assert turn["agent"] == MINE.id
    return WORDS


async def by_coroutine(turn: Any) -> dict[str, str]:
    return {"text": WORDS}


AGENTS: dict[str, Any] = {
    "a function": by_function,
    "a coroutine function": by_coroutine,
    "a Runnable": RunnableLambda(lambda turn: AIMessage(WORDS)),
    "a chat model": FakeChat(replies={"": WORDS}),
    "a chat model with retries": FakeChat(replies={"": WORDS}).with_retry(),
    "an agent of langchain": create_agent(FakeChat(replies={"": WORDS})),
}


@pytest.mark.parametrize("kind", AGENTS)
async def test_it_acts(kind: str) -> None:
    assert await lived(AGENTS[kind]) == ({WORDS}, set())


@pytest.mark.parametrize(
    ("answer", "reason"), [({"x": 1}, "without `text`"), (5, "int, and no text"), ("", "no text")]
)
async def test_what_it_returned_instead_of_text_is_said(answer: Any, reason: str) -> None:
    said, reasons = await lived(lambda turn: answer)
    assert said == set()
    assert reasons
    assert all(reason in text for text in reasons)
