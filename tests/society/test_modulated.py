from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from matrix_graph.errors import InputError
from matrix_graph.society.modulated import ModulatedState, add_modulator
from matrix_graph.testing import FakeChat
from tests.helpers import context

WHO = {"ana": "a baker", "ben": "a miller", "cem": "a spy"}


def _routes(*recipients: list[int]) -> str:
    return '{"deliveries": [' + ", ".join(f'{{"reason": "near", "recipients": {r}}}' for r in recipients) + "]}"


def _graph(seen: list[tuple[str, list[str]]], **options: Any) -> StateGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(ModulatedState)
    for agent in WHO:

        def act(state: Any, agent: str = agent) -> Any:
            seen.append((agent, [m.text for m in state["messages"]]))
            return {"messages": [AIMessage(f"{agent} speaks", name=agent)]}

        builder.add_node(agent, act)
    builder.add_edge(START, "modulator")
    return add_modulator(builder, WHO, **options)


async def test_only_who_became_aware_acts_next_and_sees_no_more_than_that() -> None:
    model = FakeChat(replies={"1. ana: ana speaks": _routes([2], [], [2]), "1. ben: ben speaks": _routes([])})
    seen: list[tuple[str, list[str]]] = []
    graph = _graph(seen, context=context(model=model)).compile()
    state = await graph.ainvoke({"messages": [HumanMessage("Begin.")]})
    assert sorted(seen[:3]) == [(agent, ["Begin."]) for agent in sorted(WHO)]
    assert seen[3:] == [("ben", ["Begin.", "ana speaks", "ben speaks", "cem speaks"])]
    first = {d["sender"]: d for d in state["deliveries"][:3]}
    assert first["ana"]["recipients"] == ["ben"]
    assert first["ana"]["left_out"] == ["cem"]
    assert first["ben"]["recipients"] == []
    assert {d["reason"] for d in state["deliveries"]} == {"near"}
    assert state["deliveries"][3]["left_out"] == ["ana", "cem"]


async def test_it_ends_after_its_steps_and_can_be_asked_again() -> None:
    everyone = {"1. ana": _routes([1, 2, 3], [1, 2, 3], [1, 2, 3])}
    seen: list[tuple[str, list[str]]] = []
    graph = _graph(seen, context=context(model=FakeChat(replies=everyone)), steps=2).compile(
        checkpointer=InMemorySaver()
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({"messages": [HumanMessage("Begin.")]}, config)
    assert len(seen) == 6
    await graph.ainvoke({"messages": [HumanMessage("Once more.")]}, config)
    assert len(seen) == 12
    assert all("Once more." in texts for _, texts in seen[6:])


async def test_what_cannot_be_routed_reaches_nobody_with_the_reason() -> None:
    model = FakeChat(replies={"What was just done": "no JSON at all"})
    state = await _graph([], context=context(model=model)).compile().ainvoke({"messages": []})
    assert [d["recipients"] for d in state["deliveries"]] == [[], [], []]
    assert all("not the JSON" in d["reason"] and len(d["left_out"]) == 2 for d in state["deliveries"])


def test_a_graph_that_does_not_fit_is_told_why() -> None:
    plain: Any = StateGraph(MessagesState)
    plain.add_node("ana", lambda state: state)
    with pytest.raises(InputError, match="StateGraph\\(ModulatedState\\)"):
        add_modulator(plain, {"ana": "a baker"}, context=context())
    builder: Any = StateGraph(ModulatedState)
    builder.add_node("ana", lambda state: state)
    with pytest.raises(InputError, match="no node ben"):
        add_modulator(builder, {"ben": "a miller"}, context=context())
    builder.add_edge("ana", "__end__")
    with pytest.raises(InputError, match="ana has an edge already"):
        add_modulator(builder, {"ana": "a baker"}, context=context())
