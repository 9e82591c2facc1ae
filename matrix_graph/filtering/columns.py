"""What steps noted in a row, read with care: a column of that name may be the user's own, and then
it is not ours.
"""

from __future__ import annotations

from typing import Any

from matrix_graph.schema import Row

_LARGEST = 1e100


def responses_of(row: Row) -> list[str]:
    """The student's responses, none if they were not noted."""
    value = row.get("responses")
    return value if isinstance(value, list) and all(isinstance(text, str) for text in value) else []


def rewards_of(row: Row) -> list[float]:
    """Their rewards, none if they were not noted."""
    value = row.get("rewards")
    return value if isinstance(value, list) and value and all(map(is_number, value)) else []


def pass_rate_of(row: Row) -> float | None:
    """The share of rewards that are 1, where all are 0 or 1."""
    rewards = rewards_of(row)
    if not rewards or any(reward not in (0, 1) for reward in rewards):
        return None
    return round(sum(rewards) / len(rewards), 6)


def judge_of(row: Row) -> dict[str, Any] | None:
    """What the judges said."""
    value = row.get("judge")
    known = (
        isinstance(value, dict)
        and is_number(value.get("quality"))
        and is_number(value.get("difficulty"))
    )
    return {"agreement": 1.0, "safe": True, "category": ""} | value if known else None  # type: ignore[operator]


def preference_of(row: Row) -> tuple[float, float] | None:
    """What the chosen answer wins against the rejected, shown first and shown second."""
    value = row.get("preference")
    shares = (
        (value.get("shown_first"), value.get("shown_second"))
        if isinstance(value, dict)
        else (None, None)
    )
    return shares if all(map(is_number, shares)) else None  # type: ignore[return-value]


def guessed_of(row: Row) -> int | None:
    """How many answers without reasoning were right."""
    value = row.get("guessed")
    solved = value.get("solved") if isinstance(value, dict) else None
    return solved if isinstance(solved, int) else None


def margin_of(row: Row) -> float | None:
    """By how much the chosen answer was scored better."""
    scores = row.get("chosen_score"), row.get("rejected_score")
    return float(scores[0] - scores[1]) if all(map(is_number, scores)) else None  # type: ignore[operator]


def truth_of(row: Row) -> str:
    """The row's checkable answer, or nothing."""
    value = row.get("answer")
    return (
        str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    )


def tests_of(row: Row) -> str:
    """The row's tests as code, or nothing; a list of statements counts as their lines."""
    value = row.get("tests")
    if isinstance(value, list):
        return "\n".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def is_number(value: Any) -> bool:
    """Whether it is a number, and none so large that sums of it, or of its square, are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LARGEST
