"""The controls that show whether a filter beats chance: as many rows at random, and as many of the
same lengths.

Train all three and compare. What the filter changed is told with bootstrap intervals.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from matrix_graph.filtering.columns import judge_of, rewards_of
from matrix_graph.filtering.rows import answer_of, prompt_of, words_in, words_of
from matrix_graph.schema import Row

_BINS, _RESAMPLES = 20, 1_000
_CATEGORIES = 5


def random_subset(pool: Sequence[Row], size: int, seed: int) -> list[Row]:
    """`size` rows of `pool`, in its order."""
    chosen = sorted(random.Random(f"{seed}/random").sample(range(len(pool)), min(size, len(pool))))
    return [pool[n] for n in chosen]


def length_matched(pool: Sequence[Row], kept: Sequence[Row], seed: int) -> list[Row]:
    """As many rows of `pool` as are kept, drawn within twentieths of the pool by length."""
    if not pool or not kept:
        return []
    edges = np.quantile([_length(row) for row in pool], np.linspace(0, 1, _BINS + 1)[1:-1])
    bins: dict[int, list[int]] = {}
    for number, row in enumerate(pool):
        bins.setdefault(int(np.searchsorted(edges, _length(row))), []).append(number)
    wanted = Counter(int(np.searchsorted(edges, _length(row))) for row in kept)
    draw = random.Random(f"{seed}/length")
    chosen = sorted(
        n for part, count in sorted(wanted.items()) for n in _drawn(draw, bins.get(part, []), count)
    )
    return [pool[n] for n in chosen]


def effects(sets: Mapping[str, Sequence[Row]], seed: int) -> list[dict[str, Any]]:
    """What differs between the sets, the first of which is the kept one: per measure each set's
    mean with a 95 % bootstrap interval, and the kept set's difference to each other set with one.

    `new word pairs` is the share of a prompt's word pairs that stand in no other prompt of its set:
    diversity.
    """
    everything = [row for rows in sets.values() for row in rows]
    measures = dict(_MEASURES)
    common = Counter(_category(row) for row in everything if _category(row)).most_common(
        _CATEGORIES
    )
    measures |= {f"share of {name}": _is_category(name) for name, _ in common}
    columns: dict[str, dict[str, Any]] = {}
    for name, rows in sets.items():
        values = {what: [measure(row) for row in rows] for what, measure in measures.items()}
        columns[name] = values | {"new word pairs": _novelty(rows)}
    resampled = {
        name: _resampled(values, len(sets[name]), f"{seed}/{name}")
        for name, values in columns.items()
    }
    kept, *others = sets
    table = []
    for what in [*measures, "new word pairs"]:
        if not all(resampled[name].get(what) for name in sets):
            continue
        means = {name: resampled[name][what] for name in sets}
        apart = {other: _difference(means[kept], means[other]) for other in others}
        table.append(
            {
                "measure": what,
                **{name: _interval(*means[name]) for name in sets},
                "difference": apart,
            }
        )
    return table


def _drawn(draw: random.Random, numbers: Sequence[int], count: int) -> list[int]:
    return draw.sample(numbers, min(count, len(numbers)))


def _length(row: Row) -> int:
    return len(prompt_of(row)) + len(answer_of(row))


def _category(row: Row) -> str:
    return str((judge_of(row) or {}).get("category") or row.get("category") or "")


def _is_category(name: str) -> Callable[[Row], float | None]:
    return lambda row: float(_category(row) == name)


def _judged(what: str) -> Callable[[Row], float | None]:
    return lambda row: float(judge[what]) if (judge := judge_of(row)) else None


_MEASURES: dict[str, Callable[[Row], float | None]] = {
    "words in the prompt": lambda row: float(words_in(prompt_of(row))),
    "words in the answer": lambda row: float(words_in(answer_of(row))),
    "difficulty": _judged("difficulty"),
    "quality": _judged("quality"),
    "mean reward": lambda row: (
        sum(rewards) / len(rewards) if (rewards := rewards_of(row)) else None
    ),
    "least reward": lambda row: min(rewards) if (rewards := rewards_of(row)) else None,
}


def _novelty(rows: Sequence[Row]) -> list[float | None]:
    pairs = [set(pairwise(words_of(prompt_of(row).lower()))) for row in rows]
    counts = Counter(pair for of_row in pairs for pair in of_row)
    return [
        sum(counts[pair] == 1 for pair in of_row) / len(of_row) if of_row else None
        for of_row in pairs
    ]


_Means = tuple[float, Any]
"""A mean, and the means of resamples."""


def _resampled(
    columns: Mapping[str, Sequence[float | None]], size: int, seed: str
) -> dict[str, _Means]:
    """Every measure over the same resamples of the rows; those that no row has are left out."""
    rng = np.random.default_rng(list(seed.encode()))
    names = [name for name, values in columns.items() if any(value is not None for value in values)]
    if not names:
        return {}
    known = np.array(
        [[value is not None for value in columns[name]] for name in names], dtype=float
    ).T
    values = np.array([[value or 0.0 for value in columns[name]] for name in names], dtype=float).T
    sums = np.empty((_RESAMPLES, len(names)))
    counts = np.empty((_RESAMPLES, len(names)))
    for n in range(_RESAMPLES):
        times = np.bincount(rng.integers(0, size, size), minlength=size)
        sums[n], counts[n] = times @ values, times @ known
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return {
        name: (values[:, k].sum() / known[:, k].sum(), means[:, k]) for k, name in enumerate(names)
    }


def _interval(mean: float, means: Any) -> dict[str, float]:
    low, high = np.nanquantile(means, [0.025, 0.975])
    return {
        "mean": round(float(mean), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def _difference(one: _Means, other: _Means) -> dict[str, float]:
    return _interval(one[0] - other[0], one[1] - other[1])
