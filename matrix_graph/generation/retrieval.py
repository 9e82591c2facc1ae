"""Which moment of which scenario the next instruction comes from."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from matrix_graph.llm.embedder import Embedder
from matrix_graph.schema import Scenario

PASSES = 4
"""How often one agent of one scenario may be asked, each time in another style, before the source is exhausted."""
DIVERSITY = 0.3
"""Weight of the similarity to what was picked already (maximal marginal relevance, Carbonell and Goldstein 1998)."""


class Source(NamedTuple):
    """One agent in one scenario, asked for the `turn`-th time."""

    scenario: Scenario
    agent: str
    turn: int

    @property
    def id(self) -> str:
        return f"{self.scenario['id']}-{self.agent}-{self.turn}"


async def ordered_sources(
    scenarios: Sequence[Scenario], domain: str | None, embedder: Embedder, seed: int
) -> list[Source]:
    """All sources, best first: by relevance to `domain` with a diversity term, or evenly over agents if None."""
    shuffled = random.Random(seed).sample(list(scenarios), len(scenarios))
    if domain and shuffled:
        vectors = await embedder.embed([scenario_text(s) for s in shuffled])
        query = (await embedder.embed([domain]))[0]
        shuffled = [shuffled[i] for i in _marginal_relevance(vectors, vectors @ query)]
    sources = [Source(s, agent, 0) for s in shuffled for agent in s["agents"]]
    if not domain:
        sources = _evenly(sources)
    return [Source(s.scenario, s.agent, turn) for turn in range(PASSES) for s in sources]


def scenario_text(scenario: Scenario) -> str:
    """What a scenario is compared by."""
    return scenario["summary"] or " ".join(action["text"] for action in scenario["actions"])


def _evenly(sources: Sequence[Source]) -> list[Source]:
    asked: dict[str, int] = {}
    rank = []
    for position, source in enumerate(sources):
        asked[source.agent] = asked.get(source.agent, 0) + 1
        rank.append((asked[source.agent], position))
    return [sources[position] for _, position in sorted(rank)]


def _marginal_relevance(vectors: NDArray[np.float32], relevance: NDArray[np.float32]) -> list[int]:
    left = np.ones(len(vectors), dtype=bool)
    nearest = np.zeros(len(vectors), dtype=np.float32)
    order: list[int] = []
    for _ in range(len(vectors)):
        score = np.where(left, (1 - DIVERSITY) * relevance - DIVERSITY * nearest, -np.inf)
        best = int(score.argmax())
        order.append(best)
        left[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
    return order
