from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from matrix_graph.errors import InputError
from matrix_graph.memory.store import ChromaStore
from matrix_graph.testing import DIMENSIONS, FakeEmbeddings

INDEX: Any = {"dims": DIMENSIONS, "embed": FakeEmbeddings(), "fields": ["text"]}


@pytest.fixture(params=["chroma", "langgraph"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStore]:
    """Ours, and LangGraph's own as the yardstick: every test here holds for both."""
    made = ChromaStore(tmp_path, index=INDEX) if request.param == "chroma" else InMemoryStore(index=INDEX)
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


NAMESPACES = [("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("b", "b", "c"), ("a*", "b"), ("A", "b")]


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
def test_namespaces_are_listed_as_langgraph_lists_them(tmp_path: Path, conditions: Any, depth: int | None) -> None:
    ours, yardstick = ChromaStore(tmp_path), InMemoryStore()
    for made in (ours, yardstick):
        for number, namespace in enumerate(NAMESPACES):
            made.put(namespace, f"k{number}", {"n": number})
    for limit, offset in ((100, 0), (2, 0), (2, 1)):
        op = ListNamespacesOp(tuple(MatchCondition(k, p) for k, p in conditions), depth, limit, offset)
        assert ours.batch([op]) == yardstick.batch([op])
    ours.close()


labels = st.text(min_size=1, max_size=8).filter(lambda s: "." not in s and s != "langgraph" and s.isprintable())
hostile = st.sampled_from(["a*", "q\"uo'te", "trail\n", "Case", "case", "ünï", "日本", "%_", "[]", "\\", " "])
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
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
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_under_any_name_comes_back_as_it_was(puts: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
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


def test_ttl_is_honestly_unsupported(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    with pytest.raises(NotImplementedError):
        ours.put(("a",), "k", {"n": 1}, ttl=5)
    ours.close()
