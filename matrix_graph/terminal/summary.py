"""The table at the end of a run."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from matrix_graph.runs.runner import RunResult


def print_run(result: RunResult, out: Console) -> None:
    """What a run made and used, how that compares with the estimate, and how it ended."""
    summary = result.summary
    counts = summary["counts"]
    table = Table(show_header=False, box=None)
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
    for reason, n in counts["failed"].items():
        table.add_row("failed", f"{n} × {reason}")
    if counts["bad_profiles"]:
        table.add_row("bad profile rows", str(counts["bad_profiles"]))
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


def _off(used: int, estimated: int) -> str:
    if not estimated:
        return "not estimated"
    share = (used - estimated) / estimated
    return f"{abs(share):.0%} {'more' if share > 0 else 'fewer'}"
