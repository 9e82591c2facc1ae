"""What training would learn from a row: rules over the rewards of the student's answers.

Each reads `rewards` (r₁ … r_N) and `group` as `Rewards` noted them; rows without, and safety rows,
pass. A threshold given as a quantile is taken over the rows that the rule judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from matrix_graph.errors import InputError
from matrix_graph.filtering.answers import majority, same_answer
from matrix_graph.filtering.noted import guessed_of, responses_of, rewards_of, truth_of
from matrix_graph.filtering.rows import is_safety
from matrix_graph.filtering.step import Drop
from matrix_graph.filtering.steps.rewards import group_of
from matrix_graph.schema import Row

Gap = Literal["small", "large", "any"]


@dataclass(frozen=True)
class ZeroAdvantage:
    """Rows whose rewards are all one: their group-normalised advantage is zero (DAPO, arXiv
    2503.14476).
    """

    name: str = "zero_advantage"
    compares: bool = False

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        return [
            Drop(row["id"], "zero advantage", float(rewards_of(row)[0]), "rewards that differ")
            for row in _judged(rows)
            if max(rewards_of(row)) == min(rewards_of(row))
        ]


@dataclass(frozen=True)
class PassRate:
    """Rows whose pass rate lies outside [low, high] (PRIME, arXiv 2502.01456), where rewards are 0
    or 1.

    `inclusive=False` takes the open interval, as open-r1 does with (0.1, 0.9).
    """

    name: str = "pass_rate"
    compares: bool = False
    low: float = 0.2
    high: float = 0.8
    inclusive: bool = True

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        drops = []
        for row in _verified(rows):
            p = _rate(row)
            inside = self.low <= p <= self.high if self.inclusive else self.low < p < self.high
            if not inside:
                brackets = "[]" if self.inclusive else "()"
                drops.append(
                    Drop(
                        row["id"],
                        "pass rate",
                        p,
                        f"{brackets[0]}{self.low:g}, {self.high:g}{brackets[1]}",
                    )
                )
        return drops


@dataclass(frozen=True)
class Learnability:
    """All but the `share` of verified rows with the greatest p(1 - p); those at the margin all
    stay.
    """

    name: str = "learnability"
    compares: bool = False
    share: float = 0.5

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        return _below("learnability", _verified(rows), _learnable, 1 - self.share)


@dataclass(frozen=True)
class MinReward:
    """Rows whose least reward is low (CoT-Self-Instruct, arXiv 2507.23751): below `at_least`, or
    the `quantile`.
    """

    name: str = "min_reward"
    compares: bool = False
    quantile: float = 0.5
    at_least: float | None = None

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        return _below(
            "min reward",
            _judged(rows),
            lambda row: min(rewards_of(row)),
            self.quantile,
            self.at_least,
        )


@dataclass(frozen=True)
class Rip:
    """Rejecting instruction preferences (arXiv 2501.18578): keep m1 >= t1, m2 >= t2 and m3 <= t3.

    m1 is the least reward, m2 the length in characters of the worst answer, m3 the gap between best
    and worst. Thresholds are the `quantile` of each, unless given. Whether a small gap is what to
    keep is disputed, hence `gap`: `small` as in RIP, `large` (m3 >= t3; arXiv 2502.14560), or
    `any`.
    """

    name: str = "rip"
    compares: bool = False
    quantile: float = 0.5
    min_reward: float | None = None
    min_length: float | None = None
    reward_gap: float | None = None
    gap: Gap = "small"

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        own = _judged(rows)
        dropped: dict[str, Drop] = {}
        rules = [
            _below(
                "rip: min reward",
                own,
                lambda row: min(rewards_of(row)),
                self.quantile,
                self.min_reward,
            ),
            _below("rip: length of worst", own, _worst_length, self.quantile, self.min_length),
        ]
        if self.gap == "small":
            rules.append(
                _below(
                    "rip: reward gap",
                    own,
                    lambda row: -_spread(row),
                    1 - self.quantile,
                    _negative(self.reward_gap),
                )
            )
            rules[-1] = [
                d._replace(value=-float(d.value), threshold=-float(d.threshold)) for d in rules[-1]
            ]
        elif self.gap == "large":
            rules.append(_below("rip: reward gap", own, _spread, self.quantile, self.reward_gap))
        for drops in rules:
            for drop in drops:
                dropped.setdefault(drop.id, drop)
        return list(dropped.values())


@dataclass(frozen=True)
class Consistent:
    """Rows whose own answer is not what most of the student's answers come to (CoT-Self-Instruct)."""

    name: str = "consistent"
    compares: bool = False

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        drops = []
        for row in rows:
            if is_safety(row) or not truth_of(row) or not responses_of(row):
                continue
            most = majority(responses_of(row))
            if not same_answer(most, truth_of(row)):
                drops.append(
                    Drop(row["id"], "majority answer differs", most[:80], truth_of(row)[:80])
                )
        return drops


@dataclass(frozen=True)
class NotGuessable:
    """Rows that the student solved without reasoning at least once in its tries (Kimi k1.5, arXiv
    2501.12599).
    """

    name: str = "not_guessable"
    compares: bool = False

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        return [
            Drop(row["id"], "guessable", solved, 0)
            for row in rows
            if not is_safety(row) and (solved := guessed_of(row) or 0) > 0
        ]


def _judged(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if rewards_of(row) and not is_safety(row)]


def _verified(rows: Sequence[Row]) -> list[Row]:
    return [row for row in _judged(rows) if group_of(rewards_of(row))["p"] is not None]


def _rate(row: Row) -> float:
    return float(group_of(rewards_of(row))["p"] or 0.0)


def _below(
    rule: str,
    rows: Sequence[Row],
    value: Callable[[Row], float],
    quantile: float,
    threshold: float | None = None,
) -> list[Drop]:
    """Drops of the rows whose value is below the threshold, or else below the quantile of the
    values.
    """
    if not 0 <= quantile <= 1:
        raise InputError(f"{rule}: a quantile lies between 0 and 1, and {quantile:g} does not.")
    if not rows:
        return []
    values = [float(value(row)) for row in rows]
    least = float(np.quantile(values, quantile)) if threshold is None else threshold
    return [
        Drop(row["id"], rule, v, least) for row, v in zip(rows, values, strict=True) if v < least
    ]


def _learnable(row: Row) -> float:
    # Rounded, or p and 1 - p would differ in the last bit.
    return round(_rate(row) * (1 - _rate(row)), 9)


def _spread(row: Row) -> float:
    return float(max(rewards_of(row)) - min(rewards_of(row)))


def _worst_length(row: Row) -> float:
    worst = rewards_of(row).index(min(rewards_of(row)))
    responses = responses_of(row)
    return float(len(responses[worst])) if worst < len(responses) else 0.0


def _negative(value: float | None) -> float | None:
    return None if value is None else -value
