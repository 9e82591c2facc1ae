"""Results in a notebook: as a data frame, and as what the last line of a cell shows. All text in it
is inert.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matrix_graph.errors import InputError

if TYPE_CHECKING:
    from pandas import DataFrame

_CHARACTERS = 200


def frame(rows: Sequence[Mapping[str, Any]]) -> DataFrame:
    """Rows as a data frame, a column for each key.

    Raises:
        InputError: pandas is not installed.
    """
    try:
        from pandas import DataFrame
    except ImportError as error:
        raise InputError("Data frames need pandas: pip install pandas") from error
    return DataFrame([dict(row) for row in rows], columns=None if rows else ["id", "kind"])


def summary_table(figures: Mapping[str, object], rows: Sequence[tuple[str, str]] = ()) -> str:
    """Figures, and some rows as requests with their answers, as HTML."""
    lines = [_line(f"<b>{html.escape(name)}</b>", str(value)) for name, value in figures.items()]
    lines += [_line(_text(asked), answer) for asked, answer in rows]
    return f"<table>{''.join(lines)}</table>"


def _line(head: str, text: str) -> str:
    style = "text-align:left;vertical-align:top;white-space:pre-wrap"
    return f'<tr><td style="{style}">{head}</td><td style="{style}">{_text(text)}</td></tr>'


def _text(text: str) -> str:
    short = text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"
    return html.escape(short)
