"""What the store does where something goes wrong, and what it keeps of time to live."""

from __future__ import annotations

import asyncio
import functools
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import GetOp, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from matrix_graph.errors import InputError, StoreFailed
from matrix_graph.memory import rows, store
from matrix_graph.memory.store import ChromaStore
from matrix_graph.testing import DIMENSIONS, FakeEmbeddings

INDEX: Any = {"dims": DIMENSIONS, "embed": FakeEmbeddings(), "fields": ["text", "tags[*]"]}
BAD: dict[str, Any] = {
    "half a surrogate pair": "\ud800",
    "an object": object(),
    "bytes": b"x",
}


class Noise(Embeddings):
    """Vectors without structure, the same for the same text."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        rng = np.random.default_rng(zlib.crc32(text.encode()))
        made: list[float] = rng.normal(size=32).tolist()
        return made


def texts_of(ours: ChromaStore, query: str, **more: Any) -> dict[str, float | None]:
    return {item.key: item.score for item in ours.search((), query=query, limit=50, **more)}


@pytest.mark.parametrize("bad", BAD)
def test_what_cannot_be_stored_changes_nothing(tmp_path: Path, bad: str) -> None:
    ours = ChromaStore(tmp_path, index=INDEX)
    ours.put(("a",), "k", {"text": "red boat", "tags": ["kite", "oven"]})
    before = texts_of(ours, "kite")
    with pytest.raises(TypeError):
        ours.put(("a",), "k", {"text": "ledger", "n": BAD[bad]})
    with pytest.raises(TypeError):
        ours.batch([PutOp(("b",), "j", {"text": "kite"}), PutOp(("b",), "i", {"n": BAD[bad]})])
    assert texts_of(ours, "kite") == before
    assert ours.list_namespaces() == [("a",)]
    ours.close()
    again = ChromaStore(tmp_path, index=INDEX)
    assert texts_of(again, "kite") == before
    again.close()


@pytest.mark.parametrize("name", [("\ud800",), ("a", "")])
def test_a_name_that_cannot_be_stored_is_an_error(tmp_path: Path, name: tuple[str, ...]) -> None:
    ours = ChromaStore(tmp_path)
    with pytest.raises((TypeError, ValueError)):
        ours.put(name, "k", {"n": 1})
    ours.close()


def test_vectors_belong_to_their_item_and_go_with_it(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path, index=INDEX)
    ours.put(("a",), "k", {"text": "red boat", "tags": ["kite", "oven", "ledger"]})
    plain = ChromaStore(tmp_path)
    plain.put(("a",), "k", {"text": "a harbour"})
    assert texts_of(ours, "kite") == {"k": None}, "put by a store that embeds nothing"
    ours.put(("a",), "k", {"text": "a harbour", "tags": ["kite"]})
    assert texts_of(ours, "kite")["k"] == pytest.approx(1)
    ours.delete(("a",), "k")
    assert texts_of(ours, "kite") == {}
    assert ours.list_namespaces() == [], "emptied, a namespace is gone"
    ours.close()
    plain.close()


def test_a_failed_write_leaves_all_of_its_batch_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ChromaStore(tmp_path, index=INDEX)
    ours.put(("a",), "k", {"text": "red boat"})
    before = texts_of(ours, "oven")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ours._rows._rows, "upsert", full)
    with pytest.raises(StoreFailed, match="No space left"):
        ours.batch([PutOp(("a",), "k", {"text": "oven"}), PutOp(("b",), "j", {"text": "oven"})])
    monkeypatch.undo()
    assert texts_of(ours, "oven") == before
    ours.put(("b",), "j", {"text": "oven"})
    assert texts_of(ours, "oven")["j"] == pytest.approx(1)
    ours.close()


def test_a_batch_that_also_deletes_is_carried_out_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = ChromaStore(tmp_path)
    ours.put(("a",), "old", {"n": 1})

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ours._rows._rows, "delete", killed)
    with pytest.raises(KeyboardInterrupt):
        ours.batch([PutOp(("a",), "new", {"n": 2}), PutOp(("a",), "old", None)])
    ours.close()
    again = ChromaStore(tmp_path)
    assert [item.key for item in again.search(())] == ["new"]
    again.close()


async def test_what_was_cancelled_while_it_waited_is_not_carried_out(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    going = threading.Event()
    ours._thread.submit(going.wait)
    older = asyncio.create_task(ours.aput(("a",), "k", {"n": 1}))
    await asyncio.sleep(0.01)
    older.cancel()
    newer = asyncio.create_task(ours.aput(("a",), "j", {"n": 2}))
    await asyncio.sleep(0.01)
    going.set()
    await newer
    with pytest.raises(asyncio.CancelledError):
        await older
    assert [item.key for item in ours.search(())] == ["j"]
    ours.close()


async def test_reads_and_writes_of_many_tasks_keep_their_order(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    ours._thread.submit(time.sleep, 0.05)
    writes = [asyncio.create_task(ours.aput(("a",), "k", {"n": n})) for n in range(3)]
    await asyncio.sleep(0)
    read = asyncio.create_task(ours.aget(("a",), "k"))
    await asyncio.sleep(0)
    gone = asyncio.create_task(ours.adelete(("a",), "k"))
    await asyncio.sleep(0)
    after = asyncio.create_task(ours.aget(("a",), "k"))
    await asyncio.sleep(0)
    again = asyncio.create_task(ours.aput(("a",), "k", {"n": 9}))
    await asyncio.sleep(0)
    listed = asyncio.create_task(ours.asearch(("a",)))
    await asyncio.gather(*writes, gone, again)
    item = await read
    assert item
    assert item.value == {"n": 2}
    assert await after is None
    assert [i.value for i in await listed] == [{"n": 9}]
    ours.close()


def test_many_threads_open_one_folder_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def use(number: int) -> None:
        try:
            for turn in range(5):
                with ChromaStore(tmp_path) as ours:
                    ours.put(("t", str(number)), str(turn), {"n": turn})
                    assert len(ours.search(("t", str(number)))) == turn + 1
        except BaseException as error:  # noqa: BLE001 (the test shows it)
            errors.append(error)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with ChromaStore(tmp_path) as ours:
        assert len(ours.search((), limit=100)) == 30


def test_a_store_that_outlives_another_on_its_folder_works(tmp_path: Path) -> None:
    first = ChromaStore(tmp_path, index=INDEX)
    second = ChromaStore(tmp_path, index=INDEX)
    first.put(("a",), "k", {"text": "red boat"})
    first.close()
    assert texts_of(second, "red boat")["k"] == pytest.approx(1)
    second.put(("a",), "j", {"text": "oven"})
    assert len(texts_of(second, "oven")) == 2
    second.close()


def test_stores_without_a_folder_leave_others_and_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import chromadb

    chromadb.EphemeralClient()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with ChromaStore() as ours:
        ours.put(("a",), "k", {"n": 1})
        assert list(tmp_path.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_is_told_and_leaves_the_folder_alone(tmp_path: Path) -> None:
    ours = ChromaStore()
    ours.put(("a",), "k", {"n": 1})
    child = os.fork()
    if child == 0:
        try:
            ours.get(("a",), "k")
        except InputError as error:
            os._exit(0 if "forked" in str(error) else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ours.get(("a",), "k")
    ours.close()


MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no dims": (lambda p: ChromaStore(p, index={"embed": FakeEmbeddings()}), "dims"),
    "no embed": (lambda p: ChromaStore(p, index={"dims": 3}), "embed"),
    "wrong dims": (
        lambda p: ChromaStore(p, index={"dims": 3, "embed": FakeEmbeddings()}).put(
            ("a",), "k", {"text": "x"}
        ),
        "index",
    ),
    "a name Chroma refuses": (lambda p: ChromaStore(p, collection="x"), "collection 'x'"),
    "path and client": (lambda p: ChromaStore(p, client=object()), "exclude"),  # type: ignore[arg-type]
    "a file": (lambda p: ChromaStore(p / "file"), "is no folder"),
    "no server": (lambda _: ChromaStore.from_conn_string("http://127.0.0.1:9"), "No Chroma server"),
    "a negative ttl": (lambda p: ChromaStore(p).put(("a",), "k", {}, ttl=-1), "ttl"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_named(tmp_path: Path, mistake: str) -> None:
    (tmp_path / "file").write_text("")
    make, words = MISTAKES[mistake]
    with pytest.raises(InputError, match=words):
        make(tmp_path)


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    ours.close()
    ours.close()
    with pytest.raises(InputError, match="closed"):
        ours.get(("a",), "k")
    with pytest.raises(InputError, match="closed"):
        await ours.aget(("a",), "k")


def test_an_asynchronous_client_is_refused() -> None:
    class Client:
        async def heartbeat(self) -> int:
            return 1

    with pytest.raises(InputError, match="HttpClient"):
        ChromaStore(client=Client())  # type: ignore[arg-type]


def _by_length(texts: Any) -> list[list[float]]:
    return [[float(len(text)), 1.0, 0.0] for text in texts]


def _by_vowels(texts: Any) -> list[list[float]]:
    return [[0.0, float(sum(c in "aeiou" for c in text)), 1.0] for text in texts]


def test_other_embeddings_are_refused_whatever_they_are_called(tmp_path: Path) -> None:
    index: Any = {"dims": 3, "embed": _by_length, "fields": ["text"]}
    with ChromaStore(tmp_path, index=index) as ours:
        ours.put(("a",), "k", {"text": "boat"})
    with (
        ChromaStore(tmp_path, index=index | {"embed": _by_vowels}) as ours,
        pytest.raises(InputError, match="other embeddings"),
    ):
        ours.search(("a",), query="boat")
    renamed = functools.partial(_by_length)
    with ChromaStore(tmp_path, index=index | {"embed": renamed}) as ours:
        assert texts_of(ours, "boat")["k"] == pytest.approx(1)


def test_queries_are_embedded_as_queries() -> None:
    class Prefixed(Noise):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return [super(Prefixed, self).embed_query(f"passage: {text}") for text in texts]

        def embed_query(self, text: str) -> list[float]:
            return super().embed_query(f"passage: {text}")

    index: Any = {"dims": 32, "embed": Prefixed(), "fields": ["text"]}
    with ChromaStore(index=index) as ours:
        ours.put(("a",), "k", {"text": "boat"})
        assert texts_of(ours, "boat")["k"] == pytest.approx(1)


@pytest.mark.parametrize("served", [False, True])
def test_search_is_exact_without_structure_and_on_repeated_texts(
    tmp_path: Path, served: bool
) -> None:
    import chromadb

    index: Any = {"dims": 32, "embed": Noise(), "fields": ["text"]}
    where: Any = (
        {"client": chromadb.PersistentClient(str(tmp_path))} if served else {"path": tmp_path}
    )
    ours, yardstick = ChromaStore(**where, index=index), InMemoryStore(index=index)
    puts: list[Op] = [
        PutOp(("n", str(n % 40)), str(n), {"text": f"text {n % 1500}", "n": n % 100})
        for n in range(3_000)
    ]
    ours.batch(puts)
    for put in puts:
        yardstick.batch([put])  # its batches lose repeated texts
    for query in ("text 3", "text 700", "nothing of the kind"):
        for wanted in (None, {"n": 3}, {"n": {"$lt": 50}}):
            for prefix in (("n",), ("n", "3")):
                op = SearchOp(prefix, filter=wanted, limit=10, query=query)
                (mine,), (theirs,) = ours.batch([op]), yardstick.batch([op])
                assert [i.score for i in mine] == pytest.approx([i.score for i in theirs], abs=1e-5)  # type: ignore[union-attr]
    ours.close()


def test_items_with_many_parts_do_not_push_out_better_ones() -> None:
    index: Any = {"dims": 32, "embed": Noise(), "fields": ["parts[*]"]}
    with ChromaStore(index=index) as ours:
        ours.put(("a",), "crowd", {"parts": ["kite"] * 200})
        ours.put(("a",), "one", {"parts": ["boat"]})
        ours.put(("a",), "two", {"parts": ["oven", "boat"]})
        assert next(iter(texts_of(ours, "kite"))) == "crowd"
        assert set(list(texts_of(ours, "boat"))[:2]) == {"one", "two"}
        assert len(texts_of(ours, "kite")) == 3


def test_on_a_server_chromas_index_proposes_beyond_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import chromadb

    monkeypatch.setattr(store, "EXACT", 50)
    index: Any = {"dims": 32, "embed": Noise(), "fields": ["text"]}
    ours = ChromaStore(client=chromadb.PersistentClient(str(tmp_path)), index=index)
    ours.batch([PutOp(("a",), str(n), {"text": f"boat {n}"}) for n in range(300)])
    asked: list[int] = []
    nearest = ours._rows.nearest

    def counted(*given: Any) -> list[str]:
        asked.append(1)
        return nearest(*given)

    monkeypatch.setattr(ours._rows, "nearest", counted)
    (best,) = ours.search(("a",), query="boat 7", limit=1)
    assert best.key == "7"
    assert asked
    (best,) = ours.search(("a",), query="boat 7", filter={"text": "boat 9"}, limit=1)
    assert best.key == "9", "which the index did not propose"


def test_times_and_uuids_are_taken_as_sqlite_takes_them(tmp_path: Path) -> None:
    from langgraph.store.sqlite import SqliteStore

    value: Any = {
        "at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "id": UUID(int=5),
        "day": datetime(2026, 1, 2).date(),
    }
    with ChromaStore(tmp_path) as ours, SqliteStore.from_conn_string(":memory:") as theirs:
        theirs.setup()
        for made in (ours, theirs):
            made.put(("a",), "k", value)
        assert ours.get(("a",), "k").value == theirs.get(("a",), "k").value  # type: ignore[union-attr]


def test_time_to_live(tmp_path: Path) -> None:
    soon: Any = {"default_ttl": 0.5 / 60, "refresh_on_read": True, "omit_expired": True}
    with ChromaStore(tmp_path, ttl=soon) as ours:
        ours.put(("a",), "k", {"n": 1})
        ours.put(("a",), "for ever", {"n": 2}, ttl=None)
        ours.put(("b",), "j", {"n": 3})
        for _ in range(4):
            time.sleep(0.2)
            assert ours.get(("a",), "k"), "each reading lets it live longer"
            assert ours.sweep_ttl() in (0, 1)
        assert ours.get(("b",), "j") is None
        assert ours.list_namespaces() == [("a",)]
        time.sleep(0.6)
        assert [i.key for i in ours.search(())] == ["for ever"], "left out before it is swept"
        assert ours.sweep_ttl() == 1
    with ChromaStore(tmp_path) as ours:
        assert [i.key for i in ours.search(())] == ["for ever"]
        ours.put(("a",), "for ever", {"n": 4}, ttl=0.1 / 60)
        ours.put(("a",), "for ever", {"n": 5})
        time.sleep(0.2)
        assert ours.sweep_ttl() == 0, "the newer one has no end"


def test_the_sweeper_sweeps_until_the_store_is_closed(tmp_path: Path) -> None:
    ours = ChromaStore(tmp_path)
    ours.start_ttl_sweeper(0.05 / 60)
    ours.put(("a",), "k", {"n": 1}, ttl=0.05 / 60)
    until = time.monotonic() + 20
    while ours.get(("a",), "k") and time.monotonic() < until:
        time.sleep(0.05)
    assert ours.get(("a",), "k") is None
    sweeper = ours._sweeper
    ours.close()
    assert sweeper
    assert not sweeper.is_alive()


WORK = """
import json, sys, random
from matrix_graph.memory import ChromaStore
from matrix_graph.testing import DIMENSIONS, FakeEmbeddings
from langgraph.store.base import PutOp
index = {"dims": DIMENSIONS, "embed": FakeEmbeddings(), "fields": ["text", "tags[*]"]}
store = ChromaStore(sys.argv[1], index=index)
pick = random.Random(int(sys.argv[2]))
for turn in range(100_000):
    keys = [str(k) for k in pick.sample(range(12), 3)]
    version = f"{sys.argv[2]}-{turn}"
    tags = [f"tag {version} {k}" for k in range(pick.randrange(4))]
    ops = [PutOp(("a",), k, {"text": version, "tags": tags}) for k in keys[:2]]
    ops.append(PutOp(("a",), keys[2], None))
    print(json.dumps({"begun": keys, "version": version}), flush=True)
    store.batch(ops)
    print(json.dumps({"done": keys, "version": version, "tags": tags}), flush=True)
"""


@pytest.mark.process
def test_killed_at_any_moment_nothing_acknowledged_is_lost_or_torn(
    tmp_path: Path, kills: int
) -> None:
    killed_while_writing = 0
    state: dict[str, str | None] = {}
    for turn in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", WORK, str(tmp_path / "db"), str(turn)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout
        lines: list[Any] = []
        for line in child.stdout:
            lines.append(json.loads(line))
            if len(lines) == 40 + 7 * turn:
                child.kill()
        child.stdout.close()
        child.wait()
        possible: list[dict[str, str | None]] = []
        for line in lines:
            keys = line.get("begun") or line["done"]
            after = state | dict.fromkeys(keys[:2], line["version"]) | {keys[2]: None}
            if "done" in line:
                state = after
                possible = [state]
            else:
                possible = [state, after]
        killed_while_writing += len(possible) == 2
        with ChromaStore(tmp_path / "db", index=INDEX) as ours:
            there = {i.key: i.value["text"] for i in ours.search((), limit=50)}
            now = [{k: v for k, v in p.items() if v is not None} for p in possible]
            assert there in now, "a batch is whole or absent"
            state = dict(there)
            scores = texts_of(ours, "harbour")
            assert set(scores) == set(there)
            assert None not in scores.values(), "no item without its vectors"
            for item in ours.search((), limit=50):
                for tag in item.value["tags"]:
                    assert texts_of(ours, tag)[item.key] == pytest.approx(1)
    assert killed_while_writing


@pytest.fixture
def chroma_server(tmp_path: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    chroma = str(Path(sys.executable).with_name("chroma"))
    program = [chroma, "run", "--path", str(tmp_path / "server")]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*program, "--port", str(port)], stdout=quiet, stderr=quiet)
    try:
        until = time.monotonic() + 60
        while True:
            with socket.socket() as trial:
                if trial.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert time.monotonic() < until, "the server does not come up"
            time.sleep(0.2)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.wait()
    with warnings.catch_warnings():
        # Chroma's client leaves its connections to the collector.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.mark.process
def test_two_writers_over_a_server_tear_nothing(chroma_server: str) -> None:
    one = ChromaStore.from_conn_string(chroma_server, index=INDEX)
    two = ChromaStore.from_conn_string(chroma_server, index=INDEX)

    def write(ours: ChromaStore, number: int) -> None:
        for turn in range(15):
            tags = [f"tag {number} {turn} {n}" for n in range((turn * 7 + number) % 5)]
            ours.put(("a",), "k", {"text": f"{number} {turn}", "tags": tags})

    threads = [threading.Thread(target=write, args=(o, n)) for n, o in ((1, one), (2, two))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (item,) = one.search(("a",))
    for text in (item.value["text"], *item.value["tags"]):
        assert texts_of(two, text)["k"] == pytest.approx(1)
    ((_, vectors),) = one._rows.with_vectors([rows.row_id(("a",), "k")])
    assert vectors.shape == (len(item.value["tags"]) + 1, DIMENSIONS)
    two.put(("b",), "j", {"text": "oven"})
    assert one.batch([GetOp(("b",), "j"), PutOp(("b",), "j", None)])[0]
    assert two.list_namespaces() == [("a",)]
    one.close()
    two.close()


def test_a_folder_that_somebody_opened_with_other_settings_is_told(tmp_path: Path) -> None:
    import chromadb
    from chromadb.config import Settings

    theirs = chromadb.PersistentClient(str(tmp_path), Settings(allow_reset=True))
    with pytest.raises(InputError, match="different settings"):
        ChromaStore(tmp_path)
    theirs.close()  # type: ignore[attr-defined]
    ChromaStore(tmp_path).close()
