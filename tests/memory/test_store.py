from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from matrix_graph.errors import InputError
from matrix_graph.memory.store import ChromaStore
from matrix_graph.testing import DIMENSIONS, FakeEmbeddings

INDEX: Any = {"dims": DIMENSIONS, "embed": FakeEmbeddings(), "fields": ["text"]}


@pytest.fixture(params=["chroma", "langgraph"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    """Ours, and LangGraph's own as the yardstick: every test here holds for both."""
    made = (
        ChromaStore(tmp_path, index=INDEX)
        if request.param == "chroma"
        else InMemoryStore(index=INDEX)
    )
    yield made
    if isinstance(made, ChromaStore):
        made.close()


def test_put_get_replace_delete(store: BaseStore) -> None:
    store.put(("a", "b"), "k", {"text": "one", "n": 1})
    item = store.get(("a", "b"), "k")
    assert item
    assert (item.value, item.key, item.namespace) == ({"text": "one", "n": 1}, "k", ("a", "b"))
    store.put(("a", "b"), "k", {"text": "two"})
    assert store.get(("a", "b"), "k").value == {"text": "two"}  # type: ignore[union-attr]
    store.delete(("a", "b"), "k")
    assert store.get(("a", "b"), "k") is None
    store.delete(("a", "b"), "never there")


def test_a_batch_keeps_its_order_and_reads_before_it_writes(store: BaseStore) -> None:
    store.put(("a",), "k", {"text": "old"})
    results = store.batch(
        [
            PutOp(("a",), "k", {"text": "new"}),
            GetOp(("a",), "k"),
            SearchOp(("a",), limit=5),
            PutOp(("a",), "k", {"text": "newest"}),
            ListNamespacesOp(),
        ]
    )
    assert [type(r).__name__ for r in results] == ["NoneType", "Item", "list", "NoneType", "list"]
    assert results[1].value == {"text": "old"}  # type: ignore[union-attr]
    assert results[4] == [("a",)]
    assert store.get(("a",), "k").value == {"text": "newest"}  # type: ignore[union-attr]


async def test_the_asynchronous_form_is_the_same(store: BaseStore) -> None:
    await store.aput(("a",), "k", {"text": "boat"})
    assert (await store.aget(("a",), "k")).value == {"text": "boat"}  # type: ignore[union-attr]
    assert [i.key for i in await store.asearch(("a",), query="boat")] == ["k"]
    await store.adelete(("a",), "k")
    assert await store.alist_namespaces(prefix=("a",)) in ([], [("a",)])


def test_search_scores_by_similarity(store: BaseStore) -> None:
    for key, text in {"x": "red boat in the harbour", "y": "an oven", "z": "red boat"}.items():
        store.put(("d",), key, {"text": text})
    store.put(("d",), "plain", {"text": "red boat"}, index=False)
    found = store.search(("d",), query="red boat")
    assert [i.key for i in found[:2]] == ["z", "x"]
    assert found[0].score == pytest.approx(1.0, abs=1e-3)
    assert {i.key: i.score for i in found}["plain"] is None
    assert [i.key for i in store.search(("d",), query="red boat", limit=1, offset=1)] == ["x"]


def test_fields_can_be_named_per_item_and_lists_have_many_vectors(store: BaseStore) -> None:
    store.put(("d",), "k", {"text": "oven", "tags": ["boat", "kite"]}, index=["tags[*]"])
    store.put(("d",), "other", {"text": "a ledger"})
    assert store.search(("d",), query="kite")[0].key == "k"
    store.put(("d",), "k", {"text": "ledger", "tags": []})
    assert [i.key for i in store.search(("d",), query="kite")].count("k") == 1


FILTERS: list[tuple[dict[str, Any], set[str]]] = [
    ({"n": 1}, {"one"}),
    ({"n": {"$gt": 1}}, {"two", "three"}),
    ({"n": {"$gte": 2, "$lt": 3}}, {"two"}),
    ({"n": {"$ne": 1}}, {"two", "three"}),
    ({"in": {"deep": "x"}}, {"one"}),
    ({"in": {"deep": {"$eq": "y"}}}, {"two"}),
    ({"tags": ["a", "b"]}, {"three"}),
    ({"flag": True}, {"one"}),
    ({"gone": None}, {"one", "two", "three"}),
    ({"n": 1, "flag": False}, set()),
]


@pytest.mark.parametrize(("wanted", "keys"), FILTERS)
def test_filters(store: BaseStore, wanted: dict[str, Any], keys: set[str]) -> None:
    store.put(("d",), "one", {"n": 1, "in": {"deep": "x", "more": 1}, "flag": True, "tags": []})
    store.put(("d",), "two", {"n": 2, "in": {"deep": "y"}, "flag": False, "tags": ["a"]})
    store.put(("d",), "three", {"n": 3, "in": {"deep": "z"}, "tags": ["a", "b"]})
    assert {i.key for i in store.search(("d",), filter=wanted)} == keys
    assert {i.key for i in store.search((), filter=wanted)} == keys


def test_an_unknown_operator_is_an_error(store: BaseStore) -> None:
    store.put(("d",), "k", {"n": 1})
    with pytest.raises(ValueError, match="Unsupported operator"):
        store.search(("d",), filter={"n": {"$like": 1}})


NAMESPACES = [
    ("a", "b", "c"),
    ("a", "b", "d"),
    ("a", "x"),
    ("b", "b", "c"),
    ("a*", "b"),
    ("A", "b"),
]


@pytest.mark.parametrize(
    ("conditions", "depth"),
    [
        ([("prefix", ("a",))], None),
        ([("prefix", ("a", "*", "c"))], None),
        ([("suffix", ("c",))], None),
        ([("suffix", ("b", "*"))], None),
        ([("prefix", ("a",)), ("suffix", ("c",))], None),
        ([("prefix", ("*", "b"))], 2),
        ([], 1),
        ([], None),
    ],
)
def test_namespaces_are_listed_as_langgraph_lists_them(
    tmp_path: Path, conditions: Any, depth: int | None
) -> None:
    ours, yardstick = ChromaStore(tmp_path), InMemoryStore()
    for made in (ours, yardstick):
        for number, namespace in enumerate(NAMESPACES):
            made.put(namespace, f"k{number}", {"n": number})
    for limit, offset in ((100, 0), (2, 0), (2, 1)):
        op = ListNamespacesOp(
            tuple(MatchCondition(k, p) for k, p in conditions), depth, limit, offset
        )
        assert ours.batch([op]) == yardstick.batch([op])
    ours.close()


labels = st.text(min_size=1, max_size=8).filter(
    lambda s: "." not in s and s != "langgraph" and s.isprintable()
)
hostile = st.sampled_from(
    ["a*", "q\"uo'te", "trail\n", "Case", "case", "ünï", "日本", "%_", "[]", "\\", " "]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    puts=st.lists(
        st.tuples(
            st.lists(labels | hostile, min_size=1, max_size=3).map(tuple),
            st.text(min_size=1, max_size=8) | hostile,
            st.dictionaries(st.text(max_size=5), json_values, max_size=3),
        ),
        min_size=1,
        max_size=6,
    )
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@pytest.mark.slow
def test_any_json_under_any_name_comes_back_as_it_was(
    puts: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ours = ChromaStore(tmp_path_factory.mktemp("chroma"))
    last = {}
    for namespace, key, value in puts:
        ours.put(namespace, key, value)
        last[namespace, key] = value
    for (namespace, key), value in last.items():
        item = ours.get(namespace, key)
        assert item
        assert json.dumps(item.value) == json.dumps(value)
        assert (item.namespace, item.key) == (namespace, key)
    ours.close()


def test_times_are_kept(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    ours.put(("a",), "k", {"n": 1})
    first = ours.get(("a",), "k")
    ours.put(("a",), "k", {"n": 2})
    second = ours.get(("a",), "k")
    assert first
    assert second
    assert second.created_at == first.created_at <= first.updated_at < second.updated_at
    ours.close()


def test_other_embeddings_are_refused(tmp_path: Path) -> None:
    ChromaStore(tmp_path, index=INDEX).close()
    with pytest.raises(InputError, match="Use the embeddings it was made with"):
        ChromaStore(tmp_path, index={"dims": 3, "embed": FakeEmbeddings()})


@pytest.mark.slow
def test_a_large_store_still_finds_the_nearest(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path, index=INDEX)
    things = [
        f"{a} {b} {c}" for a in "abcdefghijklmno" for b in "pqrstuvwxyzab" for c in "cdefghijklmn"
    ]
    ours.batch(
        [
            PutOp(("many", t[0]), t, {"text": f"word{t[0]} word{t[2]} word{t[4]} {t}", "n": n})
            for n, t in enumerate(things)
        ]
    )
    assert len(things) > 2_000
    for t in ("a p c", "o b n", "h u g"):
        query = f"word{t[0]} word{t[2]} word{t[4]} {t}"
        found = ours.search(("many",), query=query, limit=3)
        assert found[0].score == pytest.approx(1.0, abs=1e-3)
        assert [i.key for i in ours.search(("many", t[0]), query=query, limit=1)] == [t]
        n = things.index(t)
        assert [i.key for i in ours.search(("many",), query=query, filter={"n": n}, limit=5)] == [t]
    assert len(ours.search(("many",), limit=5_000)) == len(things)
    assert len(ours.search(("many",), limit=50, offset=len(things) - 20)) == 20
    ours.close()


async def test_many_tasks_and_threads_may_use_one_store(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path, index=INDEX)

    async def one(n: int) -> None:
        await ours.aput(("a", str(n % 7)), str(n), {"text": f"boat {n}"})
        assert (await ours.aget(("a", str(n % 7)), str(n))).value == {"text": f"boat {n}"}  # type: ignore[union-attr]

    def thread(n: int) -> None:
        ours.put(("b",), str(n), {"text": f"oven {n}"})

    await asyncio.gather(*map(one, range(60)), *(asyncio.to_thread(thread, n) for n in range(20)))
    assert len(ours.search(("a",), limit=100)) == 60
    assert len(ours.search(("b",), limit=100)) == 20
    ours.close()


async def test_one_bad_request_fails_alone(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    await ours.aput(("a",), "k", {"n": 1})
    results = await asyncio.gather(
        ours.aget(("a",), "k"),
        ours.asearch(("a",), filter={"n": {"$no": 1}}),
        ours.aput(("a",), "j", {"n": 2}),
        return_exceptions=True,
    )
    assert [type(r).__name__ for r in results] == ["Item", "ValueError", "NoneType"]
    ours.close()


async def test_the_loop_goes_on_while_chroma_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, going = ChromaStore(tmp_path), threading.Event()
    write = ours._rows.write

    def slow(*given: Any) -> None:
        assert going.wait(20), "the loop stands still"
        write(*given)

    monkeypatch.setattr(ours._rows, "write", slow)
    writing = asyncio.create_task(ours.aput(("a",), "k", {"n": 1}))
    await asyncio.sleep(0.05)
    assert not writing.done()
    going.set()
    await writing
    ours.close()


@pytest.mark.process
def test_a_second_process_is_told(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    twice = ChromaStore(tmp_path)
    twice.close()
    code = f"from matrix_graph import ChromaStore; ChromaStore({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is open in another process" in done.stderr
    ours.close()
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode
        == 0
    )


def test_a_client_of_the_users_own(tmp_path: Path) -> None:
    import chromadb

    client = chromadb.PersistentClient(str(tmp_path))
    one, two = ChromaStore(client=client), ChromaStore(client=client, collection="others")
    one.put(("a",), "k", {"n": 1})
    assert two.get(("a",), "k") is None
    one.put(("a",), "k", {"n": 2})
    one.close()
    assert ChromaStore(client=client).get(("a",), "k").value == {"n": 2}  # type: ignore[union-attr]


def test_it_serves_as_the_store_of_a_graph(tmp_path: Path) -> None:
    from langgraph.graph import START, StateGraph
    from langgraph.runtime import Runtime

    def node(state: dict[str, Any], runtime: Runtime) -> dict[str, Any]:
        assert runtime.store
        runtime.store.put(("seen",), "k", {"n": state["n"]})
        return {"n": runtime.store.get(("seen",), "k").value["n"] + 1}  # type: ignore[union-attr]

    ours = ChromaStore(tmp_path)
    builder: Any = StateGraph(dict)
    graph = builder.add_node("node", node).add_edge(START, "node").compile(store=ours)
    assert graph.invoke({"n": 1}) == {"n": 2}
    ours.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_langmems_tools_work_on_it(tmp_path: Path) -> None:
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode
    from langmem import create_manage_memory_tool, create_search_memory_tool

    ours = ChromaStore(tmp_path, index={"dims": DIMENSIONS, "embed": FakeEmbeddings()})
    tools = [create_manage_memory_tool(("memories",)), create_search_memory_tool(("memories",))]
    graph = (
        StateGraph(MessagesState)
        .add_node("tools", ToolNode(tools))
        .add_edge(START, "tools")
        .compile(store=ours)
    )

    async def call(name: str, **arguments: Any) -> str:
        ask = AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": "1"}])
        return str((await graph.ainvoke({"messages": [ask]}))["messages"][-1].content)

    assert "created" in await call(
        "manage_memory", content="The ferry leaves at noon", action="create"
    )
    await call("manage_memory", content="Ovens need a permit", action="create")
    found = json.loads(await call("search_memory", query="When does the ferry leave?", limit=1))
    assert found[0]["value"]["content"] == "The ferry leaves at noon"
    key = found[0]["key"]
    await call("manage_memory", content="The ferry leaves at one", action="update", id=key)
    assert ours.get(("memories",), key).value == {"content": "The ferry leaves at one"}  # type: ignore[union-attr]
    await call("manage_memory", action="delete", id=key)
    assert ours.get(("memories",), key) is None
    ours.close()


def test_by_default_the_whole_value_is_indexed() -> None:
    index: Any = {"dims": DIMENSIONS, "embed": FakeEmbeddings()}
    ours, yardstick = ChromaStore(index=index), InMemoryStore(index=index)
    for made in (ours, yardstick):
        made.put(("d",), "k", {"a": "red boat"})
        made.put(("d",), "j", {"a": "oven"})
    found = [
        [(i.key, pytest.approx(i.score, abs=1e-4)) for i in s.search(("d",), query="red boat")]
        for s in (ours, yardstick)
    ]
    assert found[0] == found[1]


def test_stores_in_memory_do_not_share_and_stores_on_one_folder_do(tmp_path: Path) -> None:
    one, two = ChromaStore(), ChromaStore()
    one.put(("a",), "k", {"n": 1})
    assert two.get(("a",), "k") is None
    here, there = ChromaStore(tmp_path), ChromaStore(tmp_path)
    here.put(("u",), "k0", {"n": 0})
    assert len(here.search(("u",))) == 1
    there.put(("v",), "k1", {"n": 1})
    assert [i.key for i in here.search(("v",))] == ["k1"]
    created = there.get(("v",), "k1").created_at  # type: ignore[union-attr]
    here.put(("v",), "k1", {"n": 2})
    assert there.get(("v",), "k1").created_at == created  # type: ignore[union-attr]
    here.delete(("v",), "k1")
    assert there.get(("v",), "k1") is None
    here.close()
    there.close()


async def test_a_bad_write_fails_alone(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    writes = [
        ours.aput(("a",), "good", {"n": 1}),
        ours.aput(("a",), "bad", {"n": object()}),
        ours.aput(("a",), "also", {"n": 2}),
    ]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(r).__name__ for r in results] == ["NoneType", "TypeError", "NoneType"]
    assert {i.key for i in ours.search(("a",))} == {"good", "also"}
    ours.close()
