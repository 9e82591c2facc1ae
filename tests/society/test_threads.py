"""Many lives in one store: those of threads, of names, and one that goes on."""

from __future__ import annotations

import asyncio
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from matrix_graph import Context, Records, create_matrix, human_agent
from matrix_graph.errors import InputError
from matrix_graph.memory import ChromaStore
from matrix_graph.society.graph import create_society
from tests.helpers import context, groups

PEOPLE = groups(2)


class Mine(TypedDict, total=False):
    quota: int
    produced: int


PLAYED = PEOPLE[0].members[0].id


def thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}, "recursion_limit": 1_000}


async def play(graph: Any, name: str, ctx: Context, quota: int, marked: str) -> list[str]:
    """Play a thread to its end, saying `marked`; the memories that were shown."""
    shown: list[str] = []
    given: Any = {"quota": quota}
    while True:
        state = await graph.ainvoke(given, thread(name), context=ctx)
        if "__interrupt__" not in state:
            return shown
        for asked in state["__interrupt__"]:
            shown += asked.value["turn"]["memories"]
        given = Command(resume=f"I say {marked}.")


async def test_nobody_recalls_the_life_of_another_thread() -> None:
    ctx, store = context(), ChromaStore()
    graph = create_society(PEOPLE, agents={PLAYED: human_agent()}).compile(
        checkpointer=InMemorySaver(), store=store
    )
    names = [f"user.{n}" for n in range(12)]
    shown = await asyncio.gather(*(play(graph, name, ctx, 2, f"word-{name}-") for name in names))
    for name, memories in zip(names, shown, strict=True):
        assert any(f"word-{name}-" in memory for memory in memories)
        others = [f"word-{other}-" for other in names if other != name]
        assert not [m for m in memories for other in others if other in m]
        scenarios = await Records(store, name).aall("scenarios")
        said = {a["text"] for s in scenarios for a in s["actions"] if a["agent"] == PLAYED}
        assert said == {f"I say word-{name}-."}
    store.close()


async def test_a_thread_goes_on_with_a_larger_quota() -> None:
    ctx, store = context(), InMemoryStore()
    graph = create_society(PEOPLE).compile(checkpointer=InMemorySaver(), store=store)
    first = await graph.ainvoke({"quota": 1}, thread("t"), context=ctx)
    (before,) = await Records(store, "t").aall("scenarios")
    again = await graph.ainvoke({"quota": 1}, thread("t"), context=ctx)
    assert again == first
    more = await graph.ainvoke({"quota": 2}, thread("t"), context=ctx)
    assert more["produced"] == 2
    scenarios = await Records(store, "t").aall("scenarios")
    assert before in scenarios
    assert len(scenarios) == 2


async def test_a_named_life_goes_on_whatever_the_thread() -> None:
    ctx, store = context(run="mine"), InMemoryStore()
    graph = create_society(PEOPLE).compile(checkpointer=InMemorySaver(), store=store)
    for quota in (1, 2, 2):
        out = await graph.ainvoke({"quota": quota}, thread(f"t{quota}"), context=ctx)
        assert out["produced"] == quota
        assert len(await Records(store, "mine").aall("scenarios")) == quota
    rounds = {s["round"] for s in await Records(store, "mine").aall("scenarios")}
    assert rounds == {0, 1}


async def test_a_society_within_another_graph_goes_on_too() -> None:
    ctx, store = context(), InMemoryStore()
    builder: Any = StateGraph(Mine, Context)
    builder.add_node("society", create_society(PEOPLE).compile())
    builder.add_edge(START, "society")
    graph = builder.compile(checkpointer=InMemorySaver(), store=store)
    for quota in (1, 1, 2):
        out = await graph.ainvoke({"quota": quota}, thread("t"), context=ctx)
        assert out["produced"] == quota
        assert len(await Records(store, "t").aall("scenarios")) == quota
    rounds = {s["round"] for s in await Records(store, "t").aall("scenarios")}
    assert rounds == {0, 1}


async def test_two_societies_of_one_graph_both_live() -> None:
    ctx, store = context(), InMemoryStore()
    builder: Any = StateGraph(Mine, Context)
    for group in groups(2, 2):
        builder.add_node(group.id, create_society([group]).compile())
    builder.add_edge(START, "group-001")
    builder.add_edge("group-001", "group-002")
    graph = builder.compile(checkpointer=InMemorySaver(), store=store)
    for quota in (1, 2):
        await graph.ainvoke({"quota": quota}, thread("t"), context=ctx)
        lived = [s["group"] for s in await Records(store, "t").aall("scenarios")]
        assert sorted(lived) == ["group-001"] * quota + ["group-002"] * quota


async def test_a_matrix_goes_on_on_its_thread() -> None:
    ctx, store = context(), InMemoryStore()
    graph = create_matrix(groups(2, 2)).compile(checkpointer=InMemorySaver(), store=store)
    for quota, count in ((2, 1), (3, 2)):
        given: Any = {"quota": quota, "wanted": [{"kind": "sft", "count": count}]}
        out = await graph.ainvoke(given, thread("t"), context=ctx)
        assert out["produced"] == quota
        assert out["kept"] == {"sft": count}
        assert len(out["rows"]) == count


async def test_a_second_life_under_a_name_that_nobody_gave_is_refused() -> None:
    ctx, store = context(), InMemoryStore()
    graph = create_society(PEOPLE).compile(store=store)
    await graph.ainvoke({"quota": 1}, context=ctx)
    with pytest.raises(InputError, match="holds the life of a society as 'run' already"):
        await graph.ainvoke({"quota": 1}, context=ctx)
    for _ in range(2):
        await graph.ainvoke({"quota": 1}, context=context(run="mine"))
    assert await Records(store, "mine").aany("scenarios")


@pytest.mark.parametrize("name", ["a.b", "%2E", "ü / ..", "x|y:z"])
async def test_a_run_may_have_any_name(name: str) -> None:
    store = InMemoryStore()
    graph = create_society(PEOPLE).compile(store=store)
    await graph.ainvoke({"quota": 1}, context=context(run=name))
    assert len(await Records(store, name).aall("scenarios")) == 1
    with pytest.raises(InputError, match="not empty"):
        Records(store, "")
