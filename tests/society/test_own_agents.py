"""Agents that are the user's own: what they may be, and what they are given."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.store.memory import InMemoryStore

from matrix_graph import ChromaStore, Records, create_society
from matrix_graph.errors import InputError
from matrix_graph.society import Turn
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


async def test_empty_text_is_a_turn_in_which_it_did_nothing() -> None:
    assert await lived(lambda turn: "") == (set(), {"the agent returned no text"})


async def test_a_model_that_it_cannot_reach_is_that_turns_failure() -> None:
    def mine(turn: Turn) -> str:
        raise ConnectionError("nobody is there")

    done, reasons = await lived(mine)
    assert done == set()
    assert all("nobody is there" in reason for reason in reasons)


@pytest.mark.parametrize("answer", [{"x": 1}, 5, None, {"messages": []}])
async def test_what_is_no_answer_is_refused(answer: Any) -> None:
    with pytest.raises(InputError, match=r"it must return text, a message, or a mapping"):
        await lived(lambda turn: answer)


@pytest.mark.parametrize("mistake", [ZeroDivisionError, TypeError, IndexError, RuntimeError])
async def test_a_mistake_in_an_agents_code_travels_up(mistake: type[Exception]) -> None:
    def mine(turn: Turn) -> str:
        raise mistake("of mine")

    people = groups(2)
    graph = create_society(people, agents={people[0].members[0].id: mine})
    with pytest.raises(mistake, match="of mine"):
        await graph.compile(store=InMemoryStore()).ainvoke({"quota": 1}, context=context())


async def test_a_value_that_is_no_dict_is_refused_and_changes_nothing() -> None:
    store: Any = ChromaStore()
    for value in ("text", [1], 5):
        with pytest.raises(TypeError, match="A value is a dict"):
            store.put(("a",), "b", value)
    assert store.search((), filter={"a": 1}) == []


async def test_records_go_by_a_thread_whose_id_is_a_number() -> None:
    store = InMemoryStore()
    graph = create_society(groups(2)).compile(store=store)
    config: Any = {"configurable": {"thread_id": 7}}
    await graph.ainvoke({"quota": 1}, config, context=context())
    assert Records(store, 7).all("scenarios")  # type: ignore[arg-type]
