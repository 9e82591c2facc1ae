"""When does the signal filter help? Tasks of known difficulty, a learner by policy gradient,
several seeds.

A task shows features; the learner picks one of `ACTIONS` by a softmax of a linear map of them, and
gets 1 for the right one. Difficulty is how far the starting learner is from the right action; of a
share of tasks the answer on record is wrong. The learner takes GRPO steps (groups of 8, advantages
normalised in the group) on rows kept by the filter, and as a control on as many drawn at random,
with the same number of steps. What is measured is how often it is right on tasks that it has not
seen. `python -m tests.bench.learning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from matrix_graph.filtering.step import Step
from matrix_graph.filtering.steps.rewards import group_of
from matrix_graph.filtering.steps.signal import Learnability, PassRate, ZeroAdvantage

FEATURES, ACTIONS, GROUP, TASKS, SEEDS = 24, 6, 8, 1_200, 20
Floats = Any


@dataclass(frozen=True)
class World:
    """How hard tasks are for the starting learner, how many have a wrong answer on record, how long
    it trains.
    """

    name: str
    competence: float
    spread: float
    mislabelled: float
    epochs: int


WORLDS = (
    World("even difficulty, right answers", 1.0, 0.3, 0.0, 2),
    World("mostly easy or hopeless, right answers", 2.0, 3.0, 0.0, 2),
    World("mostly easy or hopeless, 30 % wrong answers", 2.0, 3.0, 0.3, 2),
    World("even difficulty, 30 % wrong answers", 1.0, 0.3, 0.3, 2),
    World("mostly easy or hopeless, right answers, 10 epochs", 2.0, 3.0, 0.0, 10),
)
FILTERS: dict[str, tuple[Step, ...]] = {
    "zero advantage": (ZeroAdvantage(),),
    "pass rate in [0.2, 0.8]": (PassRate(),),
    "learnability, best half": (Learnability(),),
}


def main() -> None:
    table = Table(
        "tasks",
        "filter",
        "kept",
        "start",
        "filtered",
        "random",
        "difference [95 %]",
        title="Filtered − random",
    )
    for world in WORLDS:
        for name, steps in FILTERS.items():
            runs = [_trial(world, steps, seed) for seed in range(SEEDS)]
            kept, start, filtered, drawn = (np.array(column) for column in zip(*runs, strict=True))
            gain = filtered - drawn
            low, high = _interval(gain)
            verdict = "helps" if low > 0 else "hurts" if high < 0 else "no difference shown"
            table.add_row(
                world.name,
                name,
                f"{kept.mean():.0%}",
                *(f"{column.mean():.3f}" for column in (start, filtered, drawn)),
                f"{gain.mean():+.3f} [{low:+.3f}, {high:+.3f}] {verdict}",
            )
    Console(width=170).print(table)


def _trial(world: World, steps: tuple[Step, ...], seed: int) -> tuple[float, float, float, float]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(FEATURES, ACTIONS))
    # Competence differs between regions of the task space: some are known, some are not.
    known = rng.normal(size=FEATURES)
    features, right = _tasks(rng, truth, TASKS)
    start = world.competence / FEATURES * truth
    bias = world.spread * np.tanh(features @ known / np.sqrt(FEATURES))
    noted = np.where(rng.random(TASKS) < world.mislabelled, rng.integers(0, ACTIONS, TASKS), right)
    rollouts = _sampled(rng, _policy(start, features, bias, right))
    rewards = (rollouts == noted[:, None]).astype(float)
    rows: list[dict[str, Any]] = [
        {"id": str(n), "rewards": list(map(float, r)), "group": group_of(list(r))}
        for n, r in enumerate(rewards)
    ]
    for step in steps:
        found: Any = step.find(rows)
        dropped = {drop.id for drop in found}
        rows = [row for row in rows if row["id"] not in dropped]
    kept = np.array([int(row["id"]) for row in rows])
    drawn = rng.choice(TASKS, len(kept), replace=False)
    tests, answers = _tasks(rng, truth, 2_000)
    test_bias = world.spread * np.tanh(tests @ known / np.sqrt(FEATURES))
    scores = [
        float(np.mean(_policy(weights, tests, test_bias, answers)[np.arange(len(tests)), answers]))
        for weights in (
            start,
            _learned(
                np.random.default_rng([seed, 1]),
                start,
                features,
                bias,
                right,
                noted,
                kept,
                world.epochs,
            ),
            _learned(
                np.random.default_rng([seed, 1]),
                start,
                features,
                bias,
                right,
                noted,
                drawn,
                world.epochs,
            ),
        )
    ]
    return len(kept) / TASKS, scores[0], scores[1], scores[2]


def _tasks(rng: np.random.Generator, truth: Floats, count: int) -> tuple[Floats, Floats]:
    features = rng.normal(size=(count, FEATURES))
    return features, (features @ truth).argmax(1)


def _policy(weights: Floats, features: Floats, bias: Floats, right: Floats) -> Floats:
    """Action probabilities: what the learner has learned, and what it knows already (or believes
    wrongly) of a task.
    """
    logits = features @ weights
    logits[np.arange(len(features)), right] += bias
    logits -= logits.max(1, keepdims=True)
    exp = np.exp(logits)
    return exp / exp.sum(1, keepdims=True)


def _sampled(rng: np.random.Generator, policy: Floats) -> Floats:
    draws = rng.random((len(policy), GROUP, 1))
    return (policy.cumsum(1)[:, None, :] < draws).sum(2).clip(max=ACTIONS - 1)


def _learned(
    rng: np.random.Generator,
    start: Floats,
    features: Floats,
    bias: Floats,
    right: Floats,
    noted: Floats,
    chosen: Floats,
    epochs: int,
    rate: float = 0.05,
    batch: int = 32,
) -> Floats:
    weights = start.copy()
    for _ in range(epochs):
        order = rng.permutation(chosen)
        for part in (order[n : n + batch] for n in range(0, len(order), batch)):
            policy = _policy(weights, features[part], bias[part], right[part])
            actions = _sampled(rng, policy)
            rewards = (actions == noted[part][:, None]).astype(float)
            spread = rewards.std(1, keepdims=True)
            advantages = np.where(
                spread > 0, (rewards - rewards.mean(1, keepdims=True)) / (spread + 1e-9), 0.0
            )
            chose = np.eye(ACTIONS)[actions]
            gradient = (advantages[:, :, None] * (chose - policy[:, None, :])).mean(1)
            weights += rate * features[part].T @ gradient / len(part) * np.sqrt(FEATURES)
    return weights


def _interval(values: Floats) -> tuple[float, float]:
    rng = np.random.default_rng(0)
    means = rng.choice(values, (2_000, len(values))).mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
