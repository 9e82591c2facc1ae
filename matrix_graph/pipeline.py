"""The whole as one graph: a society lives, then rows are written and filtered batch by batch.

begin → society → batch ⇄ (generator → filter) → finish

Rows stay in the store: the state carries their ids. The last batch is followed by another as long
as rows are missing and there are sources to write them from.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.config import get_config
from langgraph.graph import END, START
from langgraph.runtime import Runtime
from langgraph.types import Command
from typing_extensions import TypedDict

from matrix_graph.context import Context
from matrix_graph.filtering.comparisons import note_kept
from matrix_graph.filtering.graph import DEFAULT_STEPS, create_filter
from matrix_graph.filtering.step import Step
from matrix_graph.generation.graph import create_generator
from matrix_graph.generation.requirements import read_requirements
from matrix_graph.generation.retrieval import Taken
from matrix_graph.resources import opened
from matrix_graph.schema import Group, Rejection, Row, requirement_of
from matrix_graph.society.graph import create_society
from matrix_graph.society.own_agents import Agent
from matrix_graph.stage import Stage, needed

BATCH = 256
"""Rows asked for at once, at most."""


class MatrixInput(TypedDict):
    """`quota` of scenarios, and the fields of each `Requirement` ."""

    quota: int
    wanted: list[dict[str, Any]]


class MatrixState(MatrixInput, total=False):
    """The run between its stages. `candidates` are the ids of the rows of one batch; `rows` are in
    no checkpoint.
    """

    closing: bool
    produced: int
    acted: int
    failed: int
    requirements: list[dict[str, Any]]
    taken: dict[str, list[Taken]]
    kept: dict[str, int]
    generated: dict[str, int]
    exhausted: bool
    candidates: list[str]
    rows: Annotated[list[Row], UntrackedValue]


class MatrixOutput(TypedDict, total=False):
    """Scenarios produced, actions in them, failures; per requirement the rows generated and kept,
    and the kept rows.
    """

    produced: int
    acted: int
    failed: int
    generated: dict[str, int]
    kept: dict[str, int]
    rows: list[Row]


def create_matrix(
    groups: Sequence[Group],
    *,
    steps: Sequence[Step] = DEFAULT_STEPS,
    agents: Mapping[str, Agent] | None = None,
    agent_checkpoints: bool = True,
) -> Stage[MatrixState, Context, MatrixInput, MatrixOutput]:
    """The uncompiled graph of a whole run.

    Compile it with a store, invoke it with `{"quota": N, "wanted": [{"kind": "sft", "count": N}]}`.
    It returns the kept rows; they, the scenarios and the rejections are in the store, too
    (`Records`).

    Args:
        groups, agents, agent_checkpoints: As for `create_society`.
        steps: As for `create_filter`.
    """
    generator = create_generator().compile(name="generator", checkpointer=False)
    chosen = create_filter(steps).compile(name="filter", checkpointer=False)

    async def generate(state: MatrixState, runtime: Runtime[Context]) -> dict[str, Any]:
        """Write the rows of a batch, and put them into the store."""
        records = (await opened(runtime.context)).records(runtime.store)
        given: Any = {"requirements": state["requirements"], "taken": state.get("taken", {})}
        written = await generator.ainvoke(given, _inside(), context=runtime.context)
        rows, failures = written["rows"], written["failures"]
        by_source = {f"generate-{failure['who']}": failure for failure in failures}
        await records.asave("failures", by_source, durable=False)
        await records.asave("candidates", {row["id"]: row for row in rows})
        return {
            "candidates": [row["id"] for row in rows],
            "taken": written["taken"],
            "failed": state.get("failed", 0) + len(failures),
            "exhausted": not (rows or failures),
        }

    async def filter_batch(state: MatrixState, runtime: Runtime[Context]) -> dict[str, Any]:
        """Filter the rows of a batch; keep what passes, as far as it is wanted."""
        resources = await opened(runtime.context)
        records = resources.records(runtime.store)
        rows = await records.asome("candidates", state["candidates"])
        given: Any = {"rows": rows}
        filtered = await chosen.ainvoke(given, _inside(), context=runtime.context)
        limits = {wanted.id: wanted.count for wanted in read_requirements(state["wanted"])}
        kept, surplus, counts = _within(filtered["rows"], limits, state.get("kept", {}))
        rejections = [*filtered["rejections"], *surplus]
        generated = Counter(state.get("generated", {}))
        generated.update(requirement_of(row) for row in rows)
        await records.asave("rejections", {r["id"]: r for r in rejections}, durable=False)
        await records.asave("samples", {row["id"]: row for row in kept}, durable=False)
        await resources.written(runtime.store)
        note_kept(resources, runtime.store, [row["id"] for row in kept])
        runtime.stream_writer({"stage": "filter", "event": "kept", "rows": len(kept)})
        return {"candidates": [], "kept": counts, "generated": dict(generated)}

    builder = Stage("matrix", MatrixState, Context, MatrixInput, MatrixOutput)
    society = create_society(groups, agents=agents, agent_checkpoints=agent_checkpoints)
    builder.add_node("begin", _begin)
    builder.add_node("society", society.compile(name="society"))
    builder.add_node("batch", _batch, destinations=("generator", "finish"))
    builder.add_node("generator", generate)
    builder.add_node("filter", filter_batch)
    builder.add_node("finish", _finish)
    builder.add_edge(START, "begin")
    builder.add_edge("begin", "society")
    builder.add_edge("society", "batch")
    builder.add_edge("generator", "filter")
    builder.add_edge("filter", "batch")
    builder.add_edge("finish", END)
    return builder


def _inside() -> RunnableConfig:
    """The configuration of a graph that runs inside a node, and makes no checkpoints.

    LangGraph 1.2 would have it wait for them under durability `sync`.
    """
    config = get_config()
    inside = {**config.get("configurable", {}), "__pregel_durability": "exit"}
    return {**config, "configurable": inside}


async def _begin(state: MatrixState) -> dict[str, Any]:
    """A thread that is invoked again goes on: rows that it kept count, and sources may be new."""
    example = '{"quota": 20, "wanted": [{"kind": "sft", "count": 10}]}'
    needed(state, "quota", example)
    read_requirements(needed(state, "wanted", example))
    counted = {name: state.get(name, {}) for name in ("taken", "kept", "generated")}
    return {**counted, "failed": 0, "exhausted": False, "closing": True}


async def _batch(state: MatrixState) -> Command[Literal["generator", "finish"]]:
    """Ask for as many rows as are missing, given how many of the sources so far gave one."""
    kept, taken = state.get("kept", {}), state.get("taken", {})
    requirements = []
    for wanted in read_requirements(state["wanted"]):
        have = kept.get(wanted.id, 0)
        missing = wanted.count - have
        if missing > 0 and not state.get("exhausted"):
            used = sum(number for _, number in taken.get(wanted.id, []))
            share = max(have / used, 0.1) if used else 1.0
            count = min(BATCH, math.ceil(missing / share))
            requirements.append(wanted.model_copy(update={"count": count}).model_dump())
    if not requirements:
        return Command(goto="finish")
    return Command(update={"requirements": requirements}, goto="generator")


async def _finish(state: MatrixState, runtime: Runtime[Context]) -> dict[str, Any]:
    records = (await opened(runtime.context)).records(runtime.store)
    return {"rows": await records.aall("samples")}


def _within(
    rows: Sequence[Row], limits: Mapping[str, int], before: Mapping[str, int]
) -> tuple[list[Row], list[Rejection], dict[str, int]]:
    """The rows that are still wanted, those that are not, and how many of each requirement there
    are then.
    """
    kept: list[Row] = []
    surplus: list[Rejection] = []
    counts = dict(before)
    for row in rows:
        wanted = requirement_of(row)
        limit = limits[wanted]
        if counts.get(wanted, 0) < limit:
            counts[wanted] = counts.get(wanted, 0) + 1
            kept.append(row)
            continue
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
    return kept, surplus, counts
