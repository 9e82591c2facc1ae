"""The ledger: what measuring steps found, so that a funnel runs again with other thresholds at no
call's cost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from matrix_graph.context import opened
from matrix_graph.filtering.rows import answers_of, asked_in, prompt_of
from matrix_graph.filtering.step import Drop, Finding, Note, Step, findings_of
from matrix_graph.llm.journal import digest_of
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
        return tuple(
            _Recording(step, self) if hasattr(step, "measures") else step for step in steps
        )

    def replaying(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        """The same steps without their measurements: what is on record holds, and rows of which
        nothing is go.
        """
        return tuple(
            _Replaying(step, self) if hasattr(step, "measures") or hasattr(step, "embeds") else step
            for step in steps
        )

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


@dataclass(frozen=True)
class _Recording:
    step: Step
    ledger: Ledger

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def compares(self) -> bool:
        return self.step.compares

    async def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> Sequence[Finding]:
        found = await findings_of(self.step, rows, earlier)
        by_id = {finding.id: finding for finding in found}
        self.ledger.found.update((_key(self.name, row), by_id.get(row["id"])) for row in rows)
        return found


@dataclass(frozen=True)
class _Replaying:
    step: Any
    ledger: Ledger

    @property
    def name(self) -> str:
        return str(self.step.name)

    @property
    def compares(self) -> bool:
        return bool(self.step.compares)

    async def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> Sequence[Finding]:
        if not hasattr(self.step, "embeds"):
            missing = [row for row in rows if _key(self.name, row) not in self.ledger.found]
            found = [f for row in rows if (f := self.ledger.found.get(_key(self.name, row)))]
            return [*found, *map(self._unknown, missing)]
        known = await (await opened(self.step.context)).embedder.known(
            [prompt_of(row) for row in rows]
        )
        there = [row for row, is_known in zip(rows, known, strict=True) if is_known]
        unknown = [
            self._unknown(row) for row, is_known in zip(rows, known, strict=True) if not is_known
        ]
        return [*unknown, *await findings_of(self.step, there, earlier)]

    def _unknown(self, row: Row) -> Drop:
        return Drop(row["id"], "not measured", self.name, "reached this step before")


def _key(step: str, row: Row) -> _Key:
    said = json.dumps([asked_in(row), answers_of(row)], ensure_ascii=False, sort_keys=True)
    return step, str(row["id"]), digest_of(said)
