"""The filter as a graph: one node a step, in a line; what a step drops goes no further.

form → language → code → exact_duplicates → near_duplicates → … → review
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from langgraph.graph import END, START
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from matrix_graph.asking import ask
from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.filtering.comparisons import comparison_of, seeded
from matrix_graph.filtering.step import (
    Comparing,
    Comparison,
    Drop,
    Finding,
    Note,
    Step,
    called,
    check_ids,
)
from matrix_graph.filtering.steps.code import TestsPass
from matrix_graph.filtering.steps.duplicates import ExactDuplicates, NearDuplicates
from matrix_graph.filtering.steps.form import Form
from matrix_graph.filtering.steps.language import Language
from matrix_graph.resources import opened
from matrix_graph.schema import Rejection, Row
from matrix_graph.stage import Stage, needed

REVIEW = "review"


class FilterInput(TypedDict, total=False):
    """Rows in a TRL layout, each with an `id`.

    `earlier` rows are only compared with; by default those that the run in the graph's store has
    kept.
    """

    rows: list[Row]
    earlier: list[Row]


class FilterState(FilterInput, total=False):
    """The rows that are left, and those dropped so far."""

    rejections: list[Rejection]


class FilterOutput(TypedDict):
    """The kept rows in the order given, and the dropped ones with rule, value and threshold."""

    rows: list[Row]
    rejections: list[Rejection]


DEFAULT_STEPS: tuple[Step, ...] = (
    Form(),
    Language(),
    TestsPass(),
    ExactDuplicates(),
    NearDuplicates(),
)


def create_filter(
    steps: Sequence[Step] = DEFAULT_STEPS, *, review: int = 0
) -> Stage[FilterState, Context, FilterInput, FilterOutput]:
    """The uncompiled graph of the filter; the default steps need no model, store or context.

    Args:
        steps: In their order; derive your own from `Step`.
        review: So many kept and so many dropped rows, drawn at random, are shown to a person at the
            end through `interrupt()`. Resume with `Command(resume={"keep": [ids], "drop": {id:
            reason}})`: dropped rows to keep after all, and kept ones to drop. Needs a checkpointer.

    Raises:
        InputError: no steps, two of one name, or something that is no step.
    """
    for step in steps or ():
        if not isinstance(step, Step):
            raise InputError(f"{step!r} is no step; derive it from matrix_graph.filtering.Step.")
    names = [step.name for step in steps or ()]
    if not names or len(set(names)) < len(names):
        raise InputError("A filter needs steps, each with a name of its own.")
    builder = Stage("filter", FilterState, Context, FilterInput, FilterOutput)
    for before, step in zip([START, *names], steps, strict=False):
        builder.add_node(step.name, _node(step, first=before == START))
        builder.add_edge(before, step.name)
    if review:
        builder.add_node(REVIEW, _reviewed(review))
        builder.add_edge(names[-1], REVIEW)
    builder.add_edge(REVIEW if review else names[-1], END)
    return builder


class _Node(Protocol):
    async def __call__(self, state: FilterState, runtime: Runtime[Context]) -> dict[str, Any]: ...


def _node(step: Step, *, first: bool) -> _Node:
    async def run(state: FilterState, runtime: Runtime[Context]) -> dict[str, Any]:
        # What an earlier invocation of the same thread dropped is not this one's.
        before = [] if first else state.get("rejections", [])
        rows = needed(state, "rows", '{"rows": [{"id": "1", "prompt": …, "completion": …}]}')
        check_ids(rows)
        if isinstance(step, Comparing):
            comparison = await _comparison(step, state, runtime)
            findings = await called(comparison.compare, rows)
        else:
            findings = await step(rows)
        drops = {finding.id: finding for finding in findings if isinstance(finding, Drop)}
        noted = with_notes(rows, findings)
        rejections = [_rejection(row, drop) for row in noted if (drop := drops.get(row["id"]))]
        left = [row for row in noted if row["id"] not in drops]
        counts = {"step": step.name, "dropped": len(rejections), "left": len(left)}
        runtime.stream_writer({"stage": "filter", "event": "step", **counts})
        return {"rows": left, "rejections": before + rejections}

    return run


async def _comparison(step: Comparing, state: FilterState, runtime: Runtime[Context]) -> Comparison:
    """The step's comparison with the `earlier` rows, or with those that the run has kept."""
    if "earlier" in state or not (runtime.store and runtime.context):
        return await seeded(step, state.get("earlier", []))
    return await comparison_of(step, await opened(runtime.context), runtime.store, state["rows"])


def with_notes(rows: Sequence[Row], findings: Sequence[Finding]) -> list[Row]:
    """The rows with the columns that `found` notes."""
    noted: dict[str, dict[str, Any]] = {}
    for finding in findings:
        if isinstance(finding, Note):
            noted.setdefault(finding.id, {}).update(finding.columns)
    return [_with(row, noted.get(row["id"])) for row in rows]


def _with(row: Row, columns: Mapping[str, Any] | None) -> Row:
    if not columns:
        return row
    gone = {name for name, value in columns.items() if value is None}
    return {name: value for name, value in {**row, **columns}.items() if name not in gone}


def _rejection(row: Row, drop: Drop) -> Rejection:
    return Rejection(
        id=row["id"],
        kind=row.get("kind", ""),
        rule=drop.rule,
        value=drop.value,
        threshold=drop.threshold,
        row=row,
    )


def _reviewed(size: int) -> Any:
    def review(state: FilterState) -> dict[str, Any]:
        rows, rejections = state["rows"], state.get("rejections", [])
        draw = random.Random(len(rows))
        shown = {
            "kept": draw.sample(rows, min(size, len(rows))),
            "dropped": draw.sample(rejections, min(size, len(rejections))),
        }
        kept, gone = {row["id"] for row in rows}, {r["id"] for r in rejections}
        back, out = ask(shown, lambda answer: _decided(answer, kept, gone))
        dropped = [
            _rejection(row, Drop(row["id"], "review", out[row["id"]], "a person"))
            for row in rows
            if row["id"] in out
        ]
        return {
            "rows": [row for row in rows if row["id"] not in out]
            + [r["row"] for r in rejections if r["id"] in back],
            "rejections": [r for r in rejections if r["id"] not in back] + dropped,
        }

    return review


def _decided(answer: Any, kept: set[str], gone: set[str]) -> tuple[set[str], dict[str, str]]:
    """The ids of dropped rows to keep, and the reasons by id for which kept rows go.

    Raises:
        InputError: the answer is of another form, or names other rows.
    """
    form = 'Resume with {"keep": [IDS], "drop": {ID: WHY}}, or {} to leave all as it is.'
    if not isinstance(answer, Mapping) or answer.keys() - {"keep", "drop"}:
        raise InputError(form)
    back, out = answer.get("keep", []), answer.get("drop", {})
    if not isinstance(back, list | tuple | set) or not isinstance(out, Mapping):
        raise InputError(form)
    kept_again, dropped = {str(one) for one in back}, {str(one): str(out[one]) for one in out}
    if strangers := (kept_again - gone) | (dropped.keys() - kept):
        raise InputError(f"No such row to keep or drop: {', '.join(sorted(strangers))}.")
    return kept_again, dropped
