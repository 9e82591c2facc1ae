"""Code: a solution stays if its tests pass in the sandbox, and do not pass without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from matrix_graph.filtering.columns import tests_of
from matrix_graph.filtering.sandbox import run_code
from matrix_graph.filtering.step import Drop, Step
from matrix_graph.schema import Row


@dataclass(frozen=True)
class TestsPass(Step):
    """Looks at rows with a `solution` and `tests`; others pass."""

    __test__ = False

    name: ClassVar[str] = "code"
    hygiene: ClassVar[bool] = True

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return [
            drop for row in rows if row.get("solution") and tests_of(row) and (drop := _judge(row))
        ]


def _judge(row: Row) -> Drop | None:
    solution, tests = str(row["solution"]), tests_of(row)
    if error := run_code(f"{solution}\n\n{tests}"):
        return Drop(row["id"], "tests fail", error, "all pass")
    if not run_code(tests):
        return Drop(
            row["id"],
            "tests prove nothing",
            "pass without the solution",
            "fail without the solution",
        )
    return None
