from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from matrix_graph.errors import InputError
from matrix_graph.llm.embedder import Embedder
from matrix_graph.llm.slot import Slot
from matrix_graph.memory import EpisodicMemory, Memory, Query, Weights
from matrix_graph.memory.store import ChromaStore
from matrix_graph.testing import FakeEmbeddings, vector_of

WORDS = ["net", "boat", "ferry", "storm", "harbour", "oven", "ledger", "school", "kite", "market"]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
memories = st.lists(
    st.builds(
        Memory,
        agent=st.sampled_from(["a", "b"]),
        step=st.integers(-1, 9),
        number=st.integers(0, 3),
        text=texts,
        kind=st.just("action"),
        importance=st.floats(0, 1),
        replaces=st.just(()),
        replaced_at=st.none(),
    ),
    max_size=30,
)


class Given(FakeEmbeddings):
    """Embeddings that are looked up."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        super().__init__()
        self.vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.vectors[text] for text in texts]


def _unit(text: str) -> np.ndarray:
    vector = np.asarray(vector_of(text), dtype=np.float32)
    return (vector / (np.linalg.norm(vector) or 1.0)).astype(np.float16).astype(np.float32)


def _brute_force(given: list[Memory], query: Query, now: int, k: int, w: Weights) -> list[float]:
    last = {(m.agent, m.step, m.number): m for m in given}
    scores = []
    for m in last.values():
        if m.agent == query.agent and m.step <= now:
            scores.append(
                w.relevance * float(_unit(m.text) @ _unit(query.text))
                + w.recency * w.decay ** (now - m.step)
                + w.importance * m.importance
            )
    return sorted(scores, reverse=True)[:k]


@given(
    batches=st.lists(memories, max_size=3), text=texts, now=st.integers(-1, 10), k=st.integers(1, 8)
)
@settings(max_examples=1000, deadline=None)
@pytest.mark.slow
def test_recall_is_exactly_brute_force(
    batches: list[list[Memory]], text: str, now: int, k: int
) -> None:
    async def main() -> None:
        memory = EpisodicMemory(InMemoryStore(), Embedder(FakeEmbeddings()))
        for batch in batches:
            await memory.aremember(batch)
        queries = [Query("a", text), Query("b", text), Query("nobody", text)]
        found = await memory.arecall(queries, k=k, now=now)
        everything = [m for batch in batches for m in batch]
        for query, recalled in zip(queries, found, strict=True):
            wanted = _brute_force(everything, query, now, k, Weights())
            assert np.allclose([r.score for r in recalled], wanted, atol=1e-5)
            w = Weights()
            for r in recalled:
                assert r.memory.step <= now
                total = (
                    w.relevance * r.relevance + w.recency * r.recency + w.importance * r.importance
                )
                assert abs(r.score - total) < 1e-6

    asyncio.run(main())


async def test_memories_last_and_writing_again_doubles_nothing(tmp_path: Path) -> None:
    embeddings = FakeEmbeddings()
    batch = [Memory("a", 0, n, f"{word} number {n}", "action", 0.5) for n, word in enumerate(WORDS)]
    for _ in range(2):
        embedder = Embedder(embeddings)
        store = ChromaStore(tmp_path)
        memory = EpisodicMemory(store, embedder)
        await memory.aremember(batch)
        await memory.aremember(batch)
        store.close()
    embedder = Embedder(embeddings)
    store = ChromaStore(tmp_path)
    again = EpisodicMemory(store, embedder)
    (found,) = await again.arecall([Query("a", "ferry")], k=100, now=5)
    assert sorted(r.memory for r in found) == sorted(batch)
    assert found[0].memory.text == "ferry number 2"
    store.close()


async def test_a_text_is_embedded_once() -> None:
    embeddings = FakeEmbeddings()
    memory = EpisodicMemory(InMemoryStore(), Embedder(embeddings))
    await memory.aremember([Memory("a", 0, n, "the same text", "action", 0.5) for n in range(5)])
    await memory.arecall([Query("a", "the same text")], now=3)
    assert embeddings.texts == {"the same text": 1}


async def test_two_runs_in_one_store_do_not_mix() -> None:
    store = InMemoryStore()
    one = EpisodicMemory(store, Embedder(FakeEmbeddings()), run="one")
    two = EpisodicMemory(store, Embedder(FakeEmbeddings()), run="two")
    await one.aremember([Memory("a", 0, 0, "only in one", "action", 0.5)])
    assert await two.arecall([Query("a", "only")], now=5) == [[]]


async def test_nearest_ranks_owners_by_their_best_memory() -> None:
    memory = EpisodicMemory(InMemoryStore(), Embedder(FakeEmbeddings()))
    await memory.aremember([Memory(w, 0, 0, w, "group", 1.0) for w in WORDS])
    await memory.aremember([Memory("net", 5, 0, "ferry ferry", "scenario", 0.1)])
    ferry = [Memory("somebody", 0, 0, "ferry", "action", 0.5)]
    assert (await memory.anearest(WORDS, ferry, k=1, now=4)) == ["ferry"]
    assert set(await memory.anearest(WORDS, ferry, k=2, now=9)) == {"ferry", "net"}
    assert (await memory.anearest(WORDS, ferry, besides="ferry", k=1, now=9)) == ["net"]
    await memory.aremember([Memory("net", 5, 0, "oven", "scenario", 0.1)])
    assert (await memory.anearest(WORDS, ferry, besides="ferry", k=1, now=9)) != ["net"], (
        "what changed is seen"
    )


async def test_nobody_is_the_nearest_of_all() -> None:
    """Owners near the mean would be everybody's nearest if the vectors were not centred."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=32) * 3
    owners = [f"o{n}" for n in range(100)]
    vectors = {o: common + rng.normal(size=32) for o in owners}
    vectors["o0"] = common
    unit = np.stack([v / np.linalg.norm(v) for v in vectors.values()]).astype(np.float32)
    memory = EpisodicMemory(
        InMemoryStore(), Embedder(Given(dict(zip(owners, unit.tolist(), strict=True))))
    )
    await memory.aremember([Memory(o, 0, 0, o, "group", 1.0) for o in owners])
    near = [
        n
        for o in owners
        for n in await memory.anearest(
            owners, [Memory(o, 0, 0, o, "group", 1.0)], besides=o, k=5, now=0
        )
    ]
    assert max(Counter(near).values()) <= 20


async def test_a_fork_sees_the_past_and_neither_future_sees_the_other() -> None:
    store = InMemoryStore()
    memory = EpisodicMemory(store, Embedder(FakeEmbeddings()))
    for step in range(4):
        await memory.aremember([Memory("a", step, 0, f"main at {step}", "action", 0.5)])
    await memory.afork("other", at=1)
    await memory.aremember([Memory("a", 2, 0, "other at 2", "action", 0.5)], branch="other")
    await memory.afork("third", parent="other", at=2)
    for again in (memory, EpisodicMemory(store, Embedder(FakeEmbeddings()))):
        assert [m.text for m in await again.aall("a")] == [f"main at {n}" for n in range(4)]
        for branch in ("other", "third"):
            seen = ["main at 0", "main at 1", "other at 2"]
            assert [m.text for m in await again.aall("a", branch=branch)] == seen
            (found,) = await again.arecall([Query("a", "at")], k=9, now=9, branch=branch)
            assert sorted(r.memory.text for r in found) == seen
        (found,) = await again.arecall([Query("a", "at")], k=9, now=1, branch="third")
        assert sorted(r.memory.text for r in found) == ["main at 0", "main at 1"]
    with pytest.raises(InputError, match="with another past"):
        await memory.afork("other", at=3)
    with pytest.raises(InputError, match="There is no branch"):
        await memory.arecall([Query("a", "x")], now=1, branch="nowhere")


async def test_the_oldest_are_consolidated_with_links_and_a_rewind_still_sees_them() -> None:
    asked: list[tuple[str, int]] = []

    async def tell(slot: Slot, texts: Sequence[str]) -> str:
        asked.append((str(slot), len(texts)))
        return f"I remember {len(texts)} things"

    store = InMemoryStore()
    memory = EpisodicMemory(store, Embedder(FakeEmbeddings()), limit=10, consolidate=tell)
    for step in range(11):
        await memory.aremember([Memory("a", step, 0, f"thing {step}", "action", 0.1)])
    assert asked == [("memory/s10/a/main", 5)]
    for again in (memory, EpisodicMemory(store, Embedder(FakeEmbeddings()))):
        (now,) = await again.arecall([Query("a", "thing")], k=99, now=10)
        texts = {r.memory.text for r in now}
        assert texts == {"I remember 5 things"} | {f"thing {n}" for n in range(5, 11)}
        summary = next(r.memory for r in now if r.memory.kind == "consolidated")
        assert summary.replaces == tuple(f"{n}-0" for n in range(5))
        (before,) = await again.arecall([Query("a", "thing")], k=99, now=9)
        assert {r.memory.text for r in before} == {f"thing {n}" for n in range(10)}
        assert len(await again.aall("a")) == 12, "nothing is lost"


async def test_other_embeddings_are_refused() -> None:
    class Other(FakeEmbeddings):
        pass

    store = InMemoryStore()
    await EpisodicMemory(store, Embedder(FakeEmbeddings())).aremember(
        [Memory("a", 0, 0, "x", "action", 0.5)]
    )
    with pytest.raises(InputError, match="made with"):
        await EpisodicMemory(store, Embedder(Other())).aremember(
            [Memory("a", 1, 0, "y", "action", 0.5)]
        )


async def test_given_vectors_need_no_embedding() -> None:
    embeddings = FakeEmbeddings()
    memory = EpisodicMemory(InMemoryStore(), Embedder(embeddings))
    vectors = np.eye(3, 8, dtype=np.float32)
    await memory.aremember(
        [Memory("a", 0, n, f"t{n}", "action", 0.5) for n in range(3)], vectors=vectors
    )
    (found,) = await memory.arecall([Query("a", "")], k=1, now=0, vectors=vectors[1:2])
    assert found[0].memory.text == "t1"
    assert not embeddings.texts


@pytest.mark.parametrize("seed", [0, 1])
async def test_long_lanes_are_read_whole(tmp_path: Path, seed: int) -> None:
    count = 2_001 if seed else 2_000
    store = ChromaStore(tmp_path)
    memory = EpisodicMemory(store, Embedder(FakeEmbeddings()))
    vectors = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    await memory.aremember(
        [Memory("a", n, 0, f"t{n}", "action", 0.5) for n in range(count)], vectors=vectors
    )
    again = EpisodicMemory(store, Embedder(FakeEmbeddings()))
    assert [m.step for m in await again.aall("a")] == list(range(count))
    store.close()


WRITER = """
import asyncio, sys
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.embedder import Embedder
from matrix_graph.memory import ChromaStore, EpisodicMemory, Memory
from matrix_graph.testing import FakeEmbeddings

async def main():
    memory = EpisodicMemory(ChromaStore(sys.argv[1]), Embedder(FakeEmbeddings()))
    start = int(sys.argv[2])
    async def agent(name):
        for step in range(max(0, start - 2), start + 10_000):
            texts = [f"{name} at {step} no {n}" for n in range(2)]
            await memory.aremember(
                [Memory(name, step, n, text, "action", 0.5) for n, text in enumerate(texts)]
            )
            print(name, step, flush=True)
    await asyncio.gather(*(agent(f"agent{i}") for i in range(4)))

asyncio.run(main())
"""


@pytest.mark.process
def test_sigkills_lose_no_acknowledged_memory_and_double_none(tmp_path: Path, kills: int) -> None:
    rng, acknowledged, start = random.Random(1), set[tuple[str, int]](), 0
    for _ in range(kills):
        command = [sys.executable, "-c", WRITER, str(tmp_path), str(start)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(rng.randint(1, 20))]
            time.sleep(rng.random() / 50)
            os.kill(process.pid, signal.SIGKILL)
            lines += process.stdout.read().split("\n")[:-1]
        acknowledged |= {(name, int(step)) for name, step in (line.split() for line in lines)}
        start = max(step for _, step in acknowledged) + 1

    async def check() -> None:
        store = ChromaStore(tmp_path)
        memory = EpisodicMemory(store, Embedder(FakeEmbeddings()))
        for i in range(4):
            found = await memory.aall(f"agent{i}")
            keys = [(m.step, m.number) for m in found]
            assert len(keys) == len(set(keys))
            assert len({m.text for m in found}) == len(found)
            wanted = {
                (step, n) for name, step in acknowledged if name == f"agent{i}" for n in range(2)
            }
            assert wanted <= set(keys)
        store.close()

    asyncio.run(check())
    assert len(acknowledged) >= 30
