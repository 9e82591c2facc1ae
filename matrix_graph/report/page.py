"""The page: one file with its own style and script, that asks nothing of the network and runs
nothing but them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from matrix_graph.boundary.files import write_text
from matrix_graph.export.card import model_label
from matrix_graph.llm.journal import clean
from matrix_graph.report import controls, rows, society
from matrix_graph.report.html import Html, anchor, joined, tag
from matrix_graph.runs.filter_folder import SUMMARY
from matrix_graph.runs.record import FilterRecord, RunRecord


def write_report(folder: str | Path) -> Path:
    """Write report.html into the folder of a run, or of a filter run.

    Raises:
        InputError: there is none.
    """
    folder = Path(folder)
    path = folder / "report.html"
    filtered = (folder / SUMMARY).is_file() and not (folder / "run.json").is_file()
    write_text(
        path, render_filtered(FilterRecord(folder)) if filtered else render(RunRecord(folder))
    )
    return path


def render(record: RunRecord) -> str:
    """A run as a page."""
    header = _header(record)
    parts = {
        "Society": society.society_map(record),
        "Timeline": society.timeline(record),
        "Rows: kept and dropped": rows.kept_and_dropped(record),
        "What the rows are like": rows.distributions(
            [row for rows_of_file in record.rows.values() for row in rows_of_file]
        ),
        "Rows": rows.one_by_one(record),
        "Scenarios": society.scenarios(record),
        "People": society.agents(record),
        "Cost": rows.cost(record),
    }
    return _page(f"{record.folder.name}: a society and its rows", header, parts)


def render_filtered(record: FilterRecord) -> str:
    """A filter run as a page; of one that is not at its end, how it stands."""
    title = f"{record.folder.name}: filtered rows"
    if not record.ended.over:
        stands = f"The run is not at its end ({record.ended}); it goes on with --resume."
        return _page(title, _heading(record, stands), {})
    summary = record.summary
    kept = [row for rows in record.rows.values() for row in rows]
    dropped = [rejection["row"] for rejection in record.rejections]
    funnel = rows.picture(summary["given"], summary["funnel"])
    parts = {
        "Kept and dropped": joined([funnel, rows.dropped(record.rejections)]),
        "Against rows drawn at random": controls.compared(record),
        "What the kept rows are like": rows.distributions(kept),
        "What the dropped rows are like": rows.distributions(dropped),
        "Rows": rows.one_by_one(record),
    }
    counted = f"{summary['kept']:,} of {summary['given']:,} rows kept."
    return _page(title, _heading(record, counted), parts)


def _heading(record: FilterRecord, text: str) -> Html:
    return tag("header", tag("h1", record.folder.name), tag("p", text))


def _page(title: str, header: Html, parts: Mapping[str, Html]) -> str:
    menu = tag("nav", *(tag("a", name, href=f"#{anchor('part', name)}") for name in parts))
    body = [
        tag("section", tag("h2", name), part, id=anchor("part", name))
        for name, part in parts.items()
    ]
    style, script = _own("report.css"), _own("report.js")
    head = joined(
        [
            Html(
                '<meta charset="utf-8">'
                '<meta name="viewport" content="width=device-width, initial-scale=1">'
            ),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{_policy(style, script)}">'),
            tag("title", title),
            tag("style", Html(style)),
        ]
    )
    inside = joined([header, menu, tag("main", *body), tag("script", Html(script))])
    return clean(
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{inside}</body></html>\n'
    )


def _header(record: RunRecord) -> Html:
    ended = record.ended
    counts, config = record.summary.get("counts", {}), record.summary["config"]
    kept = sum(counts.get("kept", {}).values())
    wanted = sum(counts.get("wanted", {}).values())
    tiles = {
        "people": counts.get("agents", 0),
        "groups": counts.get("groups", 0),
        "scenarios": counts.get("scenarios", 0),
        "actions": counts.get("actions", 0),
        "messages": counts.get("messages", 0),
        "rows kept": f"{kept:,} of {wanted:,}",
    }
    shown = [
        tag("div", tag("b", f"{n:,}" if isinstance(n, int) else n), tag("span", what))
        for what, n in tiles.items()
    ]
    summary = (
        f"Written by {model_label(config['model'])}, seed {record.summary['seed']}, communication "
        f"{config['communication']}; "
        f"the run ended: {ended}. All of it is invented by a model."
    )
    return tag(
        "header",
        tag("h1", record.folder.name),
        tag("p", summary),
        tag("div", *shown, class_="tiles"),
    )


def _own(name: str) -> str:
    return (files("matrix_graph.report") / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"
