from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from matrix_graph.errors import InputError
from matrix_graph.society.modulated import ModulatedState, add_modulator
from matrix_graph.testing import FakeChat
from tests.helpers import context

WHO = {"ana": "a baker", "ben": "a miller", "cem": "a spy"}


def _routes(*recipients: list[int]) -> str:
    return (
        '{"deliveries": ['
        + ", ".join(f'{{"reason": "near", "recipients": {r}}}' for r in recipients)
        + "]}"
    )


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
    model = FakeChat(
        replies={"1. ana: ana speaks": _routes([2], [], [2]), "1. ben: ben speaks": _routes([])}
    )
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
    assert all(
        "not the JSON" in d["reason"] and len(d["left_out"]) == 2 for d in state["deliveries"]
    )


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


class Baking(ModulatedState):
    topic: str


def _everyone(n: int) -> str:
    return _routes(*[[1, 2, 3]] * n)


async def test_agents_see_the_keys_that_their_owner_added() -> None:
    topics: list[str] = []
    builder: Any = StateGraph(Baking)
    for agent in WHO:

        def act(state: Any, agent: str = agent) -> Any:
            topics.append(state["topic"])
            return {"messages": [AIMessage(f"{agent} speaks", name=agent)]}

        builder.add_node(agent, act)
    builder.add_edge(START, "modulator")
    model = FakeChat(replies={"1. ana": _everyone(3)})
    graph = add_modulator(builder, WHO, context=context(model=model), steps=2).compile()
    await graph.ainvoke({"messages": [], "topic": "ovens"})
    assert topics == ["ovens"] * 6


async def test_calls_of_tools_and_their_results_stay_with_their_agent() -> None:
    seen: dict[str, list[Any]] = {}
    builder: Any = StateGraph(ModulatedState)
    call = {"name": "look", "args": {}, "id": "c1"}

    def ana(state: Any) -> Any:
        asked = AIMessage("", name="ana", tool_calls=[call])
        return {
            "messages": [
                asked,
                ToolMessage("secret 42", tool_call_id="c1", name="look"),
                AIMessage("Ready", name="ana"),
            ]
        }

    def ben(state: Any) -> Any:
        seen["ben"] = state["messages"]
        return {"messages": [AIMessage("Good", name="ben")]}

    builder.add_node("ana", ana)
    builder.add_node("ben", ben)
    builder.add_edge(START, "modulator")
    model = FakeChat(replies={"1. ana: Ready": _routes([2], [])})
    graph = add_modulator(
        builder, {"ana": "a cook", "ben": "a guest"}, context=context(model=model)
    ).compile()
    state = await graph.ainvoke({"messages": [HumanMessage("Begin.")]})
    assert [m.text for m in seen["ben"]] == ["Begin.", "Ready", "Good"]
    assert [d["sender"] for d in state["deliveries"][:2]] == ["ana", "ben"]


async def test_an_agent_that_is_a_graph_does_not_rewrite_what_others_said() -> None:
    builder: Any = StateGraph(ModulatedState)
    for agent in ("ana", "ben"):
        inner: Any = StateGraph(MessagesState)
        inner.add_node(
            "speak",
            lambda state, agent=agent: {"messages": [AIMessage(f"{agent} speaks", name=agent)]},
        )
        inner.add_edge(START, "speak")
        builder.add_node(agent, inner.compile())
    builder.add_edge(START, "modulator")
    model = FakeChat(replies={"1. ana": _routes([1, 2], [1, 2])})
    graph = add_modulator(
        builder, {"ana": "a cook", "ben": "a guest"}, context=context(model=model), steps=3
    ).compile()
    state = await graph.ainvoke({"messages": [HumanMessage("Begin.")]})
    assert [type(m).__name__ for m in state["messages"]] == ["HumanMessage"] + ["AIMessage"] * 6
    assert len(state["deliveries"]) == 6


async def test_an_invocation_that_broke_off_is_followed_by_a_whole_one() -> None:
    broken = [True]
    acted: list[str] = []
    builder: Any = StateGraph(ModulatedState)

    def ana(state: Any) -> Any:
        if broken.pop() if broken else False:
            raise ConnectionError("gone")
        acted.append(state["messages"][-1].text)
        return {"messages": [AIMessage("Here", name="ana")]}

    builder.add_node("ana", ana)
    builder.add_edge(START, "modulator")
    graph = add_modulator(builder, {"ana": "a cook"}, context=context()).compile(
        checkpointer=InMemorySaver()
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    with pytest.raises(ConnectionError):
        await graph.ainvoke({"messages": [HumanMessage("First.")]}, config)
    await graph.ainvoke({"messages": [HumanMessage("Second.")]}, config)
    assert acted == ["Second."]


async def test_what_was_said_before_is_not_routed_again() -> None:
    asked: list[str] = []

    class Noting(FakeChat):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            asked.append(str(messages[-1].text))
            return super()._generate(messages, *args, **kwargs)

    graph = _graph([], context=context(model=Noting()), steps=2).compile()
    before = [AIMessage("old news", name="ana", id="1"), HumanMessage("Go on.")]
    await graph.ainvoke({"messages": before})
    assert asked
    assert not any("old news" in text for text in asked)


@pytest.mark.parametrize("kind", ["function", "graph"])
def test_agents_without_a_name_speak_as_their_node(kind: str) -> None:
    model = FakeChat(replies={"1. ana: ana speaks": _routes([2], [], [])})
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(ModulatedState)
    for agent in WHO:

        def act(state: Any, agent: str = agent) -> Any:
            return {"messages": [AIMessage(f"{agent} speaks")]}

        inner: Any = StateGraph(MessagesState)
        inner.add_node("speak", act)
        inner.add_edge(START, "speak")
        node: Any = act if kind == "function" else inner.compile()
        builder.add_node(agent, node)
    builder.add_edge(START, "modulator")
    graph = add_modulator(builder, WHO, context=context(model=model)).compile()
    history = AIMessage("Good morning.", id="before")
    state = graph.invoke({"messages": [history, HumanMessage("Begin.")]})
    assert {d["sender"] for d in state["deliveries"]} == set(WHO)
    assert state["messages"][0].name is None
    assert len(list(graph.get_subgraphs())) == (3 if kind == "graph" else 0)
