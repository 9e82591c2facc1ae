"""What people compose: the society as a node or a tool, their own stores, retries and caches,
frames of rows.
"""

from __future__ import annotations

from typing import Any, TypedDict

import pandas as pd
from datasets import Dataset
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.memory import InMemoryStore
from langgraph.types import CachePolicy, RetryPolicy

from matrix_graph import Context, Records, create_filter, create_generator, create_society
from matrix_graph.testing import FakeChat, FakeEmbeddings
from tests.helpers import context, groups, scenario, sft


class Mine(TypedDict, total=False):
    quota: int
    produced: int
    told: str


async def test_the_society_as_a_node_with_their_own_checkpointer_and_store() -> None:
    store = InMemoryStore()
    builder = StateGraph(Mine, Context)
    builder.add_node("society", create_society(groups(2, 2)).compile())
    builder.add_node("tell", lambda state: {"told": f"{state['produced']} scenarios"})
    builder.add_edge(START, "society")
    builder.add_edge("society", "tell")
    builder.add_edge("tell", END)
    graph = builder.compile(checkpointer=InMemorySaver(), store=store)
    config: Any = {"configurable": {"thread_id": "mine"}, "recursion_limit": 1_000}
    out = await graph.ainvoke({"quota": 2}, config, context=context())
    assert out["told"] == "2 scenarios"
    assert len(await Records(store, "mine").aall("scenarios")) == 2
    assert [s async for s in graph.aget_state_history(config)], "their checkpointer has the history"


async def test_the_society_as_a_tool_of_an_agent() -> None:
    society = create_society(groups(2)).compile()

    @tool
    async def live(scenarios: int) -> str:
        """Let the society live through some scenarios."""
        done = await society.ainvoke(
            {"quota": scenarios}, {"recursion_limit": 1_000}, context=context()
        )
        return f"{done['acted']} actions"

    def think(state: MessagesState) -> dict[str, Any]:
        if isinstance(state["messages"][-1], ToolMessage):
            return {"messages": [AIMessage(f"It came to {state['messages'][-1].text}.")]}
        call = {"name": "live", "args": {"scenarios": 1}, "id": "1"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    builder = StateGraph(MessagesState)
    builder.add_node("agent", think)
    builder.add_node("tools", ToolNode([live]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges(
        "agent", lambda s: "tools" if s["messages"][-1].tool_calls else END, ["tools", END]
    )
    builder.add_edge("tools", "agent")
    graph = builder.compile(
        store=InMemoryStore()
    )  # inside a graph it is the outer graph's store that counts
    out = await graph.ainvoke({"messages": [HumanMessage("What happens in the harbour?")]})
    assert out["messages"][-1].text == "It came to 6 actions."


async def test_the_filter_over_a_frame_and_over_a_dataset() -> None:
    rows = [
        sft("1", "How do I mend a net that is torn?"),
        sft("2", "how do i mend a net that is torn?"),
    ]
    flow = create_filter().compile()
    for given in (pd.DataFrame(rows).to_dict("records"), Dataset.from_list(rows).to_list()):
        kept = await flow.ainvoke({"rows": given})
        assert pd.DataFrame(kept["rows"])["id"].tolist() == ["1"]
        assert Dataset.from_list(kept["rows"]).num_rows == 1
        assert kept["rejections"][0]["rule"] == "exact duplicate"


async def test_events_stream_and_calls_carry_the_agents_names() -> None:
    seen: list[dict[str, Any]] = []

    class Listener(AsyncCallbackHandler):
        async def on_chat_model_start(self, serialized: Any, messages: Any, **given: Any) -> None:
            seen.append(given["metadata"] | {"tags": given["tags"], "name": given["name"]})

    graph = create_society(groups(2)).compile(store=InMemoryStore())
    config: Any = {"callbacks": [Listener()], "recursion_limit": 1_000}
    given: Any = {"quota": 1}
    events: list[Any] = [
        data
        async for _, data in graph.astream(
            given, config, context=context(), stream_mode="custom", subgraphs=True
        )
    ]
    assert {event["event"] for event in events} >= {"step", "scenario"}
    assert {m.get("langgraph_node") for m in seen} >= {
        "Agent0 Doe",
        "Agent1 Doe",
        "modulator",
        "scenario",
    }
    assert {m.get("agent") for m in seen} >= {"agent0", "agent1"}
    assert {m.get("group") for m in seen} >= {"group-001"}
    assert all(set(m["tags"]) >= {"matrix-graph", "society"} for m in seen)
    assert "society/r0.s0/agent0/act#1" in {m["name"] for m in seen}


async def test_langgraphs_retries_and_cache_stand_beside_ours() -> None:
    model = FakeChat()
    builder: Any = StateGraph(dict, Context)

    async def flaky(state: dict[str, Any]) -> dict[str, Any]:
        model.calls += 100
        if model.calls < 200:
            raise ConnectionError("once")
        return {
            "requirements": [{"kind": "sft", "count": 1}],
            "scenarios": [scenario(0, ["ana"], "mends nets")],
        }

    builder.add_node(
        "flaky", flaky, retry_policy=RetryPolicy(max_attempts=2, initial_interval=0.01)
    )
    builder.add_node(
        "generator",
        create_generator().compile(),
        cache_policy=CachePolicy(key_func=lambda state: "same"),
    )
    builder.add_edge(START, "flaky")
    builder.add_edge("flaky", "generator")
    builder.add_edge("generator", END)
    graph = builder.compile(cache=InMemoryCache())
    ctx = Context(model=model, embeddings=FakeEmbeddings())
    assert len((await graph.ainvoke({}, context=ctx))["rows"]) == 1
    calls = model.calls
    again = await graph.ainvoke({}, context=ctx)
    assert len(again["rows"]) == 1
    assert model.calls == calls + 100, (
        "only the first node ran: the generator's answer came from LangGraph's cache"
    )
