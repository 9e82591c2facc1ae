"""A person plays an agent, or the modulator, through `interrupt()`, over a checkpointer on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from matrix_graph.memory.records import Records
from matrix_graph.society.graph import create_society
from matrix_graph.society.own_agents import human_agent
from matrix_graph.testing import FakeChat
from tests.helpers import context, groups

CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}


async def test_a_person_plays_an_agent_and_the_others_act_once(tmp_path: Path) -> None:
    store, model = InMemoryStore(), FakeChat()
    said: list[str] = []
    society = groups(3)
    waiting: list[Any] = []
    for day in range(5):  # each day in a process of its own, as far as LangGraph can tell
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
            graph = create_society(society, agents={"agent1": human_agent()}).compile(
                checkpointer=saver, store=store
            )
            given: Any = {"quota": 1} if day == 0 else Command(resume={waiting[0].id: said[-1]})
            out = await graph.ainvoke(given, CONFIG, context=context(model=model))
            waiting = list(out.get("__interrupt__", []))
        if not waiting:
            break
        assert waiting[0].value["agent"] == "agent1"
        assert waiting[0].value["turn"]["memories"]
        said.append(f"I answer the harbour master on day {day}.")
    (scenario,) = await Records(store, "t").aall("scenarios")
    own = [action["text"] for action in scenario["actions"] if action["agent"] == "agent1"]
    assert own == said
    assert len(own) == 3
    assert len(scenario["actions"]) == 9


async def test_a_person_directs_the_information(tmp_path: Path) -> None:
    store, society, model = InMemoryStore(), groups(2), FakeChat()
    asked: list[dict[str, Any]] = []
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
        graph = create_society(society).compile(checkpointer=saver, store=store)
        given: Any = {"quota": 1}
        ctx = context(model=model, modulator="human")
        while waiting := (await graph.ainvoke(given, CONFIG, context=ctx)).get("__interrupt__"):
            asked.append(waiting[0].value)
            assert waiting[0].value["asks"] == "deliver"
            answer: list[Any] = [
                ["agent1"] if item.startswith("Agent0") else [] for item in asked[-1]["items"]
            ]
            given = Command(resume={waiting[0].id: answer})
    (scenario,) = await Records(store, "t").aall("scenarios")
    assert len(asked) == 3
    assert {m["recipient"] for m in scenario["messages"]} == {"agent1"}
    assert {d["reason"] for d in scenario["deliveries"]} == {"a person's decision"}


async def test_a_decision_about_strangers_is_refused() -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    graph = create_society(groups(2)).compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    ctx = context(modulator="human")
    waiting = (await graph.ainvoke({"quota": 1}, CONFIG, context=ctx))["__interrupt__"]
    for wrong, why in (
        ([["nobody"], []], "Nobody is called nobody"),
        ([5], "Resume with a list of 2"),
        ([5, []], "5 is no list of ids"),
        ([{"recipients": None}, []], "None is no list of ids"),
        ("agent1", "Resume with a list of 2"),
        ([[["agent1"]], []], "Nobody is called"),
    ):
        answer: Any = Command(resume={waiting[0].id: wrong})
        waiting = (await graph.ainvoke(answer, CONFIG, context=ctx))["__interrupt__"]
        assert why in waiting[0].value["problem"]
    decided: Any = Command(resume={waiting[0].id: [["agent1"], []]})
    state = await graph.ainvoke(decided, CONFIG, context=ctx)
    assert state["__interrupt__"][0].value.get("problem") is None, "the thread goes on"
