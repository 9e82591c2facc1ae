"""What training would learn from a row: rules over the rewards of the student's answers.

Each reads `rewards` (r₁ … r_N) as `Rewards` noted them; rows without, and safety rows,
pass. A threshold given as a quantile is taken over the rows that the rule judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from matrix_graph.errors import InputError
from matrix_graph.filtering.answers import majority, same_answer
from matrix_graph.filtering.columns import (
    guessed_of,
    pass_rate_of,
    responses_of,
    rewards_of,
    truth_of,
)
from matrix_graph.filtering.rows import is_safety
from matrix_graph.filtering.step import Drop, Share, Step, in_order
from matrix_graph.schema import Row

Gap = Literal["small", "large", "any"]


@dataclass(frozen=True)
class ZeroAdvantage(Step):
    """Rows whose rewards are all one: their group-normalised advantage is zero (DAPO, arXiv
    2503.14476).
    """

    name: ClassVar[str] = "zero_advantage"

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return [
            Drop(row["id"], "zero advantage", float(rewards_of(row)[0]), "rewards that differ")
            for row in _judged(rows)
            if max(rewards_of(row)) == min(rewards_of(row))
        ]


@dataclass(frozen=True)
class PassRate(Step):
    """Rows whose pass rate lies outside [low, high] (PRIME, arXiv 2502.01456), where rewards are 0
    or 1.

    `inclusive=False` takes the open interval, as open-r1 does with (0.1, 0.9).
    """

    name: ClassVar[str] = "pass_rate"
    low: Share = 0.2
    high: Share = 0.8
    inclusive: bool = True

    def __post_init__(self) -> None:
        in_order("low", self.low, "high", self.high)

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        left, right = "[]" if self.inclusive else "()"
        bounds = f"{left}{self.low:g}, {self.high:g}{right}"
        drops = []
        for row in _judged(rows):
            p = pass_rate_of(row)
            if p is None:
                continue
            inside = self.low <= p <= self.high if self.inclusive else self.low < p < self.high
            if not inside:
                drops.append(Drop(row["id"], "pass rate", p, bounds))
        return drops


@dataclass(frozen=True)
class Learnability(Step):
    """All but the `share` of verified rows with the greatest p(1 - p); those at the margin all
    stay.
    """

    name: ClassVar[str] = "learnability"
    share: Share = 0.5

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return _below("learnability", _verified(rows), _learnable, 1 - self.share)


@dataclass(frozen=True)
class MinReward(Step):
    """Rows whose least reward is low (CoT-Self-Instruct, arXiv 2507.23751): below `at_least`, or
    the `quantile`.
    """

    name: ClassVar[str] = "min_reward"
    quantile: Share = 0.5
    at_least: float | None = None

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return _below("min reward", _judged(rows), _least, self.quantile, self.at_least)


@dataclass(frozen=True)
class Rip(Step):
    """Rejecting instruction preferences (arXiv 2501.18578): keep m1 >= t1, m2 >= t2 and m3 <= t3.

    m1 is the least reward, m2 the length in characters of the worst answer, m3 the gap between best
    and worst. Thresholds are the `quantile` of each, unless given. Whether a small gap is what to
    keep is disputed, hence `gap`: `small` as in RIP, `large` (m3 >= t3; arXiv 2502.14560), or
    `any`.
    """

    name: ClassVar[str] = "rip"
    quantile: Share = 0.5
    min_reward: float | None = None
    min_length: float | None = None
    reward_gap: float | None = None
    gap: Gap = "small"

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        """See `Step`."""
        judged = _judged(rows)
        drops = [
            *_below("rip: min reward", judged, _least, self.quantile, self.min_reward),
            *_below("rip: length of worst", judged, _worst_length, self.quantile, self.min_length),
            *self._gaps(judged),
        ]
        first: dict[str, Drop] = {}
        for drop in drops:
            first.setdefault(drop.id, drop)
        return list(first.values())

    def _gaps(self, rows: Sequence[Row]) -> list[Drop]:
        if self.gap == "large":
            return _below("rip: reward gap", rows, _spread, self.quantile, self.reward_gap)
        if self.gap == "small":
            return _above("rip: reward gap", rows, _spread, self.quantile, self.reward_gap)
        return []


@dataclass(frozen=True)
class Consistent(Step):
    """Rows whose own answer is not what most of the student's answers are (CoT-Self-Instruct,
    arXiv 2507.23751); what cannot be compared stays.
    """

    name: ClassVar[str] = "consistent"

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        drops = []
        for row in rows:
            if is_safety(row) or not truth_of(row) or not responses_of(row):
                continue
            most = majority(responses_of(row))
            if same_answer(most, truth_of(row)) is False:
                drops.append(
                    Drop(row["id"], "majority answer differs", most[:80], truth_of(row)[:80])
                )
        return drops


@dataclass(frozen=True)
class NotGuessable(Step):
    """Rows that the student solved without reasoning at least once in its tries (Kimi k1.5, arXiv
    2501.12599).
    """

    name: ClassVar[str] = "not_guessable"

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return [
            Drop(row["id"], "guessable", solved, 0)
            for row in rows
            if not is_safety(row) and (solved := guessed_of(row) or 0) > 0
        ]


def _judged(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if rewards_of(row) and not is_safety(row)]


def _verified(rows: Sequence[Row]) -> list[Row]:
    return [row for row in _judged(rows) if pass_rate_of(row) is not None]


def _below(
    rule: str,
    rows: Sequence[Row],
    value: Callable[[Row], float],
    quantile: float,
    threshold: float | None = None,
) -> list[Drop]:
    """Drops of the rows whose value is below the threshold, or else below the quantile of all."""
    values, least = _measured(rule, rows, value, quantile, threshold)
    pairs = zip(rows, values, strict=True)
    return [Drop(row["id"], rule, v, least) for row, v in pairs if v < least]


def _above(
    rule: str,
    rows: Sequence[Row],
    value: Callable[[Row], float],
    quantile: float,
    threshold: float | None = None,
) -> list[Drop]:
    """The same of those above it."""
    values, most = _measured(rule, rows, value, quantile, threshold)
    pairs = zip(rows, values, strict=True)
    return [Drop(row["id"], rule, v, most) for row, v in pairs if v > most]


def _measured(
    rule: str,
    rows: Sequence[Row],
    value: Callable[[Row], float],
    quantile: float,
    threshold: float | None,
) -> tuple[list[float], float]:
    """The rows' values, and the threshold that holds."""
    if not 0 <= quantile <= 1:
        raise InputError(f"{rule}: a quantile lies between 0 and 1, and {quantile:g} does not.")
    values = [float(value(row)) for row in rows]
    if threshold is None:
        threshold = float(np.quantile(values, quantile)) if values else 0.0
    return values, threshold


def _least(row: Row) -> float:
    return min(rewards_of(row))


def _learnable(row: Row) -> float:
    p = pass_rate_of(row) or 0.0
    # Rounded, or p and 1 - p would differ in the last bit.
    return round(p * (1 - p), 9)


def _spread(row: Row) -> float:
    return float(max(rewards_of(row)) - min(rewards_of(row)))


def _worst_length(row: Row) -> float:
    worst = rewards_of(row).index(min(rewards_of(row)))
    responses = responses_of(row)
    return float(len(responses[worst])) if worst < len(responses) else 0.0
