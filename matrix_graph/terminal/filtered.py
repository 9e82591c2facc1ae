"""A filter run on the terminal: the funnel, what it changed, and what its pairs are like."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from matrix_graph.boundary.screen import TextConsole
from matrix_graph.runs.filter_folder import FilterResult


def print_filtered(result: FilterResult, out: TextConsole) -> None:
    """What a filter run came to."""
    summary = result.summary
    table = Table("step", "left", "dropped", "why", box=None)
    table.add_row("given", f"{summary['given']:,}", "", "")
    for stage in summary["funnel"]:
        why = ", ".join(f"{n:,} × {rule}" for rule, n in stage["rules"].items())
        table.add_row(
            stage["step"],
            f"{stage['left']:,}",
            f"{stage['dropped']:,}" if stage["dropped"] else "",
            why,
        )
    out.print(table)
    if summary["effects"]:
        _print_effects(summary, out)
    if summary["pairs"]["pairs"]:
        figures = {
            name: value
            for name, value in summary["pairs"].items()
            if name != "margins" and value is not None
        }
        out.print(
            "pairs: "
            + ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in figures.items())
        )
    out.print(
        f"{summary['kept']:,} of {summary['given']:,} rows kept in {result.out / 'dataset'}",
        soft_wrap=True,
    )
    out.print(f"As a page: {result.out / 'report.html'}", soft_wrap=True)


def _print_effects(summary: dict[str, Any], out: TextConsole) -> None:
    drawn_from = summary["controls"]["drawn_from"]
    table = Table(
        "", "kept", "random", "of the same lengths", f"kept − random ({drawn_from}; 95 %)", box=None
    )
    for row in summary["effects"]:
        apart = row["difference"]["random"]
        sure = "" if apart["low"] <= 0 <= apart["high"] else " *"
        means = [f"{row[name]['mean']:.3g}" for name in ("kept", "random", "length_matched")]
        table.add_row(
            row["measure"],
            *means,
            f"{apart['mean']:+.3g} [{apart['low']:+.3g}, {apart['high']:+.3g}]{sure}",
        )
    out.print(table)
