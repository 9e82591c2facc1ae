"""Episodic memory: what each agent did and saw, recalled by relevance, recency and importance.

The records live in a LangGraph store: one for each agent and `SPAN` steps, under an id made from
its place in the run, so that writing again doubles nothing; each memory carries its own vector. In
the process a lane per agent and branch holds the vectors in one matrix and scores them exactly: a
filtered nearest-neighbour query per agent costs more than the model call that it serves.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from langgraph.store.base import BaseStore, Item, Op, PutOp, SearchOp
from numpy.typing import NDArray

from matrix_graph.errors import InputError
from matrix_graph.llm.embedder import Embedder
from matrix_graph.llm.slot import Slot
from matrix_graph.memory.buffer import Buffer
from matrix_graph.memory.crowd import Crowd
from matrix_graph.memory.labels import label, name_of
from matrix_graph.memory.lane import Lane, Memory, Recalled, Weights

MAIN = "main"
SPAN = 3
"""Steps that share a record, since a store pays by the record; a scenario has as many."""

_PAGE = 1_000
_FORMAT = 2

Vectors = NDArray[np.float32]
Consolidate = Callable[[Slot, Sequence[str]], Awaitable[str]]
"""Given a slot and texts, one text that tells what they tell."""


class Query(NamedTuple):
    """Whose memory is asked, and for what."""

    agent: str
    text: str


@dataclass(frozen=True)
class Branch:
    """A branch shares its parent's memories up to and including step `fork`, and none after it."""

    name: str
    parent: str
    fork: int


class EpisodicMemory:
    """The memories of all agents of one run. One object at a time may write a run's memories to a
    store.

    Args:
        store: Any LangGraph store; `ChromaStore` is the one that lasts.
        embedder: Embeds texts and queries, each text once.
        run: The run's name in the store.
        buffer: Takes the writes to `store`, if others share it.
        weights: How the scores add up.
        limit: Past so many memories in a lane, the older half of them is consolidated into one.
        consolidate: Writes that one. Without it nothing is consolidated.

    Raises:
        InputError: at first use, if the run's memories were made with other embeddings.
    """

    def __init__(
        self,
        store: BaseStore,
        embedder: Embedder,
        *,
        run: str = "run",
        buffer: Buffer | None = None,
        weights: Weights | None = None,
        limit: int = 500,
        consolidate: Consolidate | None = None,
    ) -> None:
        self._store = store
        self._buffer = buffer or Buffer(store)
        self._embedder = embedder
        self._run = run
        self._label = label(run)
        self._weights = weights or Weights()
        self._limit = limit
        self._consolidate = consolidate
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._stored: set[tuple[str, str]] = set()
        self._branches: dict[str, Branch] = {}
        self._crowd_key: tuple[str, int, tuple[str, ...]] | None = None
        self._crowd_of = Crowd([])
        self._opened = False
        self._checked = False
        self._loading = asyncio.Lock()

    async def aremember(
        self,
        memories: Sequence[Memory],
        *,
        branch: str = MAIN,
        durable: bool = True,
        vectors: Vectors | None = None,
    ) -> None:
        """Remember a batch.

        Args:
            memories: A memory with the same agent, step and number as an earlier one replaces it.
            durable: If False, the batch can be recalled on return, but is written with a later one.
            vectors: Unit vectors of their texts, shape (len(memories), dimensions), if at hand.
        """
        if not memories:
            return
        if vectors is None:
            vectors = await self._embedder.embed([m.text for m in memories])
        await self._load({(branch, m.agent) for m in memories})
        await self._check(vectors.shape[1])
        if self._crowd_key and min(m.step for m in memories) <= self._crowd_key[1]:
            self._crowd_key = None
        await self._write(memories, vectors, branch, durable)
        if self._consolidate:
            for agent in dict.fromkeys(m.agent for m in memories):
                await self._tidy(branch, agent, max(m.step for m in memories))

    async def arecall(
        self,
        queries: Sequence[Query],
        *,
        k: int = 5,
        now: int,
        branch: str = MAIN,
        vectors: Vectors | None = None,
    ) -> list[list[Recalled]]:
        """The `k` best memories per query up to step `now`, best first; the same as brute force.

        Args:
            queries: All that a group asks, in one call.
            branch: Memories of this branch, and those of its ancestors up to the forks.
            vectors: Unit vectors of the queries' texts, shape (len(queries), dimensions), if at
                hand.
        """
        if not queries:
            return []
        if vectors is None:
            vectors = await self._embedder.embed([q.text for q in queries])
        return [
            await self._best(agent, vector, k, now, branch, self._weights)
            for (agent, _), vector in zip(queries, vectors, strict=True)
        ]

    async def alatest(
        self, agent: str, kind: str, *, k: int, now: int, branch: str = MAIN
    ) -> list[Memory]:
        """The `k` last memories of a kind up to step `now`, oldest first, also consolidated."""
        latest: list[Memory] = []
        for lane, until in await self._sight(agent, now, branch):
            latest += lane.latest(kind, k, until)
        return sorted(latest, key=lambda m: (m.step, m.number))[-k:]

    async def anearest(
        self,
        owners: Sequence[str],
        to: Sequence[Memory],
        *,
        besides: str = "",
        k: int,
        now: int,
        branch: str = MAIN,
    ) -> list[str]:
        """The `k` owners, `besides` left out, with the memory most like the mean of the memories
        `to`.

        Nearest first; only memories up to step `now` count. Vectors are compared after their common
        mean is taken off: otherwise the few owners near the mean are the nearest of everybody
        (hubness; Suzuki et al., EMNLP 2013).
        """
        if not owners or not to:
            return []
        lanes = [self._lanes.get((branch, m.agent)) for m in to]
        known = [lane.vector(m) for lane, m in zip(lanes, to, strict=True) if lane and m in lane]
        new = [m.text for lane, m in zip(lanes, to, strict=True) if not lane or m not in lane]
        vector = np.stack([*known, *(await self._embedder.embed(new))]).mean(0)
        crowd = await self._crowd(owners, now, branch)
        return [owners[n] for n in crowd.nearest(vector, k + 1) if owners[n] != besides][:k]

    async def afork(self, name: str, *, parent: str = MAIN, at: int) -> None:
        """Begin branch `name`, which shares the memories of `parent` up to step `at`.

        Raises:
            InputError: the branch exists with another past, or the parent does not.
        """
        await self._open()
        new = Branch(name, parent, at)
        if name == MAIN or self._branches.get(name, new) != new:
            raise InputError(f"The branch {name!r} exists already, with another past.")
        if parent != MAIN and parent not in self._branches:
            raise InputError(f"There is no branch {parent!r} to fork from.")
        self._branches[name] = new
        await self._store.aput(("branches", self._label), name, vars(new), index=False)

    async def aall(self, agent: str, *, now: int | None = None, branch: str = MAIN) -> list[Memory]:
        """Everything that the agent remembers up to step `now`, oldest first, with what was
        consolidated.
        """
        seen: list[Memory] = []
        for lane, until in await self._sight(agent, now if now is not None else 2**31, branch):
            seen += [m for m in lane if m.step <= until]
        return sorted(seen, key=lambda m: (m.step, m.number))

    async def _crowd(self, owners: Sequence[str], now: int, branch: str) -> Crowd:
        """The vectors of all `owners` in one matrix, which lasts as long as all ask as of the same
        step.
        """
        key = (branch, now, tuple(owners))
        if key != self._crowd_key:
            sights = [await self._sight(owner, now, branch) for owner in owners]
            self._crowd_of = Crowd(
                [[lane.seen(until) for lane, until in sight] for sight in sights]
            )
            self._crowd_key = key
        return self._crowd_of

    async def _best(
        self,
        agent: str,
        query: NDArray[np.float32],
        k: int,
        now: int,
        branch: str,
        weights: Weights,
    ) -> list[Recalled]:
        sight = await self._sight(agent, now, branch)
        if len(sight) == 1:
            return sight[0][0].best(query, k, now, now, weights)
        best = [r for lane, until in sight for r in lane.best(query, k, until, now, weights)]
        return sorted(best, key=lambda r: (-r.score, r.memory.step, r.memory.number))[:k]

    async def _sight(self, agent: str, now: int, branch: str) -> list[tuple[Lane, int]]:
        """The lanes that `branch` sees, each with the last step that it sees of it."""
        if not self._opened:
            await self._open()
        until, chain = now, [(branch, now)]
        while branch != MAIN:
            if branch not in self._branches:
                raise InputError(f"There is no branch {branch!r}; begin it with afork().")
            until = min(until, self._branches[branch].fork)
            branch = self._branches[branch].parent
            chain.append((branch, until))
        keys = [((name, agent), last) for name, last in chain]
        if any(key not in self._lanes for key, _ in keys):
            await self._load({key for key, _ in keys})
        return [(self._lanes[key], last) for key, last in keys]

    async def _tidy(self, branch: str, agent: str, now: int) -> None:
        """Consolidate the older half of a lane that is too long; what is replaced stays in the
        store.
        """
        lane = self._lanes[branch, agent]
        if len(lane) <= self._limit:
            return
        live = [m for m in lane if m.step <= now and (m.replaced_at is None or m.replaced_at > now)]
        live.sort(key=lambda m: (m.step, m.number))
        if len(live) <= self._limit or self._consolidate is None:
            return
        old = live[: len(live) // 2]
        text = await self._consolidate(
            Slot(stage="memory", who=agent, what=branch, step=now), [m.text for m in old]
        )
        if not text:
            return
        links = tuple(f"{m.step}-{m.number}" for m in old)
        importance = max(m.importance for m in old)
        summary = Memory(agent, now, -1, text, "consolidated", importance, replaces=links)
        (vector,) = await self._embedder.embed([text])
        replaced = [m._replace(replaced_at=now) for m in old]
        vectors = [lane.vector(m) for m in replaced]
        await self._write([summary, *replaced], np.stack([vector, *vectors]), branch, durable=True)

    async def _open(self) -> None:
        async with self._loading:
            if self._opened:
                return
            for item in await self._store.asearch(("branches", self._label), limit=_PAGE):
                self._branches[item.key] = Branch(**item.value)
            prefix, offset, count = ("memory", self._label), 0, _PAGE
            while count == _PAGE:
                page = await self._store.alist_namespaces(prefix=prefix, limit=_PAGE, offset=offset)
                self._stored.update((name_of(ns[2]), name_of(ns[3])) for ns in page if len(ns) == 4)
                count = len(page)
                offset += count
            self._opened = True

    async def _load(self, keys: set[tuple[str, str]]) -> None:
        """Read the lanes that are in the store but not yet here, all of them in one batch."""
        if not self._opened:
            await self._open()
        missing = sorted(key for key in keys & self._stored if key not in self._lanes)
        if missing:
            ops: list[Op] = [SearchOp(self._namespace(*key), limit=_PAGE) for key in missing]
            pages: list[Any] = await self._store.abatch(ops)
            for key, first in zip(missing, pages, strict=True):
                self._lanes.setdefault(key, await self._lane(key, first))
        for key in keys:
            self._lanes.setdefault(key, Lane(key[1]))

    async def _lane(self, key: tuple[str, str], page: Sequence[Item]) -> Lane:
        lane, items = Lane(key[1]), list(page)
        while items and len(items) % _PAGE == 0:
            more = await self._store.asearch(self._namespace(*key), limit=_PAGE, offset=len(items))
            if not more:
                break
            items += more
        for item in items:
            for memory, vector in _read(item):
                lane.put(memory, vector)
        return lane

    async def _check(self, dimensions: int) -> None:
        if self._checked:
            return
        made = {"embeddings": self._embedder.name, "dimensions": dimensions, "format": _FORMAT}
        item = await self._store.aget(("memory", self._label), "made with")
        if item and item.value != made:
            raise InputError(
                f"The memories of run {self._run!r} were made with {item.value}, but {made} is "
                "given. "
                "Use the embeddings they were made with, or another run name or store."
            )
        if not item:
            await self._store.aput(("memory", self._label), "made with", made, index=False)
        self._checked = True

    async def _write(
        self, memories: Sequence[Memory], vectors: Vectors, branch: str, durable: bool
    ) -> None:
        for memory, vector in zip(memories, vectors, strict=True):
            self._lanes[branch, memory.agent].put(memory, vector)
        places = dict.fromkeys((m.agent, m.step // SPAN) for m in memories)
        await self._buffer.put(
            [self._put(branch, agent, part) for agent, part in places], durable=durable
        )

    def _namespace(self, branch: str, agent: str) -> tuple[str, ...]:
        return ("memory", self._label, label(branch), label(agent))

    def _put(self, branch: str, agent: str, part: int) -> PutOp:
        inside = self._lanes[branch, agent].between(part * SPAN, part * SPAN + SPAN - 1)
        value = {"memories": [_written(m, vector) for m, vector in inside]}
        return PutOp(self._namespace(branch, agent), str(part), value, False)


def _written(memory: Memory, vector: NDArray[np.float16]) -> dict[str, Any]:
    return memory._asdict() | {"vector": base64.b64encode(vector.astype("<f2").tobytes()).decode()}


def _read(item: Item) -> Iterator[tuple[Memory, NDArray[np.float32]]]:
    for value in item.value["memories"]:
        vector = np.frombuffer(base64.b64decode(value["vector"]), dtype="<f2").astype(np.float32)
        fields = {name: value[name] for name in Memory._fields}
        yield Memory(**fields | {"replaces": tuple(value["replaces"])}), vector
