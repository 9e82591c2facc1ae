"""One agent's memories in the process: vectors in one matrix of halves, scored exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_NEVER = 2**31 - 1


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


class Memory(NamedTuple):
    """One thing remembered.

    `step` counts from 0; what came before the run stands at -1. `number` tells memories of one step
    apart. A consolidated memory names in `replaces` those (`step-number`) that it stands for; they
    are not recalled from step `replaced_at` on.
    """

    agent: str
    step: int
    number: int
    text: str
    kind: str
    importance: float
    replaces: tuple[str, ...] = ()
    replaced_at: int | None = None


class Recalled(NamedTuple):
    """A memory with the scores that brought it up; `score` is their weighted sum."""

    memory: Memory
    score: float
    relevance: float
    recency: float
    importance: float


class Lane:
    """Memories in order of arrival; `best` scores those that can be seen.

    Kept by columns, since an object per memory would weigh as much as its text.
    """

    def __init__(self, agent: str = "") -> None:
        self._agent = agent
        self._texts: list[str] = []
        self._kinds: list[str] = []
        self._replaces: dict[int, tuple[str, ...]] = {}
        self._vectors: NDArray[np.float16] = np.zeros((0, 0), dtype=np.float16)
        self._facts: NDArray[np.float64] = np.zeros((0, 4), dtype=np.float64)

    def __len__(self) -> int:
        return len(self._texts)

    def __contains__(self, memory: Memory) -> bool:
        return self._row(memory) is not None

    def __iter__(self) -> Iterator[Memory]:
        return map(self._memory, range(len(self)))

    def put(self, memory: Memory, vector: NDArray[np.float32]) -> None:
        """Add a memory, or replace the one of the same step and number."""
        row = self._row(memory)
        if row is None:
            row = len(self)
            self._texts.append("")
            self._kinds.append("")
            if row == len(self._vectors):
                self._grow(row, len(vector))
        self._texts[row], self._kinds[row], self._vectors[row] = memory.text, memory.kind, vector
        if memory.replaces:
            self._replaces[row] = memory.replaces
        replaced = _NEVER if memory.replaced_at is None else memory.replaced_at
        self._facts[row] = (memory.step, memory.number, memory.importance, replaced)

    def between(self, first: int, last: int) -> list[tuple[Memory, NDArray[np.float16]]]:
        """The memories of these steps, both included, each with its vector."""
        steps = self._facts[: len(self), 0]
        rows = np.flatnonzero((steps >= first) & (steps <= last))
        return [(self._memory(row), self._vectors[row]) for row in rows.tolist()]

    def vector(self, memory: Memory) -> NDArray[np.float32]:
        """The vector of a memory of this lane.

        Raises:
            KeyError: it is not in this lane.
        """
        row = self._row(memory)
        if row is None:
            raise KeyError(memory)
        vector: NDArray[np.float32] = self._vectors[row].astype(np.float32)
        return vector

    def latest(self, kind: str, k: int, until: int) -> list[Memory]:
        """The `k` last memories of a kind up to step `until`, oldest first."""
        steps = self._facts[: len(self), 0].tolist()
        rows = [row for row, of in enumerate(self._kinds) if of == kind and steps[row] <= until]
        return sorted(map(self._memory, rows), key=lambda m: (m.step, m.number))[-k:]

    def seen(self, until: int) -> NDArray[np.float16]:
        """The vectors of the memories that can be seen at step `until`, shape (n, dimensions)."""
        steps, _, _, replaced = self._facts[: len(self)].T
        vectors: NDArray[np.float16] = self._vectors[: len(self)][
            (steps <= until) & (replaced > until)
        ]
        return vectors

    def best(
        self, query: NDArray[np.float32], k: int, until: int, now: int, weights: Weights
    ) -> list[Recalled]:
        """The `k` best of the memories up to step `until`, as seen from step `now`; ties go to the
        older.
        """
        n = len(self)
        if not n:
            return []
        steps, numbers, importance, replaced = self._facts[:n].T
        relevance = (self._vectors[:n].astype(np.float32) @ query).astype(np.float64)
        recency = weights.decay ** np.maximum(now - steps, 0)
        score = (
            weights.relevance * relevance
            + weights.recency * recency
            + weights.importance * importance
        )
        score[(steps > until) | (replaced <= until)] = -np.inf
        rows: NDArray[np.int64] = np.arange(n)
        if k < n:
            # All that tie with the k-th stay in, so that the order below decides between them.
            rows = np.flatnonzero(score >= np.partition(score, n - k)[n - k])
        order = rows[np.lexsort((numbers[rows], steps[rows], -score[rows]))][:k]
        return [
            Recalled(
                self._memory(i),
                float(score[i]),
                float(relevance[i]),
                float(recency[i]),
                float(importance[i]),
            )
            for i in order.tolist()
            if score[i] > -np.inf
        ]

    def _row(self, memory: Memory) -> int | None:
        facts = self._facts[: len(self)]
        rows = np.flatnonzero((facts[:, 0] == memory.step) & (facts[:, 1] == memory.number))
        return int(rows[0]) if len(rows) else None

    def _memory(self, row: int) -> Memory:
        step, number, importance, replaced = self._facts[row].tolist()
        return Memory(
            self._agent,
            int(step),
            int(number),
            self._texts[row],
            self._kinds[row],
            importance,
            self._replaces.get(row, ()),
            None if replaced == _NEVER else int(replaced),
        )

    def _grow(self, used: int, dimensions: int) -> None:
        size = used + max(8, used // 8)
        vectors, facts = np.zeros((size, dimensions), dtype=np.float16), np.zeros((size, 4))
        if used:
            vectors[:used], facts[:used] = self._vectors, self._facts
        self._vectors, self._facts = vectors, facts
