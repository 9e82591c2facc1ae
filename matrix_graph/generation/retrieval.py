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
"""How often one agent of one scenario may be asked, each time in another style, before the source
is exhausted.
"""
DIVERSITY = 0.3
"""Weight of the similarity to what was picked already (maximal marginal relevance, Carbonell and
Goldstein 1998).
"""
REPEAT = 0.02
"""What each earlier pick of the same agent, and of the same scenario, takes off a source's score.
"""


Taken = tuple[int, int]
"""Among how many scenarios, the first by round, how many sources were taken."""


class Source(NamedTuple):
    """One agent in one scenario, asked for the `attempt`-th time."""

    scenario: Scenario
    agent: str
    attempt: int

    @property
    def id(self) -> str:
        return f"{self.scenario['id']}-{self.agent}-{self.attempt}"


async def ordered_sources(
    scenarios: Sequence[Scenario],
    domain: str | None,
    embedder: Embedder,
    seed: int,
    need: int | None = None,
) -> list[Source]:
    """Sources, best first: by relevance to `domain` with a diversity term, or evenly over agents if
    None.

    All of them, or at least the first `need`; these are the same whatever `need` is.
    """
    shuffled = random.Random(seed).sample(list(scenarios), len(scenarios))
    sources = [Source(s, agent, 0) for s in shuffled for agent in s["agents"]]
    if domain and sources:
        vectors = await embedder.embed([source_text(source) for source in sources])
        query = (await embedder.embed([domain]))[0]
        wanted = min(need or len(sources), len(sources))
        sources = [
            sources[i] for i in _marginal_relevance(sources, vectors, vectors @ query, wanted)
        ]
        if need and len(sources) >= need:
            return sources
    elif sources:
        sources = _evenly(sources)
    return [Source(s.scenario, s.agent, attempt) for attempt in range(PASSES) for s in sources]


async def next_sources(
    scenarios: Sequence[Scenario],
    domain: str | None,
    embedder: Embedder,
    seed: int,
    count: int,
    taken: Sequence[Taken],
) -> tuple[list[Source], list[Taken]]:
    """The next `count` sources, or as many as there are, and what is taken then.

    Among later scenarios the order is another one. What was taken before is found again in the
    order that held then.
    """
    by_round = sorted(scenarios, key=lambda scenario: scenario["round"])
    used: set[str] = set()
    for among, number in taken:
        known = {scenario["id"] for scenario in by_round[:among]}
        then = [scenario for scenario in scenarios if scenario["id"] in known]
        order = await ordered_sources(then, domain, embedder, seed, len(used) + number)
        used |= {source.id for source in _fresh(order, used)[:number]}
    order = await ordered_sources(scenarios, domain, embedder, seed, len(used) + count)
    chosen = _fresh(order, used)[:count]
    before = list(taken)
    if before and before[-1][0] == len(scenarios):
        return chosen, [*before[:-1], (len(scenarios), before[-1][1] + len(chosen))]
    return chosen, [*before, (len(scenarios), len(chosen))]


def _fresh(order: Sequence[Source], used: set[str]) -> list[Source]:
    return [source for source in order if source.id not in used]


def source_text(source: Source) -> str:
    """What a source is compared by: who the person is, and what they did."""
    person = source.scenario.get("people", {}).get(source.agent)
    did = [
        action["text"] for action in source.scenario["actions"] if action["agent"] == source.agent
    ]
    return " ".join(
        [person["description"] if person else "", *did, source.scenario["summary"]]
    ).strip()


def _evenly(sources: Sequence[Source]) -> list[Source]:
    asked: dict[str, int] = {}
    rank = []
    for position, source in enumerate(sources):
        asked[source.agent] = asked.get(source.agent, 0) + 1
        rank.append((asked[source.agent], position))
    return [sources[position] for _, position in sorted(rank)]


def _marginal_relevance(
    sources: Sequence[Source],
    vectors: NDArray[np.float32],
    relevance: NDArray[np.float32],
    wanted: int,
) -> list[int]:
    agents = np.asarray([source.agent for source in sources])
    origins = np.asarray([source.scenario["id"] for source in sources])
    left = np.ones(len(sources), dtype=bool)
    nearest = np.zeros(len(sources), dtype=np.float32)
    repeats = np.zeros(len(sources), dtype=np.float32)
    order: list[int] = []
    for _ in range(wanted):
        score = (1 - DIVERSITY) * relevance - DIVERSITY * nearest - REPEAT * repeats
        best = int(np.where(left, score, -np.inf).argmax())
        order.append(best)
        left[best] = False
        nearest = np.maximum(nearest, vectors @ vectors[best])
        repeats += (agents == agents[best]) + (origins == origins[best])
    return order
