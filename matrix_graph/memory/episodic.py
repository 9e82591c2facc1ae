"""Episodic memory: what each agent did and saw, recalled by relevance, recency and importance.

The records live in a LangGraph store, under ids made from their place in the run, so that writing
again doubles nothing. Vectors are kept in the process per agent and scored exactly: a filtered
nearest-neighbour query per agent costs more than the model call that it serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from langgraph.store.base import BaseStore, Op, PutOp
from numpy.typing import NDArray

from matrix_graph.llm.embedder import Embedder

_PAGE = 5_000


@dataclass(frozen=True)
class Weights:
    """Weights of the three scores and the decay of recency per step.

    The sum of relevance, recency and importance is that of Generative Agents (arXiv 2304.03442),
    there with equal weights and recency 0.995 per hour; a step here is nearer to half a day.
    """

    relevance: float = 1.0
    recency: float = 0.5
    importance: float = 0.5
    decay: float = 0.95


_RELEVANCE = Weights(recency=0.0, importance=0.0)


class Memory(NamedTuple):
    """One thing remembered. `step` counts from 0; what came before the run stands at -1."""

    agent: str
    step: int
    number: int
    text: str
    kind: str
    importance: float


class Recalled(NamedTuple):
    """A memory with the scores that brought it up; `score` is their weighted sum."""

    memory: Memory
    score: float
    relevance: float
    recency: float
    importance: float


class Query(NamedTuple):
    """Whose memory is asked, and for what."""

    agent: str
    text: str


@dataclass
class _Lane:
    """All memories of one agent, with their vectors in rows of one matrix."""

    memories: dict[tuple[int, int], int] = field(default_factory=dict)
    items: list[Memory] = field(default_factory=list)
    vectors: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))

    def put(self, memory: Memory, vector: NDArray[np.float32]) -> None:
        row = self.memories.setdefault((memory.step, memory.number), len(self.items))
        if row == len(self.items):
            self.items.append(memory)
            if row >= len(self.vectors):
                grown = np.zeros((max(8, 2 * row), len(vector)), dtype=np.float32)
                grown[:row] = self.vectors[:row] if row else grown[:0]
                self.vectors = grown
        self.items[row] = memory
        self.vectors[row] = vector

    def scored(self, query: NDArray[np.float32], now: int, k: int, weights: Weights) -> list[Recalled]:
        rows = np.array([i for i, m in enumerate(self.items) if m.step <= now], dtype=np.int64)
        if not len(rows):
            return []
        relevance = self.vectors[rows] @ query
        recency = weights.decay ** np.array([now - self.items[i].step for i in rows], dtype=np.float64)
        importance = np.array([self.items[i].importance for i in rows])
        score = weights.relevance * relevance + weights.recency * recency + weights.importance * importance
        best = sorted(range(len(rows)), key=lambda j: (-score[j], self.items[rows[j]].step, self.items[rows[j]].number))
        return [
            Recalled(self.items[rows[j]], float(score[j]), float(relevance[j]), float(recency[j]), float(importance[j]))
            for j in best[:k]
        ]


class EpisodicMemory:
    """The memories of all agents of one run.

    Args:
        store: Any LangGraph store; `ChromaStore` is the one that lasts.
        embedder: Embeds texts and queries.
        run: The run's name in the store.
        weights: How the scores add up.
    """

    def __init__(
        self, store: BaseStore, embedder: Embedder, *, run: str = "run", weights: Weights | None = None
    ) -> None:
        self._store = store
        self._embedder = embedder
        self._root = ("memory", run)
        self._weights = weights or Weights()
        self._lanes: dict[str, _Lane] = {}
        self._loaded = False
        self._loading = asyncio.Lock()

    async def remember(self, memories: Sequence[Memory]) -> None:
        """Write a batch; durable on return. A memory with the same agent, step and number is replaced."""
        if not memories:
            return
        await self._load()
        vectors = await self._embedder.embed([m.text for m in memories])
        ops: list[Op] = [PutOp((*self._root, m.agent), f"{m.step}-{m.number}", m._asdict()) for m in memories]
        await self._store.abatch(ops)
        self._add(memories, vectors)

    async def recall(self, queries: Sequence[Query], *, k: int = 5, now: int) -> list[list[Recalled]]:
        """The `k` best memories per query up to step `now`, best first; exact."""
        if not queries:
            return []
        await self._load()
        vectors = await self._embedder.embed([q.text for q in queries])
        empty = _Lane()
        return [
            self._lanes.get(query.agent, empty).scored(vector, now, k, self._weights)
            for query, vector in zip(queries, vectors, strict=True)
        ]

    async def nearest(self, owners: Sequence[str], text: str, *, k: int, now: int) -> list[str]:
        """The `k` owners with the memory most similar to `text` up to step `now`, nearest first."""
        if not owners:
            return []
        await self._load()
        query = (await self._embedder.embed([text]))[0]
        empty = _Lane()
        found = {owner: self._lanes.get(owner, empty).scored(query, now, 1, _RELEVANCE) for owner in owners}
        return sorted((o for o in owners if found[o]), key=lambda o: -found[o][0].score)[:k]

    def counts(self) -> dict[str, int]:
        """Memories per agent."""
        return {agent: len(lane.items) for agent, lane in self._lanes.items()}

    def _add(self, memories: Iterable[Memory], vectors: NDArray[np.float32]) -> None:
        for memory, vector in zip(memories, vectors, strict=True):
            self._lanes.setdefault(memory.agent, _Lane()).put(memory, vector)

    async def _load(self) -> None:
        if self._loaded:
            return
        async with self._loading:
            while not self._loaded:
                offset = sum(self.counts().values())
                page = await self._store.asearch(self._root, limit=_PAGE, offset=offset)
                memories = [Memory(**item.value) for item in page]
                self._add(memories, await self._embedder.embed([m.text for m in memories]))
                self._loaded = len(page) < _PAGE
