"""The whole: society → generator ⇄ filter, until the rows asked for are kept or the source is
exhausted.

society → batch → generator → filter → collect
            ↑                             │
            └──────── rows missing ───────┘
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from langchain_core.runnables import Runnable
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command

from matrix_graph.context import Context, opened
from matrix_graph.filtering.graph import DEFAULT_STEPS, create_filter
from matrix_graph.filtering.step import Step
from matrix_graph.generation.graph import create_generator
from matrix_graph.generation.requirements import read_requirements
from matrix_graph.schema import Failure, Group, Rejection, Row, requirement_of
from matrix_graph.society.graph import create_society

BATCH = 256
"""Rows asked for at once, at most."""


class MatrixInput(TypedDict):
    """`quota` of scenarios, and the fields of each `Requirement` ."""

    quota: int
    wanted: list[dict[str, Any]]


class MatrixState(MatrixInput, total=False):
    """The run between its stages; `rows` and `rejections` are those of one batch."""

    produced: int
    acted: int
    failed: int
    requirements: list[dict[str, Any]]
    taken: dict[str, int]
    kept: dict[str, int]
    generated: dict[str, int]
    exhausted: bool
    rows: list[Row]
    failures: list[Failure]
    rejections: list[Rejection]


class MatrixOutput(TypedDict, total=False):
    """Scenarios produced, actions in them, failures, and per requirement the rows generated and
    kept.
    """

    produced: int
    acted: int
    failed: int
    generated: dict[str, int]
    kept: dict[str, int]


def create_matrix(
    groups: Sequence[Group],
    *,
    steps: Sequence[Step] = DEFAULT_STEPS,
    agents: Mapping[str, Runnable[Any, Any]] | None = None,
    agent_checkpoints: bool = True,
) -> StateGraph[MatrixState, Context, MatrixInput, MatrixOutput]:
    """The uncompiled graph of a whole run.

    Compile it with a store, invoke it with `{"quota": N, "wanted": [{"kind": "sft", "count": N}]}`;
    scenarios, kept rows and rejections are in the store afterwards (`Records`).

    Args:
        groups, agents, agent_checkpoints: As for `create_society`.
        steps: As for `create_filter`.
    """
    builder = StateGraph(MatrixState, Context, input_schema=MatrixInput, output_schema=MatrixOutput)
    society = create_society(groups, agents=agents, agent_checkpoints=agent_checkpoints)
    builder.add_node("society", society.compile(name="society"))
    builder.add_node("batch", _batch, destinations=("generator", END))
    builder.add_node("generator", create_generator().compile(name="generator"))
    builder.add_node("filter", create_filter(steps).compile(name="filter"))
    builder.add_node("collect", _collect)
    builder.add_edge(START, "society")
    builder.add_edge("society", "batch")
    builder.add_edge("generator", "filter")
    builder.add_edge("filter", "collect")
    builder.add_edge("collect", "batch")
    return builder


async def _batch(state: MatrixState) -> Command[Literal["generator", "__end__"]]:
    kept, tried = state.get("kept", {}), state.get("taken", {})
    requirements = []
    for wanted in read_requirements(state["wanted"]):
        have = kept.get(wanted.id, 0)
        missing = wanted.count - have
        if missing > 0 and not state.get("exhausted"):
            share = max(have / tried[wanted.id], 0.1) if tried.get(wanted.id) else 1.0
            count = min(BATCH, math.ceil(missing / share))
            requirements.append(wanted.model_copy(update={"count": count}).model_dump())
    if not requirements:
        return Command(goto="__end__")
    return Command(update={"requirements": requirements}, goto="generator")


async def _collect(state: MatrixState, runtime: Runtime[Context]) -> dict[str, Any]:
    records = (await opened(runtime.context)).records(runtime.store)
    rows, surplus = list[Row](), list[Rejection]()
    kept, generated = dict(state.get("kept", {})), Counter(state.get("generated", {}))
    limits = {wanted.id: wanted.count for wanted in read_requirements(state["wanted"])}
    for row in state["rows"]:
        wanted = requirement_of(row)
        if kept.get(wanted, 0) < limits[wanted]:
            kept[wanted] = kept.get(wanted, 0) + 1
            rows.append(row)
        else:
            limit = limits[wanted]
            surplus.append(
                Rejection(
                    id=row["id"],
                    kind=row["kind"],
                    rule="surplus",
                    value=limit + 1,
                    threshold=limit,
                    row=row,
                )
            )
    generated.update(
        map(requirement_of, [*state["rows"], *(r["row"] for r in state["rejections"])])
    )
    await records.save("samples", {row["id"]: row for row in rows})
    await records.save("rejections", {r["id"]: r for r in [*state["rejections"], *surplus]})
    await records.save("failures", {failure["who"]: failure for failure in state["failures"]})
    runtime.stream_writer({"stage": "filter", "event": "kept", "rows": len(rows)})
    return {
        "kept": kept,
        "generated": dict(generated),
        "failed": state.get("failed", 0) + len(state["failures"]),
        "exhausted": not (state["rows"] or state["rejections"] or state["failures"]),
    }
