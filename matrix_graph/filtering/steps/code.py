"""Code: a solution stays if its tests pass in the sandbox, and if they would not pass without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matrix_graph.filtering.noted import tests_of
from matrix_graph.filtering.sandbox import run_code
from matrix_graph.filtering.step import Drop
from matrix_graph.schema import Row


@dataclass(frozen=True)
class TestsPass:
    """Looks at rows with a `solution` and `tests`; others pass."""

    __test__ = False

    name: str = "code"
    compares: bool = False

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
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
