"""The rows of whatever table a notebook has: a list, a pandas or polars data frame, a data set of
Hugging Face's. None of these libraries is imported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from matrix_graph.errors import InputError

Table = Iterable[Any]
"""Mappings, a data frame or a data set; a string is a path."""


def rows_of(table: Table, what: str = "rows") -> list[dict[str, Any]]:
    """The rows of a table, JSON-ready; what a data frame has no value for is left out.

    Args:
        what: What the rows are, for the error.

    Raises:
        InputError: it is no table.
    """
    if isinstance(table, Mapping):
        splits = ", ".join(map(str, table))
        raise InputError(f"{what} are a list, not a mapping; take one of its parts ({splits}).")
    frame: Any = table
    if hasattr(frame, "to_dicts"):  # polars
        items: Iterable[Any] = frame.to_dicts()
    elif hasattr(frame, "to_dict") and hasattr(frame, "columns"):  # pandas
        items = frame.to_dict(orient="records")
    elif isinstance(table, Iterable) and not isinstance(table, str | bytes | Path):
        items = table
    else:
        raise InputError(
            f"{what} are a list of mappings, a data frame or a data set, not {table!r:.80}."
        )
    rows: list[dict[str, Any]] = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, Mapping):
            raise InputError(f"{what}: number {number} is no mapping: {item!r:.80}")
        row: dict[str, Any] = {}
        for name, value in item.items():
            try:
                if not _missing(value):
                    row[str(name)] = _plain(value)
            except TypeError as error:
                raise InputError(f"{what}: number {number}, {name}: {error}") from error
        rows.append(row)
    return rows


def _missing(value: Any) -> bool:
    """Whether a data frame has no value there: NaN and the like are unequal to themselves."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # an array, or pandas' NA
        return not hasattr(value, "tolist")


def _plain(value: Any) -> Any:
    """Arrays and numbers of NumPy's, at any depth, as Python's own; dates as ISO 8601; what is no
    number, within a value, as null.

    Raises:
        TypeError: JSON has nothing like it.
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")
