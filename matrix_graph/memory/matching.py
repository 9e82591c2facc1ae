"""Filters on stored values, as LangGraph's own stores read them: nested values, and operators on
scalars.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

_ORDER: dict[str, Callable[[float, float], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def matches(value: Any, wanted: Any) -> bool:
    """Whether `value` fits `wanted`: operators, a partial mapping, a list of equal length, or an
    equal value.

    Raises:
        ValueError: an unknown operator, or an order asked of something that is no number.
    """
    if isinstance(wanted, Mapping):
        if any(str(key).startswith("$") for key in wanted):
            return all(_compare(value, op, limit) for op, limit in wanted.items())
        return isinstance(value, Mapping) and all(
            matches(value.get(key), sub) for key, sub in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(wanted)
            and all(map(matches, value, wanted))
        )
    return bool(value == wanted)


def _compare(value: Any, op: str, limit: Any) -> bool:
    if op == "$eq":
        return bool(value == limit)
    if op == "$ne":
        return bool(value != limit)
    if op not in _ORDER:
        raise ValueError(f"Unsupported operator: {op}")
    return value is not None and _ORDER[op](float(value), float(limit))
