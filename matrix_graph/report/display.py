"""Parts of a run as pictures and folds in a notebook: the last line of a cell shows them. All text
in them is inert.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from matrix_graph.errors import InputError
from matrix_graph.report import rows, society
from matrix_graph.report.html import Html, joined, tag
from matrix_graph.runs.record import RunRecord


@dataclass(frozen=True)
class Display:
    """Something to look at."""

    markup: Html

    def _repr_html_(self) -> str:
        style = (files("matrix_graph.report") / "report.css").read_text("utf-8")
        return tag("div", tag("style", Html(f"@scope {{ {style} }}")), self.markup)


def show_society(record: RunRecord) -> Display:
    """Who lives where and who told whom, and when each group did what."""
    return Display(joined([society.society_map(record, slider=False), society.timeline(record)]))


def show_scenario(record: RunRecord, name: str) -> Display:
    """What happened in one scenario, with who became aware of it.

    Raises:
        InputError: there is none of that id.
    """
    for scenario in record.scenarios:
        if scenario["id"] == name:
            return Display(society.scenario(scenario, open=True))
    raise InputError(f"There is no scenario {name!r} in {record.folder}.")


def show_row(record: RunRecord, name: str) -> Display:
    """One kept row with where it comes from, down to the calls.

    Raises:
        InputError: there is none of that id.
    """
    for row in (row for rows_of_file in record.rows.values() for row in rows_of_file):
        if row["id"] == name:
            return Display(rows.row(record, row, open=True))
    raise InputError(f"There is no kept row {name!r} in {record.folder}.")
