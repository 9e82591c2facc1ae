from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from matrix_graph.llm.embedder import Embedder
from matrix_graph.memory.episodic import EpisodicMemory, Memory, Query, Weights
from matrix_graph.memory.store import ChromaStore
from matrix_graph.testing import DIMENSIONS, FakeEmbeddings, vector_of

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
    ),
    max_size=30,
)


def _brute_force(given: list[Memory], query: Query, now: int, k: int, w: Weights) -> list[float]:
    last = {(m.agent, m.step, m.number): m for m in given}
    unit = np.asarray(vector_of(query.text), dtype=np.float32)
    unit /= np.linalg.norm(unit) or 1.0
    scores = []
    for m in last.values():
        if m.agent == query.agent and m.step <= now:
            v = np.asarray(vector_of(m.text), dtype=np.float32)
            v /= np.linalg.norm(v) or 1.0
            scores.append(
                w.relevance * float(v @ unit) + w.recency * w.decay ** (now - m.step) + w.importance * m.importance
            )
    return sorted(scores, reverse=True)[:k]


@given(batches=st.lists(memories, max_size=3), text=texts, now=st.integers(-1, 10), k=st.integers(1, 8))
@settings(max_examples=300, deadline=None)
def test_recall_is_exactly_brute_force(batches: list[list[Memory]], text: str, now: int, k: int) -> None:
    async def main() -> None:
        memory = EpisodicMemory(InMemoryStore(), Embedder(FakeEmbeddings()))
        for batch in batches:
            await memory.remember(batch)
        queries = [Query("a", text), Query("b", text), Query("nobody", text)]
        found = await memory.recall(queries, k=k, now=now)
        everything = [m for batch in batches for m in batch]
        for query, recalled in zip(queries, found, strict=True):
            wanted = _brute_force(everything, query, now, k, Weights())
            assert np.allclose([r.score for r in recalled], wanted, atol=1e-5)
            w = Weights()
            for r in recalled:
                assert r.memory.step <= now
                total = w.relevance * r.relevance + w.recency * r.recency + w.importance * r.importance
                assert abs(r.score - total) < 1e-6

    asyncio.run(main())


async def test_memories_last_and_writing_again_doubles_nothing(tmp_path: Path) -> None:
    embeddings = FakeEmbeddings()
    batch = [Memory("a", 0, n, f"{word} number {n}", "action", 0.5) for n, word in enumerate(WORDS)]
    for _ in range(2):
        embedder = Embedder(embeddings)
        store = ChromaStore(tmp_path, index={"dims": DIMENSIONS, "embed": embedder.lists, "fields": ["text"]})
        memory = EpisodicMemory(store, embedder)
        await memory.remember(batch)
        await memory.remember(batch)
        store.close()
    embedder = Embedder(embeddings)
    store = ChromaStore(tmp_path, index={"dims": DIMENSIONS, "embed": embedder.lists, "fields": ["text"]})
    again = EpisodicMemory(store, embedder)
    (found,) = await again.recall([Query("a", "ferry")], k=100, now=5)
    assert sorted(r.memory for r in found) == sorted(batch)
    assert found[0].memory.text == "ferry number 2"
    store.close()


async def test_a_text_is_embedded_once() -> None:
    embeddings = FakeEmbeddings()
    memory = EpisodicMemory(InMemoryStore(), Embedder(embeddings))
    await memory.remember([Memory("a", 0, n, "the same text", "action", 0.5) for n in range(5)])
    await memory.recall([Query("a", "the same text")], now=3)
    assert embeddings.texts == {"the same text": 1}


async def test_two_runs_in_one_store_do_not_mix() -> None:
    store = InMemoryStore()
    one = EpisodicMemory(store, Embedder(FakeEmbeddings()), run="one")
    two = EpisodicMemory(store, Embedder(FakeEmbeddings()), run="two")
    await one.remember([Memory("a", 0, 0, "only in one", "action", 0.5)])
    assert await two.recall([Query("a", "only")], now=5) == [[]]


async def test_nearest_ranks_owners_by_their_best_memory() -> None:
    memory = EpisodicMemory(InMemoryStore(), Embedder(FakeEmbeddings()))
    await memory.remember([Memory(w, 0, 0, w, "group", 1.0) for w in WORDS])
    await memory.remember([Memory("net", 5, 0, "ferry ferry", "scenario", 0.1)])
    assert (await memory.nearest(WORDS, "ferry", k=2, now=9))[0] in ("ferry", "net")
    assert set(await memory.nearest(WORDS, "ferry", k=2, now=9)) == {"ferry", "net"}
    assert (await memory.nearest(WORDS, "ferry", k=1, now=4)) == ["ferry"]
