"""What is printed of a run: the table at its end, and some of its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.boundary.screen import TextConsole
from matrix_graph.errors import InputError
from matrix_graph.filtering.rows import answers_of, prompt_of
from matrix_graph.runs.result import RunResult
from matrix_graph.schema import provenance_of


def print_run(result: RunResult, out: TextConsole) -> None:
    """What a run made and used, how that compares with the estimate, and how it ended."""
    summary = result.summary
    counts = summary["counts"]
    table = Table(show_header=False, box=None)
    # One that was stopped before anybody lived counts nothing.
    if counts:
        _add_counts(table, counts)
    tokens = summary["tokens"]
    table.add_row(
        "used",
        f"{summary['calls']:,} calls, {tokens['input']:,} + {tokens['output']:,} tokens, "
        f"{summary['seconds']:.0f} s",
    )
    before = summary["estimate"]
    table.add_row(
        "estimated",
        f"{before['calls']:,} calls, {before['tokens']['input']:,} + "
        f"{before['tokens']['output']:,} tokens "
        f"(calls {_off(summary['calls'], before['calls'])}, "
        f"tokens {_off(sum(tokens.values()), sum(before['tokens'].values()))})",
    )
    if summary["cost_usd"]:
        table.add_row("cost", f"{summary['cost_usd']:.4f} USD")
    table.add_row("ended", str(result.ended))
    table.add_row("in", str(result.out))
    table.add_row("as a page", str(result.out / "report.html"))
    out.print(table)


def _add_counts(table: Table, counts: dict[str, Any]) -> None:
    for name in ("agents", "groups", "scenarios", "actions", "messages"):
        table.add_row(name, str(counts[name]))
    for name, kept in counts["kept"].items():
        table.add_row(f"{name} rows kept", f"{kept:,} of {counts['wanted'][name]:,}")
    table.add_row(
        "from",
        ", ".join(f"{share:.0%} of the {what}" for what, share in counts["coverage"].items()),
    )
    for rule, n in counts["rejected"].items():
        table.add_row("dropped", f"{n} × {rule}")
    if counts["turns"] > counts["actions"]:
        table.add_row("acted", f"{counts['actions']:,} of {counts['turns']:,} turns")
    if counts["asked_again"]:
        table.add_row("implausible", f"{counts['asked_again']:,} actions were asked for again")
    for reason, n in counts["failed"].items():
        table.add_row("failed", f"{n} × {reason}")
    if counts["bad_profiles"]:
        table.add_row("bad profile rows", str(counts["bad_profiles"]))


def _off(used: int, estimated: int) -> str:
    if not estimated:
        return "not estimated"
    share = (used - estimated) / estimated
    return f"{abs(share):.0%} {'more' if share > 0 else 'fewer'}"


def print_rows(folder: Path, count: int, out: TextConsole) -> None:
    """Some rows of each kind, each with where it comes from.

    Raises:
        InputError: there is no data set.
    """
    scenarios = {s["id"]: s for s in read_json_lines(folder / "scenarios.jsonl")}
    files = sorted((folder / "dataset").glob("*.jsonl"))
    if not files:
        raise InputError(
            f"{folder} holds no data set; make one with: matrix-graph run --out {folder}"
        )
    for file in files:
        for row in read_json_lines(file)[:count]:
            origin = provenance_of(row)
            scenario = scenarios.get(origin.get("scenario_id", ""), {})
            agent = origin.get("agent_id", "")
            person = scenario.get("people", {}).get(agent, {}).get("name", agent)
            out.rule(
                Text(f"{row.get('id', '')} · {person} · {origin.get('group', '')}"), align="left"
            )
            for label, text in (("asks", prompt_of(row)), *answers_of(row).items()):
                name = "answer" if label == "messages" else label
                out.print(Text.assemble((f"{name:>8}  ", "bold"), text), soft_wrap=True)
