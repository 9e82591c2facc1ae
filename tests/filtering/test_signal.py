"""The rules over rewards, against tables worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix_graph.errors import InputError
from matrix_graph.filtering.steps.rewards import group_of
from matrix_graph.filtering.steps.signal import (
    Consistent,
    Learnability,
    MinReward,
    NotGuessable,
    PassRate,
    Rip,
    ZeroAdvantage,
)
from matrix_graph.schema import Row


def row(name: str, rewards: list[float], worst_length: int = 10, **more: Any) -> Row:
    worst = rewards.index(min(rewards))
    responses = ["y" * (worst_length if n == worst else 5) for n in range(len(rewards))]
    return {
        "id": name,
        "responses": responses,
        "rewards": rewards,
        "group": group_of(rewards),
    } | more


#                      m1    m3   m2
# a: 1, 9               1    8    40
# b: 4, 6               4    2    10
# c: 5, 5.5             5    0.5  30
# d: 7, 9               7    2    20
# medians: t1 = 4.5, t3 = 2, t2 = 25
TABLE = [row("a", [1, 9], 40), row("b", [4, 6], 10), row("c", [5, 5.5], 30), row("d", [7, 9], 20)]


def test_rip_against_the_table() -> None:
    drops = {d.id: (d.rule, d.value, d.threshold) for d in Rip().find(TABLE)}
    assert drops == {
        "a": ("rip: min reward", 1.0, 4.5),
        "b": ("rip: min reward", 4.0, 4.5),
        "d": ("rip: length of worst", 20.0, 25.0),
    }
    only_gap = Rip(min_reward=-99, min_length=0)
    assert {d.id: (d.rule, d.value, d.threshold) for d in only_gap.find(TABLE)} == {
        "a": ("rip: reward gap", 8.0, 2.0)
    }


def test_the_direction_of_the_gap_is_a_parameter() -> None:
    large = Rip(min_reward=-99, min_length=0, gap="large")
    assert {d.id: (d.value, d.threshold) for d in large.find(TABLE)} == {"c": (0.5, 2.0)}
    assert Rip(min_reward=-99, min_length=0, gap="any").find(TABLE) == []
    assert {d.id for d in Rip(min_reward=-99, min_length=0, reward_gap=1.0).find(TABLE)} == {
        "a",
        "b",
        "d",
    }


def test_min_reward_by_quantile_and_absolutely() -> None:
    assert [(d.id, d.value, d.threshold) for d in MinReward().find(TABLE)] == [
        ("a", 1.0, 4.5),
        ("b", 4.0, 4.5),
    ]
    assert [d.id for d in MinReward(at_least=5).find(TABLE)] == ["a", "b"]
    with pytest.raises(InputError, match="between 0 and 1"):
        MinReward(quantile=50).find(TABLE)


RATES = [row(f"p{k}", [1.0] * k + [0.0] * (10 - k)) for k in range(11)]


def test_pass_rates_against_the_table() -> None:
    assert [d.id for d in ZeroAdvantage().find(RATES)] == ["p0", "p10"]
    assert [(d.id, d.value) for d in PassRate().find(RATES)] == [
        ("p0", 0.0),
        ("p1", 0.1),
        ("p9", 0.9),
        ("p10", 1.0),
    ]
    open_band = PassRate(low=0.1, high=0.9, inclusive=False)
    assert [d.id for d in open_band.find(RATES)] == ["p0", "p1", "p9", "p10"]
    # p(1 - p): 0 .09 .16 .21 .24 .25 .24 .21 .16 .09 0, median .16, 90th percentile .24
    assert [d.id for d in Learnability().find(RATES)] == ["p0", "p1", "p9", "p10"]
    assert [d.id for d in Learnability(share=0.1).find(RATES)] == [
        f"p{k}" for k in (0, 1, 2, 3, 7, 8, 9, 10)
    ]


def test_the_group_as_training_sees_it() -> None:
    assert group_of([1, 1, 0, 0]) == {
        "n": 4,
        "mean": 0.5,
        "variance": 0.25,
        "advantage_spread": 2.0,
        "p": 0.5,
    }
    assert group_of([3, 5]) == {
        "n": 2,
        "mean": 4.0,
        "variance": 1.0,
        "advantage_spread": 2.0,
        "p": None,
    }
    assert group_of([1, 1]) == {
        "n": 2,
        "mean": 1.0,
        "variance": 0.0,
        "advantage_spread": 0.0,
        "p": 1.0,
    }


def test_the_answer_that_most_give_must_be_the_rows_own() -> None:
    rows = [
        {
            "id": "same",
            "answer": "42",
            "responses": ["So it is 42.", "The answer is 42", "Perhaps 7 of them remain"],
        },
        {"id": "other", "answer": "42", "responses": ["That makes 7 in all.", "#### 7", "42"]},
        {"id": "none", "responses": ["7"]},
    ]
    assert [(d.id, d.value) for d in Consistent().find(rows)] == [("other", "7")]


def test_what_was_guessed_goes() -> None:
    rows = [{"id": str(n), "guessed": {"solved": n, "tries": 8}} for n in range(3)]
    assert [d.id for d in NotGuessable().find(rows)] == ["1", "2"]


@pytest.mark.parametrize(
    "rule",
    [
        ZeroAdvantage(),
        PassRate(),
        Learnability(),
        MinReward(at_least=99),
        Rip(min_reward=99),
        Consistent(),
    ],
)
def test_safety_rows_and_rows_without_rewards_pass(rule: Any) -> None:
    safe = row("safe", [0.0, 0.0], safety=True, answer="no")
    assert rule.find([safe, {"id": "plain", "prompt": "How?"}]) == []


@given(st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=8), min_size=1, max_size=30))
def test_zero_advantage_is_exactly_all_alike(groups: list[list[int]]) -> None:
    rows = [row(str(n), [float(r) for r in rewards]) for n, rewards in enumerate(groups)]
    dropped = {d.id for d in ZeroAdvantage().find(rows)}
    assert dropped == {str(n) for n, rewards in enumerate(groups) if len(set(rewards)) == 1}


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=40),
    st.floats(0, 1),
)
def test_rip_keeps_what_holds_all_three_thresholds(
    pairs: list[tuple[float, float]], quantile: float
) -> None:
    rows = [row(str(n), list(pair), 3 + n) for n, pair in enumerate(pairs)]
    kept = {r["id"] for r in rows} - {d.id for d in Rip(quantile=quantile).find(rows)}
    least = np.array([min(p) for p in pairs], dtype=float)
    gap = np.array([max(p) - min(p) for p in pairs], dtype=float)
    length = np.array(
        [len(r["responses"][r["rewards"].index(min(r["rewards"]))]) for r in rows], dtype=float
    )
    holds = (least >= np.quantile(least, quantile)) & (length >= np.quantile(length, quantile))
    holds &= -gap >= np.quantile(-gap, 1 - quantile)
    assert kept == {str(n) for n in np.flatnonzero(holds)}
