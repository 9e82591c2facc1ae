"""How far a run or a filter run is, from its events: what is done, how fast, how long it will take,
and what it has used.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from matrix_graph.llm.budget import Account
from matrix_graph.society.profiles import BadRow
from matrix_graph.society.state import STEPS


@dataclass
class Stage:
    """One sort of thing that is done so many times.

    Attributes:
        done: Parts of one count, too.
        began, seen: Seconds on the clock of the first and the last event.
        first: What was done at the first event, as of a run that was resumed.
    """

    name: str
    total: float
    began: float
    first: float = 0.0
    done: float = 0.0
    seen: float = 0.0
    note: str = ""

    @property
    def rate(self) -> float:
        """How many in a second; 0 in the first one."""
        elapsed = self.seen - self.began
        return (self.done - self.first) / elapsed if elapsed >= 1 else 0.0

    @property
    def left(self) -> float | None:
        """Seconds to its end at this rate; None where there is no rate yet."""
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def speed(self) -> str:
        """Rate and time to the end in words."""
        if not self.rate or self.done >= self.total:
            return ""
        a_minute = self.rate < 1
        pace = f"{self.rate * 60:.1f} a minute" if a_minute else f"{self.rate:.1f} a second"
        return f"{pace}, {_duration(self.left or 0)} left"

    def __str__(self) -> str:
        share = f"{self.name} {int(self.done):,} of {int(self.total):,}"
        return ", ".join(filter(None, (share, self.speed, self.note)))


@dataclass
class Progress:
    """Listens to the events of a run.

    Attributes:
        stages: In the order in which they began.
        bad_rows: Rows of the profiles that are none.
        notes: What else one should know of what was given.
        ended: How it ended, in words; empty before.
    """

    clock: Callable[[], float] = time.monotonic
    stages: dict[str, Stage] = field(default_factory=dict)
    bad_rows: Sequence[BadRow] = ()
    notes: Sequence[str] = ()
    ended: str = ""
    _account: Account | None = None
    _scenarios: int = 0
    _rows: int = 0
    _counts: Counter[str] = field(default_factory=Counter)
    _open: dict[str, float] = field(default_factory=dict)

    def listen(self, event: dict[str, Any]) -> None:
        """Take in one event."""
        stage, what = event.get("stage"), event.get("event")
        if stage == "start":
            self._account = event["account"]
            self._scenarios, self._rows = event.get("scenarios", 0), event.get("rows", 0)
            self.bad_rows, self.notes = event.get("bad_rows", ()), event.get("notes", ())
        elif stage == "end":
            self.ended = str(event["ended"])
        elif what == "measured":
            self._show(event["step"], event["total"], event["done"])
        elif stage == "personas":
            self._show("personas", event["total"], event["done"])
        elif stage == "society" and what == "begin":
            self._counts.update(event["already"])
        elif stage == "society":
            self._live(event)
        elif stage in ("generate", "filter") and self._rows:
            self._write(stage, event)

    @property
    def used(self) -> str:
        """Calls, tokens and money so far, in words; empty before there are any."""
        if self._account is None:
            return ""
        total, cost = self._account.total, self._account.cost
        tokens = total.input_tokens + total.output_tokens
        spent = f", {cost:.4f} USD" if cost else ""
        return f"{total.requests:,} calls, {tokens:,} tokens{spent}"

    @property
    def line(self) -> str:
        """Where the work is now, in one line; empty before it has begun."""
        stages = list(self.stages.values())
        if not stages:
            return self.used
        latest = max(stages, key=lambda stage: stage.seen)
        return "; ".join(filter(None, (str(latest), self.used)))

    def _live(self, event: dict[str, Any]) -> None:
        group = event.get("group", "")
        if event.get("event") == "step":
            self._counts["actions"] += event["actions"]
            # A scenario counts as it goes on: so many steps, and its end.
            self._open[group] = min(self._open.get(group, 0.0) + 1 / (STEPS + 2), 1.0)
        elif event.get("event") == "scenario":
            self._counts["scenarios"] += 1
            self._open.pop(group, None)
        done = min(self._counts["scenarios"] + sum(self._open.values()), self._scenarios)
        self._show("scenarios", self._scenarios, done, f"{self._counts['actions']:,} actions")

    def _write(self, stage: str, event: dict[str, Any]) -> None:
        if stage == "generate":
            self._counts["written"] += 1
        self._counts["dropped"] += event.get("dropped", 0)
        self._counts["rows"] += event.get("rows", 0)
        note = f"{self._counts['written']:,} written, {self._counts['dropped']:,} dropped"
        self._show("rows", self._rows, self._counts["rows"], note)

    def _show(self, name: str, total: float, done: float, note: str = "") -> None:
        now = self.clock()
        stage = self.stages.get(name)
        if stage is None or done < stage.done:
            # Of a batch that begins, or of a step that measures another batch.
            stage = self.stages[name] = Stage(name, total, now, done, done, now)
        stage.total, stage.done, stage.seen, stage.note = total, done, now, note


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
