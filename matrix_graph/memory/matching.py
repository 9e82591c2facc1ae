"""Filters on stored values, as LangGraph's own stores read them: nested values, and operators on
scalars.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_ORDER: dict[str, Callable[[float, float], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def matcher(wanted: Any) -> Callable[[Any], bool]:
    """What says whether a value, as JSON gives it, fits `wanted`: operators, a partial mapping, a
    list of equal length, or an equal value.

    Raises:
        ValueError: an unknown operator; of what comes back also: an order is asked of something
            that is no number.
    """
    if isinstance(wanted, Mapping):
        if any(str(key).startswith("$") for key in wanted):
            return _all([_comparison(op, limit) for op, limit in wanted.items()])
        return _mapping({key: matcher(sub) for key, sub in wanted.items()})
    if isinstance(wanted, list | tuple):
        return _list([matcher(sub) for sub in wanted])
    return lambda value: bool(value == wanted)


def _all(tests: Sequence[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)


def _mapping(tests: Mapping[Any, Callable[[Any], bool]]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        return isinstance(value, dict) and all(test(value.get(key)) for key, test in tests.items())

    return fits


def _list(tests: Sequence[Callable[[Any], bool]]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) == len(tests)
            and all(test(part) for test, part in zip(tests, value, strict=True))
        )

    return fits


def _comparison(op: str, limit: Any) -> Callable[[Any], bool]:
    if op == "$eq":
        return lambda value: bool(value == limit)
    if op == "$ne":
        return lambda value: bool(value != limit)
    if op not in _ORDER:
        raise ValueError(f"Unsupported operator: {op}")
    order, bound = _ORDER[op], float(limit)
    return lambda value: value is not None and order(float(value), bound)
