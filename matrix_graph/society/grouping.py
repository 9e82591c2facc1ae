"""Homophily: profiles that read alike live in one group (size-constrained k-means over their
embeddings).
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from matrix_graph.errors import InputError
from matrix_graph.schema import Communication, Group, Persona

Vectors = NDArray[np.float32]
COARSE = 1000
"""Above this many agents they are first parted into blocks of about this size."""


def form_groups(
    personas: Sequence[Persona],
    vectors: Vectors,
    *,
    size: int = 5,
    largest: int = 10,
    seed: int = 0,
    communication: Communication = "structured",
) -> tuple[Group, ...]:
    """Part the personas into K = ⌈N/size⌉ groups of 1 to `largest`.

    Clones are parted by themselves, each time round, into as many groups more: two of one origin
    never share a group.

    Args:
        vectors: One unit vector per persona, shape (N, dimensions).
        communication: With `random`, members are drawn at random into groups of the same sizes:
            the control arm without homophily.

    Raises:
        InputError: no personas, or groups that cannot hold them.
    """
    if not personas:
        raise InputError("A society needs at least one persona.")
    if not 1 <= size <= largest:
        raise InputError(f"Groups of about {size} cannot hold at most {largest}.")
    clusters: list[NDArray[np.int64]] = []
    for number, part in enumerate(_rounds(personas)):
        labels = _cluster(vectors[part], -(-len(part) // size), largest, seed)
        if communication == "random":
            drawn = random.Random(f"{seed}/{number}").sample(labels.tolist(), len(labels))
            labels = np.asarray(drawn)
        first = dict.fromkeys(labels.tolist())
        clusters += [part[np.flatnonzero(labels == label)] for label in first]
    kind = "group"
    while any(persona.id.startswith(f"{kind}-") for persona in personas):
        # Groups and people have memories and places in one journal.
        kind += "s"
    return tuple(
        Group(f"{kind}-{number:03}", tuple(personas[i] for i in members.tolist()))
        for number, members in enumerate(clusters, 1)
    )


def _rounds(personas: Sequence[Persona]) -> list[NDArray[np.int64]]:
    """The positions of the personas, each time round that people are cloned."""
    seen: Counter[str] = Counter()
    rounds: list[list[int]] = []
    for position, persona in enumerate(personas):
        origin = persona.profile.clone_of or persona.id
        if seen[origin] == len(rounds):
            rounds.append([])
        rounds[seen[origin]].append(position)
        seen[origin] += 1
    return [np.asarray(part) for part in rounds]


def homophily(groups: Sequence[Group], vectors: dict[str, Vectors]) -> dict[str, float]:
    """Mean cosine similarity of two agents in one group, and of two agents of different groups."""
    matrix = np.stack([vectors[m.id] for g in groups for m in g.members])
    sizes = [len(g.members) for g in groups]
    total = matrix.sum(0)
    inside_sum = inside_pairs = 0.0
    for start, stop in pairwise(accumulate(sizes, initial=0)):
        block = matrix[start:stop].sum(0)
        n = stop - start
        inside_sum += float(block @ block) - n
        inside_pairs += n * (n - 1)
    n = len(matrix)
    all_sum, all_pairs = float(total @ total) - n, n * (n - 1)
    outside_pairs = all_pairs - inside_pairs
    return {
        "in_group": round(inside_sum / inside_pairs, 4) if inside_pairs else 0.0,
        "out_group": round((all_sum - inside_sum) / outside_pairs, 4) if outside_pairs else 0.0,
    }


def _cluster(vectors: Vectors, k: int, largest: int, seed: int) -> NDArray[np.int64]:
    n = len(vectors)
    if n <= COARSE or k == 1:
        return _kmeans(vectors, k, largest, seed)
    blocks = _kmeans(vectors, -(-n // COARSE), 2 * COARSE, seed)
    labels, used, seen = np.zeros(n, dtype=np.int64), 0, 0
    for block in range(int(blocks.max()) + 1):
        inside = np.flatnonzero(blocks == block)
        share = round(k * (seen + len(inside)) / n) - round(k * seen / n)
        part, seen = max(1, share, -(-len(inside) // largest)), seen + len(inside)
        labels[inside] = used + _kmeans(vectors[inside], part, largest, seed)
        used += part
    return labels


def _kmeans(vectors: Vectors, k: int, largest: int, seed: int) -> NDArray[np.int64]:
    from k_means_constrained import KMeansConstrained

    if k == 1:
        return np.zeros(len(vectors), dtype=np.int64)
    model = KMeansConstrained(
        k, size_min=1, size_max=min(largest, len(vectors)), random_state=seed, n_init=1, max_iter=50
    )
    return np.asarray(model.fit_predict(vectors), dtype=np.int64)
