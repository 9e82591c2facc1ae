"""The ledger: what measuring steps found, so that a funnel runs again with other thresholds at no
call's cost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from matrix_graph.context import Context
from matrix_graph.filtering.rows import answers_of, asked_in, prompt_of
from matrix_graph.filtering.step import Drop, Finding, Note, Step
from matrix_graph.llm.journal import digest_of
from matrix_graph.resources import opened
from matrix_graph.schema import Row

_Key = tuple[str, str, str]
"""Step, row id, and a digest of what the row asks and answers: of another text nothing was
measured.
"""


@dataclass
class Ledger:
    """Findings of measuring steps. `recording` steps fill it, `replaying` ones read it."""

    found: dict[_Key, Finding | None] = field(default_factory=dict)

    def recording(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """The same steps, with a record of what the measuring ones find."""
        return tuple(_Recording(step, self) if step.measures else step for step in steps)

    def replaying(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """The same steps without their measurements: what is on record holds, and rows of which
        nothing is go.
        """
        return tuple(self._replayed(step) for step in steps)

    def _replayed(self, step: Step) -> Step:
        if step.measures:
            return _Recorded(step, self)
        if step.embeds:
            return _Embedded(step)
        return step

    def lines(self) -> Iterator[dict[str, Any]]:
        """The ledger as JSON-ready lines."""
        for (step, row, digest), finding in self.found.items():
            line: dict[str, Any] = {"step": step, "id": row, "digest": digest}
            if isinstance(finding, Drop):
                line["drop"] = list(finding[1:])
            elif finding:
                line["note"] = dict(finding.columns)
            yield line

    @classmethod
    def of(cls, lines: Iterable[dict[str, Any]]) -> Ledger:
        """From what `lines` gave."""
        ledger = cls()
        for line in lines:
            finding = Drop(line["id"], *line["drop"]) if "drop" in line else None
            noted = Note(line["id"], line["note"]) if "note" in line else None
            ledger.found[line["step"], line["id"], line["digest"]] = finding or noted
        return ledger


class _Wrapped(Step):
    """A step under its own name that does something beside or in place of it."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.name = step.name  # type: ignore[misc]
        self.hygiene = step.hygiene  # type: ignore[misc]


class _Recording(_Wrapped):
    """Notes in the ledger what the step finds."""

    def __init__(self, step: Step, ledger: Ledger) -> None:
        super().__init__(step)
        self._ledger = ledger

    async def find(self, rows: Sequence[Row]) -> Sequence[Finding]:
        findings = await self._step(rows)
        by_id = {finding.id: finding for finding in findings}
        for row in rows:
            self._ledger.found[_key(self.name, row)] = by_id.get(row["id"])
        return findings


class _Recorded(_Wrapped):
    """Finds what is in the ledger; rows of which nothing is go."""

    def __init__(self, step: Step, ledger: Ledger) -> None:
        super().__init__(step)
        self._ledger = ledger

    def find(self, rows: Sequence[Row]) -> Sequence[Finding]:
        findings: list[Finding] = []
        for row in rows:
            key = _key(self.name, row)
            if key not in self._ledger.found:
                findings.append(_unknown(self.name, row))
            elif finding := self._ledger.found[key]:
                findings.append(finding)
        return findings


class _Embedded(_Wrapped):
    """The step over the rows whose vectors are on record; the others go."""

    async def find(self, rows: Sequence[Row]) -> Sequence[Finding]:
        context: Context | None = getattr(self._step, "context", None)
        embedder = (await opened(context)).embedder
        known = await embedder.known([prompt_of(row) for row in rows])
        there = [row for row, is_known in zip(rows, known, strict=True) if is_known]
        missing = [row for row, is_known in zip(rows, known, strict=True) if not is_known]
        return [*(_unknown(self.name, row) for row in missing), *await self._step(there)]


def _unknown(step: str, row: Row) -> Drop:
    return Drop(row["id"], "not measured", step, "reached this step before")


def _key(step: str, row: Row) -> _Key:
    texts = json.dumps([asked_in(row), answers_of(row)], ensure_ascii=False, sort_keys=True)
    return step, str(row["id"]), digest_of(texts)
