"""What a LangGraph store has to do, as tests for anybody's store. Needs pytest and hypothesis.

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self, tmp_path):
            with MyStore(tmp_path, index=INDEX) as store:
                yield store

Each test stays within namespaces of its own, so one store may serve all. What a store is known to
do otherwise goes into `deviations`, by the test's name; such a test has to fail. Kills and full
disks are in `matrix_graph.testing.durable`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)

from matrix_graph.testing.answers import DIMENSIONS
from matrix_graph.testing.fakes import FakeEmbeddings
from matrix_graph.testing.life import Life

INDEX: Any = {
    "dims": DIMENSIONS,
    "embed": FakeEmbeddings(),
    "fields": ["text"],
    "text_fields": ["text"],  # what SqliteStore and PostgresStore read
}
"""The index configuration that the tests expect."""


class StoreConformance:
    """Tests of a `BaseStore`; give a fixture `store`, made with `index=INDEX`."""

    deviations: ClassVar[dict[str, str]] = {}
    """Why a test fails, by its name."""

    examples: ClassVar[int] = 25
    """How many random lives of a store are tried."""

    @pytest.fixture
    def store(self) -> Iterator[BaseStore]:
        """An open store."""
        raise NotImplementedError("give a fixture `store`")

    @pytest.fixture(autouse=True)
    def _deviates(self, request: pytest.FixtureRequest) -> None:
        reason = self.deviations.get(request.node.originalname)
        if reason is not None:
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))

    @pytest.fixture
    def root(self) -> str:
        """A label that nobody else uses."""
        return uuid4().hex

    def test_what_is_put_is_there_until_it_is_replaced_or_deleted(
        self, store: BaseStore, root: str
    ) -> None:
        assert store.get((root,), "k") is None
        store.put((root,), "k", {"text": "red boat", "n": 1})
        item = store.get((root,), "k")
        assert item is not None
        assert (item.namespace, item.key) == ((root,), "k")
        assert item.value == {"text": "red boat", "n": 1}
        store.put((root,), "k", {"n": 2})
        assert store.get((root,), "k").value == {"n": 2}  # type: ignore[union-attr]
        store.delete((root,), "k")
        store.delete((root,), "k")
        assert store.get((root,), "k") is None

    def test_it_keeps_when_an_item_was_made_and_replaced(self, store: BaseStore, root: str) -> None:
        store.put((root,), "k", {"n": 1})
        first = store.get((root,), "k")
        store.put((root,), "k", {"n": 2})
        second = store.get((root,), "k")
        assert first is not None
        assert second is not None
        assert first.created_at == second.created_at
        assert first.updated_at <= second.updated_at
        assert second.created_at.tzinfo is not None

    def test_a_value_that_was_read_is_the_readers(self, store: BaseStore, root: str) -> None:
        store.put((root,), "k", {"list": [1]})
        store.get((root,), "k").value["list"].append(2)  # type: ignore[union-attr]
        assert store.get((root,), "k").value == {"list": [1]}  # type: ignore[union-attr]

    def test_a_value_that_was_put_is_the_stores(self, store: BaseStore, root: str) -> None:
        value = {"list": [1]}
        store.put((root,), "k", value)
        value["list"].append(2)
        assert store.get((root,), "k").value == {"list": [1]}  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "value", [{}, {"deep": {"er": [1, [2, {"x": None}]]}}, {"ö": "日本 \u2028 \\ '"}, {"": 0.5}]
    )
    def test_json_comes_back_as_it_was(self, store: BaseStore, root: str, value: Any) -> None:
        store.put((root,), "k", value)
        assert store.get((root,), "k").value == value  # type: ignore[union-attr]

    @pytest.mark.parametrize("namespace", [(), ("",), ("a.b",), ("langgraph", "a")])
    def test_bad_namespaces_are_refused(self, store: BaseStore, namespace: tuple[str, ...]) -> None:
        with pytest.raises(InvalidNamespaceError):
            store.put(namespace, "k", {"n": 1})

    def test_what_cannot_be_stored_changes_nothing(self, store: BaseStore, root: str) -> None:
        store.put((root,), "k", {"text": "red boat"})
        puts: list[Op] = [
            PutOp((root,), "k", {"text": "oven"}),
            PutOp((root,), "j", {"text": "oven", "bad": object()}),
        ]
        with pytest.raises(Exception, match=r".*"):
            store.batch(puts)
        assert [i.value for i in store.search((root,))] == [{"text": "red boat"}]
        (item,) = store.search((root,), query="red boat")
        assert item.score == pytest.approx(1, abs=1e-3)

    def test_a_batch_reads_before_it_writes_and_the_last_put_counts(
        self, store: BaseStore, root: str
    ) -> None:
        store.put((root,), "k", {"n": 1})
        results = store.batch(
            [
                PutOp((root,), "k", {"n": 2}),
                GetOp((root,), "k"),
                SearchOp((root,)),
                PutOp((root,), "k", {"n": 3}),
                ListNamespacesOp((MatchCondition("prefix", (root,)),)),
            ]
        )
        assert results[0] is None
        assert results[1].value == {"n": 1}  # type: ignore[union-attr]
        assert [i.value for i in results[2]] == [{"n": 1}]  # type: ignore[union-attr]
        assert results[3] is None
        assert results[4] == [(root,)]
        assert store.get((root,), "k").value == {"n": 3}  # type: ignore[union-attr]

    def test_filters(self, store: BaseStore, root: str) -> None:
        for n in range(4):
            store.put((root,), str(n), {"n": n, "text": f"number {n}", "flag": n == 1})
        for wanted, keys in (
            ({"n": 1}, "1"),
            ({"flag": True}, "1"),
            ({"text": "number 2"}, "2"),
            ({"n": {"$eq": 2}}, "2"),
            ({"n": {"$ne": 2}}, "013"),
            ({"n": {"$gt": 1}}, "23"),
            ({"n": {"$gte": 1, "$lt": 3}}, "12"),
            ({"n": {"$lte": 0}}, "0"),
            ({"n": 1, "flag": False}, ""),
            ({"missing": 1}, ""),
        ):
            assert {i.key for i in store.search((root,), filter=wanted)} == set(keys), wanted
            items = store.search((root,), filter=wanted, query="number 2")
            assert {i.key for i in items} == set(keys), wanted

    def test_search_ranks_by_similarity(self, store: BaseStore, root: str) -> None:
        for key, text in {"x": "red boat in the harbour", "y": "an oven", "z": "red boat"}.items():
            store.put((root,), key, {"text": text})
        items = store.search((root,), query="red boat")
        assert [i.key for i in items[:2]] == ["z", "x"]
        scores = [i.score for i in items]
        assert scores[0] == pytest.approx(1, abs=1e-3)
        assert scores == sorted(scores, reverse=True)  # type: ignore[type-var]
        assert [i.key for i in store.search((root,), query="red boat", limit=1, offset=1)] == ["x"]

    def test_what_is_not_indexed_is_not_ranked(self, store: BaseStore, root: str) -> None:
        store.put((root,), "plain", {"text": "red boat"}, index=False)
        store.put((root,), "other", {"text": "an oven"})
        items = {i.key: i.score for i in store.search((root,), query="red boat")}
        assert items.get("plain") is None
        assert items["other"] is not None

    def test_an_items_fields_can_be_named(self, store: BaseStore, root: str) -> None:
        store.put((root,), "k", {"text": "oven", "tags": ["boat", "kite"]}, index=["tags[*]"])
        store.put((root,), "other", {"text": "a ledger"})
        assert store.search((root,), query="kite")[0].key == "k"

    def test_vectors_go_with_their_item(self, store: BaseStore, root: str) -> None:
        store.put((root,), "k", {"tags": ["boat", "kite", "oven"]}, index=["tags[*]"])
        store.put((root,), "k", {"tags": ["ledger"]}, index=["tags[*]"])
        (item,) = store.search((root,), query="kite")
        assert item.score is not None
        assert item.score < 0.9
        store.put((root,), "k", {"tags": ["kite"]}, index=False)
        (item,) = store.search((root,), query="kite")
        assert item.score is None

    def test_equal_texts_are_all_found(self, store: BaseStore, root: str) -> None:
        for n in range(40):
            store.put((root, str(n % 3)), str(n), {"text": "red boat" if n % 2 else "oven"})
        items = store.search((root,), query="red boat", limit=20)
        assert {int(i.key) % 2 for i in items} == {1}
        assert len(items) == 20

    def test_pages_do_not_overlap(self, store: BaseStore, root: str) -> None:
        for n in range(25):
            store.put((root,), str(n), {"text": "boat " * 30 + "oven " * n})
        for query in (None, "boat"):
            pages = [
                store.search((root,), query=query, limit=10, offset=start)
                for start in (0, 10, 20, 30)
            ]
            keys = [item.key for page in pages for item in page]
            assert sorted(keys) == sorted(str(n) for n in range(25)), query

    def test_a_prefix_is_made_of_whole_labels(self, store: BaseStore, root: str) -> None:
        for name in ("a", "ab", "A", "a%", "a_"):
            store.put((root, name), "k", {"text": name})
        assert [i.namespace for i in store.search((root, "a"))] == [(root, "a")]
        assert [i.namespace for i in store.search((root, "a%"))] == [(root, "a%")]
        assert len(store.search((root,))) == 5

    def test_namespaces_are_listed(self, store: BaseStore, root: str) -> None:
        for path in (("a", "b", "c"), ("a", "b", "d"), ("a", "x"), ("b", "b", "c")):
            store.put((root, *path), "k", {"n": 1})

        def listed(**given: Any) -> set[tuple[str, ...]]:
            return {ns[1:] for ns in store.list_namespaces(**given)}

        assert listed(prefix=(root, "a")) == {("a", "b", "c"), ("a", "b", "d"), ("a", "x")}
        assert listed(prefix=(root, "*", "b")) == {
            ("a", "b", "c"),
            ("a", "b", "d"),
            ("b", "b", "c"),
        }
        assert listed(prefix=(root,), suffix=("c",)) == {("a", "b", "c"), ("b", "b", "c")}
        assert listed(prefix=(root,), max_depth=2) == {("a",), ("b",)}
        assert len(store.list_namespaces(prefix=(root,), limit=2)) == 2
        assert len(store.list_namespaces(prefix=(root,), limit=9, offset=3)) == 1

    def test_an_emptied_namespace_is_not_listed(self, store: BaseStore, root: str) -> None:
        store.put((root, "a"), "k", {"n": 1})
        store.delete((root, "a"), "k")
        assert store.list_namespaces(prefix=(root,)) == []

    def test_any_life_of_a_store(self, store: BaseStore) -> None:
        known = "test_any_life_of_a_store" in self.deviations
        few = settings(
            phases=[Phase.generate] if known else list(Phase),
            max_examples=self.examples,
            stateful_step_count=20,
            derandomize=True,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )
        machine: Any = partial(Life, store)
        run_state_machine_as_test(machine, settings=few)

    def test_threads_do_not_lose_each_others_writes(self, store: BaseStore, root: str) -> None:
        errors: list[BaseException] = []

        def live(number: int) -> None:
            try:
                for turn in range(12):
                    store.put((root, str(number)), str(turn % 4), {"n": turn})
                    store.put((root, "all"), str(number), {"n": turn})
                    item = store.get((root, str(number)), str(turn % 4))
                    assert item is not None
                    assert item.value == {"n": turn}
                    store.search((root, str(number)))
            except BaseException as error:  # noqa: BLE001 (raised below)
                errors.append(error)

        threads = [threading.Thread(target=live, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors[0]
        assert [i.value["n"] for i in store.search((root, "all"))] == [11] * 6
        assert len(store.search((root,), limit=100)) == 6 * 4 + 6

    def test_tasks_do_not_lose_each_others_writes(self, store: BaseStore, root: str) -> None:
        async def live(number: int) -> None:
            for turn in range(8):
                await store.aput((root, str(number)), "k", {"n": turn})
                item = await store.aget((root, str(number)), "k")
                assert item is not None
                assert item.value == {"n": turn}

        async def all_live() -> None:
            await asyncio.gather(*map(live, range(20)))

        asyncio.run(all_live())
        items = store.search((root,), limit=100)
        assert [item.value["n"] for item in items] == [7] * 20
