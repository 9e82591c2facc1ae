"""The graphs as LangGraph users expect them: synchronous too, named, with schemas, and with errors
that say what is missing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from matrix_graph import (
    Context,
    Records,
    create_filter,
    create_generator,
    create_matrix,
    create_society,
    human_agent,
)
from matrix_graph.errors import InputError
from matrix_graph.llm.usage import Usage
from matrix_graph.resources import opening
from matrix_graph.stage import synchronous
from matrix_graph.testing import FakeServer
from tests.filtering.test_planted import clean
from tests.helpers import context, groups

GRAPHS: dict[str, Any] = {
    "society": lambda: create_society(groups(2)),
    "generator": create_generator,
    "filter": create_filter,
    "matrix": lambda: create_matrix(groups(2)),
}
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
@pytest.mark.parametrize("name", GRAPHS)
def test_schemas_can_be_made_and_traces_have_a_name(name: str) -> None:
    graph = GRAPHS[name]().compile()
    assert graph.name == name
    assert GRAPHS[name]().compile(name="mine").name == "mine"
    assert graph.get_input_jsonschema()["properties"]
    assert graph.get_output_jsonschema()["properties"]
    settings = graph.get_context_jsonschema()["properties"]
    assert settings["concurrency"]["type"] == "integer"
    assert settings["embeddings"]["type"] == "string"
    assert graph.as_tool(name="life", description="Live.").args


@pytest.mark.parametrize("name", GRAPHS)
async def test_a_missing_input_is_named(name: str) -> None:
    graph = GRAPHS[name]().compile(store=InMemoryStore())
    given: Any = {"matrix": {"quota": 1}, "filter": {"earlier": []}}.get(name, {"other": 1})
    with pytest.raises(InputError, match="The graph needs"):
        await graph.ainvoke(given, context=context())


def test_invoke_and_stream_do_what_their_asynchronous_forms_do(tmp_path: Path) -> None:
    store = InMemoryStore()
    graph = create_matrix(groups(2, 2)).compile(store=store)
    given: Any = {"quota": 2, "wanted": [{"kind": "sft", "count": 2}]}
    done = graph.invoke(given, CONFIG, context=context())
    assert len(done["rows"]) == 2
    with SqliteSaver.from_conn_string(str(tmp_path / "checkpoints.sqlite")) as saver:
        society = create_society(groups(2)).compile(checkpointer=saver, store=InMemoryStore())
        steps = list(society.stream({"quota": 1}, CONFIG, context=context(), stream_mode="updates"))
        assert [name for step in steps for name in step][:2] == ["memories", "router"]
        assert list(society.get_state_history(CONFIG))
    kept = create_filter().compile().invoke({"rows": clean(5, 1)})
    assert len(kept["rows"]) == 5


def test_a_person_is_asked_in_the_synchronous_form_too() -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    people, store, ctx = groups(2), InMemoryStore(), context()
    played = people[0].members[0].id
    graph = create_society(people, agents={played: human_agent()}).compile(
        checkpointer=InMemorySaver(), store=store
    )
    state = graph.invoke({"quota": 1}, CONFIG, context=ctx)
    while "__interrupt__" in state:
        state = graph.invoke(Command(resume="I mend the net."), CONFIG, context=ctx)
    (scenario,) = Records(store, "t").all("scenarios")
    assert {a["text"] for a in scenario["actions"] if a["agent"] == played} == {"I mend the net."}


def test_invoke_inside_an_asynchronous_node_is_refused() -> None:
    async def inner() -> int:
        return 1

    async def outer() -> int:
        return synchronous(inner)()

    with pytest.raises(InputError, match="await ainvoke"):
        synchronous(outer)()


def test_an_error_of_a_node_reaches_the_caller() -> None:
    graph = create_society(groups(2)).compile()
    with pytest.raises(InputError, match="Compile the graph with a store"):
        graph.invoke({"quota": 1}, context=context())


@pytest.mark.parametrize("how", ["ainvoke", "messages", "astream_events"])
async def test_what_is_used_is_counted_however_the_graph_is_run(
    how: str, server: FakeServer
) -> None:
    ctx = Context(model="openai:fake", embeddings="openai:fake", base_url=server.url)
    graph = create_society(groups(2)).compile(store=InMemoryStore())
    given: Any = {"quota": 1}
    pieces = 0
    async with opening(ctx) as resources:
        if how == "ainvoke":
            await graph.ainvoke(given, context=ctx)
        elif how == "messages":
            async for _ in graph.astream(
                given, context=ctx, stream_mode="messages", subgraphs=True
            ):
                pieces += 1
        else:
            async for event in graph.astream_events(given, context=ctx, version="v2"):
                pieces += event["event"] == "on_chat_model_stream"
        await resources.settle()
        assert resources.account.total == sum(server.used.values(), Usage())
        assert resources.account.total.output_tokens > 0
    assert how == "ainvoke" or pieces > 10


@pytest.mark.parametrize("name", ["a:b", "a|b", "router", "memories", "__start__", ""])
def test_a_group_id_that_no_node_can_have_is_refused(name: str) -> None:
    (group,) = groups(2)
    with pytest.raises(InputError, match="cannot have the id"):
        create_society([replace(group, id=name)])


def test_a_person_without_checkpoints_is_refused() -> None:
    (group,) = groups(2)
    with pytest.raises(InputError, match="agent_checkpoints=True"):
        create_society(
            [group], agents={group.members[0].id: human_agent()}, agent_checkpoints=False
        )


@pytest.mark.parametrize("by", ["id", "name"])
@pytest.mark.parametrize("whole", [False, True])
async def test_it_stops_before_an_agent_acts(by: str, whole: bool) -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    people, ctx = groups(2), context()
    agent = people[0].members[0]
    build = create_matrix if whole else create_society
    graph = build(people).compile(
        checkpointer=InMemorySaver(), store=InMemoryStore(), interrupt_before=[getattr(agent, by)]
    )
    given: Any = {"quota": 1} | ({"wanted": [{"kind": "sft", "count": 1}]} if whole else {})
    stops = 0
    while given is not None or (await graph.aget_state(CONFIG)).next:
        done = await graph.ainvoke(given, CONFIG, context=ctx)
        given, stops = None, stops + 1
    assert stops == 4, "three turns and the end"
    assert done["produced"] == 1
    plain = build(people).compile(checkpointer=InMemorySaver(), store=InMemoryStore())
    given = {"quota": 1} | ({"wanted": [{"kind": "sft", "count": 1}]} if whole else {})
    assert (await plain.ainvoke(given, CONFIG, context=context()))["produced"] == 1


def test_a_node_to_stop_at_must_be_there() -> None:
    with pytest.raises(InputError, match="no node Nobody to interrupt in society"):
        create_society(groups(2)).compile(interrupt_before=["Nobody"])
    name = groups(2)[0].members[0].id
    with pytest.raises(InputError, match="that makes checkpoints"):
        create_society(groups(2), agent_checkpoints=False).compile(interrupt_after=[name])
    assert create_society(groups(2)).compile(interrupt_before="*", interrupt_after=["router"])


async def test_a_chat_window_hears_who_says_what_to_whom() -> None:
    store, heard = InMemoryStore(), list[dict[str, Any]]()
    graph = create_society(groups(3)).compile(store=store)
    async for part in graph.astream(
        {"quota": 2}, context=context(), stream_mode="custom", subgraphs=True, version="v2"
    ):
        data: Any = part["data"]
        heard += [data] if data["event"] == "message" else []
    scenarios = await Records(store, "run").aall("scenarios")
    actions = {action["id"]: action for s in scenarios for action in s["actions"]}
    assert {event["id"] for event in heard} == actions.keys()
    for event in heard:
        action = actions[event["id"]]
        assert event["text"] == action["text"]
        assert [to["agent"] for to in event["to"]] == action["recipients"]
        assert event["name"].startswith("Agent")
