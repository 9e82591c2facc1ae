"""Progress of a run on the terminal: a line a stage; silent where nobody looks."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from matrix_graph.generation.requirements import Requirement
from matrix_graph.llm.budget import Account
from matrix_graph.runs.config import RunConfig

_BAD_ROWS = 5


class RunProgress:
    """Listens to a run's events and draws them; use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._counts = {"actions": 0, "kept": 0, "dropped": 0, "generated": 0}
        self._account: Account | None = None
        self._config: RunConfig | None = None
        self._wanted: list[Requirement] = []

    def __enter__(self) -> RunProgress:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def listen(self, event: dict[str, Any]) -> None:
        """Take in one event of a run."""
        stage, what = event.get("stage"), event.get("event")
        if stage == "start":
            self._account, self._config = event["account"], event["config"]
            self._wanted = event["wanted"]
            for bad in event["bad_rows"][:_BAD_ROWS]:
                self._progress.console.print(
                    f"Skipped profile row {bad.row}: {bad.reason}", markup=False
                )
            if len(event["bad_rows"]) > _BAD_ROWS:
                self._progress.console.print(
                    f"Skipped {len(event['bad_rows']) - _BAD_ROWS} more profile rows."
                )
        if self._config is None:
            return
        rows = sum(wanted.count for wanted in self._wanted)
        if stage == "personas":
            self._show("personas", event["total"], completed=event["done"])
        elif stage == "society":
            self._counts["actions"] += event.get("actions", 0)
            self._show(
                "scenarios",
                self._config.scenarios,
                advance=what == "scenario",
                note=f"{self._counts['actions']} actions",
            )
        elif stage == "generate":
            self._counts["generated"] += 1
            self._show("rows", rows, note=f"{self._counts['generated']} written")
        elif stage == "filter":
            self._counts["dropped"] += event.get("dropped", 0)
            self._counts["kept"] += event.get("rows", 0)
            note = f"{self._counts['generated']} written, {self._counts['dropped']} dropped"
            self._show("rows", rows, completed=self._counts["kept"], note=note)

    def _show(
        self,
        name: str,
        total: int,
        *,
        completed: int | None = None,
        advance: bool = False,
        note: str = "",
    ) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, note="")
        self._progress.update(
            self._tasks[name],
            completed=completed,
            advance=1 if advance else None,
            note="; ".join(filter(None, (note, self._used()))),
        )

    def _used(self) -> str:
        if self._account is None:
            return ""
        total, cost = self._account.total, self._account.cost
        tokens = total.input_tokens + total.output_tokens
        spent = f", {cost:.4f} USD" if cost else ""
        return f"{total.requests} calls, {tokens:,} tokens{spent}"
