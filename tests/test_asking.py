"""Whatever a person answers, the thread goes on: what will not do is asked for again, with why."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from matrix_graph import create_filter, create_society, human_agent
from matrix_graph.filtering.graph import DEFAULT_STEPS
from tests.helpers import context, groups, sft

CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}
ROWS = [
    sft("0", "My oven loses heat on the left side since Monday. How do I find the leak?"),
    sft("no", "The market was full today and I sold it all."),
]


@pytest.mark.parametrize(
    "odd",
    [
        "yes",
        3,
        [],
        {"kep": ["no"]},
        {"keep": "no"},
        {"keep": None},
        {"keep": ["99"]},
        {"keep": [["no"]]},
        {"keep": [3]},
        {"drop": ["0"]},
        {"drop": {"no": "it is dropped already"}},
    ],
)
async def test_a_review_survives_a_wrong_answer(odd: Any) -> None:
    graph = create_filter([*DEFAULT_STEPS], review=2).compile(checkpointer=InMemorySaver())
    await graph.ainvoke({"rows": ROWS}, CONFIG)
    again = (await graph.ainvoke(Command(resume=odd), CONFIG))["__interrupt__"][0].value
    assert again["problem"]
    assert [row["id"] for row in again["kept"]] == ["0"]
    done = await graph.ainvoke(Command(resume={"keep": ["no"]}), CONFIG)
    assert [row["id"] for row in done["rows"]] == ["0", "no"]


@pytest.mark.parametrize("odd", ["", "  ", "CONTINUE", None, 5, {"action": "I sail."}])
async def test_a_played_agent_is_asked_until_there_is_an_action(odd: Any) -> None:
    agents = {"agent0": human_agent()}
    graph = create_society(groups(1), agents=agents).compile(
        checkpointer=InMemorySaver(), store=InMemoryStore()
    )
    at = context()
    (first,) = (await graph.ainvoke({"quota": 1}, CONFIG, context=at))["__interrupt__"]
    answer = {first.id: odd}
    (again,) = (await graph.ainvoke(Command(resume=answer), CONFIG, context=at))["__interrupt__"]
    assert again.value["problem"]
    assert again.value["turn"] == first.value["turn"]
