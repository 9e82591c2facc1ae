"""The filter as a graph: one node a step, in a line; what a step drops goes no further.

form → code → exact_duplicates → near_duplicates → contamination
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from matrix_graph.context import Context, opened
from matrix_graph.errors import InputError
from matrix_graph.filtering.code import TestsPass
from matrix_graph.filtering.duplicates import ExactDuplicates, NearDuplicates
from matrix_graph.filtering.form import Form
from matrix_graph.filtering.step import Step
from matrix_graph.schema import Rejection, Row


class FilterInput(TypedDict, total=False):
    """Rows in a TRL layout, each with an `id`.

    `earlier` rows are only compared with; by default those that the run in the graph's store has kept.
    """

    rows: list[Row]
    earlier: list[Row]


class FilterState(FilterInput, total=False):
    """The rows that are left, and those dropped so far."""

    rejections: Annotated[list[Rejection], operator.add]


class FilterOutput(TypedDict):
    """The kept rows in the order given, and the dropped ones with rule, value and threshold."""

    rows: list[Row]
    rejections: list[Rejection]


DEFAULT_STEPS: tuple[Step, ...] = (Form(), TestsPass(), ExactDuplicates(), NearDuplicates())


def create_filter(steps: Sequence[Step] = DEFAULT_STEPS) -> StateGraph[FilterState, Context, FilterInput, FilterOutput]:
    """The uncompiled graph of the filter; it needs no model, store or context.

    Args:
        steps: Any callables with a `name` that fit `Step`, in their order.

    Raises:
        InputError: no steps, or two of one name.
    """
    names = [step.name for step in steps]
    if not names or len(set(names)) < len(names):
        raise InputError("A filter needs steps, each with a name of its own.")
    builder = StateGraph(FilterState, Context, input_schema=FilterInput, output_schema=FilterOutput)
    for before, step in zip([START, *names], steps, strict=False):
        builder.add_node(step.name, _node(step))
        builder.add_edge(before, step.name)
    builder.add_edge(names[-1], END)
    return builder


class _Node(Protocol):
    async def __call__(self, state: FilterState, runtime: Runtime[Context]) -> dict[str, Any]: ...


def _node(step: Step) -> _Node:
    async def run(state: FilterState, runtime: Runtime[Context]) -> dict[str, Any]:
        earlier = await _earlier(state, runtime) if step.compares else []
        drops = {d.id: d for d in await asyncio.to_thread(step, state["rows"], earlier)}
        rejections = [
            Rejection(id=d.id, kind=row.get("kind", ""), rule=d.rule, value=d.value, threshold=d.threshold, row=row)
            for row in state["rows"]
            if (d := drops.get(row["id"]))
        ]
        runtime.stream_writer({"stage": "filter", "event": "step", "step": step.name, "dropped": len(drops)})
        return {"rows": [row for row in state["rows"] if row["id"] not in drops], "rejections": rejections}

    return run


async def _earlier(state: FilterState, runtime: Runtime[Context]) -> list[Row]:
    if "earlier" in state or not (runtime.store and runtime.context):
        return state.get("earlier", [])
    batch = {row["id"] for row in state["rows"]}
    kept = await (await opened(runtime.context)).records(runtime.store).all("samples")
    return [row for row in kept if row["id"] not in batch]
