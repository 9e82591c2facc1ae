"""What a run gives back: its folder after it, with its rows and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.errors import InputError
from matrix_graph.filtering.rows import answer_of, prompt_of
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.notebook import frame, summary_table
from matrix_graph.runs.received import read_summary
from matrix_graph.schema import Row

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class RunResult:
    """A run directory after the run: `summary` is its run.json."""

    out: Path
    summary: dict[str, Any]

    @classmethod
    def of(cls, out: str | Path) -> RunResult:
        """What is in a run's folder now.

        Raises:
            InputError: there is no run.
        """
        return cls(Path(out), read_summary(Path(out)))

    @property
    def ended(self) -> Ended:
        """How the run ended."""
        return Ended.of(self.summary)

    @property
    def complete(self) -> bool:
        """Whether every row asked for was kept."""
        return self.ended.status == "complete"

    @property
    def asked(self) -> dict[str, Any]:
        """What people are asked, by the id of the answer.

        `arun(..., resume=True, answers={id: answer})` goes on.
        """
        return dict(self.summary.get("asked", {}))

    def rows(self, name: str) -> list[Row]:
        """The kept rows of a kind, or of the requirement of that name.

        Raises:
            InputError: the run was asked for no such rows.
        """
        known = [wanted["name"] or wanted["kind"] for wanted in self.summary["requirements"]]
        if name not in known:
            raise InputError(f"{self.out} holds no rows {name!r}; there are {', '.join(known)}.")
        return read_json_lines(self.out / "dataset" / f"{name}.jsonl")

    def scenarios(self) -> list[dict[str, Any]]:
        """The scenarios."""
        return read_json_lines(self.out / "scenarios.jsonl")

    def to_pandas(self, name: str | None = None) -> DataFrame:
        """The kept rows as a data frame: all, or those of a kind or requirement. Errors as `rows`,
        and where pandas is not installed.
        """
        names = [name] if name else list(self.summary["counts"].get("kept", {}))
        return frame([row for one in names for row in self.rows(one)])

    def _repr_html_(self) -> str:
        counts = self.summary["counts"]
        kept = counts.get("kept", {})
        figures = {
            "in": self.out,
            "ended": self.ended,
            **{f"{name} rows": f"{n} of {counts['wanted'][name]}" for name, n in kept.items()},
            **{f"dropped: {rule}": n for rule, n in counts.get("rejected", {}).items()},
            **{f"failed: {reason}": n for reason, n in counts.get("failed", {}).items()},
            "calls": f"{self.summary['calls']:,}",
            "USD": self.summary["cost_usd"],
        }
        first = [self.rows(name)[:2] for name in kept]
        return summary_table(
            figures, [(prompt_of(row), answer_of(row)) for rows in first for row in rows]
        )
