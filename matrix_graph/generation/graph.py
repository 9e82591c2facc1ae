"""MATRIX-Gen as a graph: pick the sources, then write their rows.

retrieve → synthesise
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langgraph.graph import END, START
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from matrix_graph.context import Context
from matrix_graph.errors import CallFailed, InputError
from matrix_graph.generation.requirements import read_requirements
from matrix_graph.generation.retrieval import Source, Taken, next_sources
from matrix_graph.generation.synthesis import row_id, synthesise
from matrix_graph.llm.tasks import gather_to_end
from matrix_graph.resources import Resources, opened
from matrix_graph.schema import Failure, Row, Scenario
from matrix_graph.stage import Stage, needed


class GeneratorInput(TypedDict, total=False):
    """What to write, from what.

    Attributes:
        requirements: Fields of `Requirement`.
        scenarios: The user's own, with the fields of `Scenario` as far as they go; those of the
            run's store if absent.
        taken: Per requirement, the sources that earlier batches used, as a batch returns them.
    """

    requirements: Sequence[Mapping[str, Any]]
    scenarios: Sequence[Mapping[str, Any]]
    taken: dict[str, list[Taken]]


class GeneratorState(GeneratorInput, total=False):
    """The generator within a batch. `sources`: requirement, scenario id, agent, attempt."""

    sources: list[tuple[str, str, str, int]]
    rows: list[Row]
    failures: list[Failure]


class GeneratorOutput(TypedDict):
    """The rows of the batch, what failed, and which sources are used."""

    rows: list[Row]
    failures: list[Failure]
    taken: dict[str, list[Taken]]


def create_generator() -> Stage[GeneratorState, Context, GeneratorInput, GeneratorOutput]:
    """The uncompiled graph of MATRIX-Gen.

    Invoke it with `{"requirements": [{"kind": "sft", "count": 8}], "scenarios": [...]}`, or compile
    it with the store of a society and leave `scenarios` out. A source whose call fails gives a
    failure with its reason in place of a row.
    """
    builder = Stage("generator", GeneratorState, Context, GeneratorInput, GeneratorOutput)
    builder.add_node("retrieve", _retrieve)
    builder.add_node("synthesise", _synthesise)
    builder.add_edge(START, "retrieve")
    builder.add_edge("retrieve", "synthesise")
    builder.add_edge("synthesise", END)
    return builder


async def _retrieve(state: GeneratorState, runtime: Runtime[Context]) -> dict[str, Any]:
    needed(state, "requirements", '{"requirements": [{"kind": "sft", "count": 10}]}')
    res = await opened(runtime.context)
    scenarios = await _scenarios(state, res, runtime)
    taken = dict(state.get("taken", {}))
    picked: list[tuple[str, str, str, int]] = []
    for requirement in read_requirements(state["requirements"]):
        batch, taken[requirement.id] = await next_sources(
            scenarios,
            requirement.domain,
            res.embedder,
            runtime.context.seed,
            requirement.count,
            taken.get(requirement.id, []),
        )
        picked += [(requirement.id, s.scenario["id"], s.agent, s.attempt) for s in batch]
    return {"sources": picked, "taken": taken}


async def _synthesise(state: GeneratorState, runtime: Runtime[Context]) -> dict[str, Any]:
    res = await opened(runtime.context)
    scenarios = {s["id"]: s for s in await _scenarios(state, res, runtime)}
    requirements = {r.id: r for r in read_requirements(state["requirements"])}

    async def one(wanted: str, scenario: str, agent: str, attempt: int) -> Row | Failure:
        source, requirement = Source(scenarios[scenario], agent, attempt), requirements[wanted]
        try:
            row = await synthesise(source, requirement, res)
        except CallFailed as error:
            who = row_id(requirement, source)
            return Failure(stage="generate", who=who, reason=error.reason, call=error.slot)
        runtime.stream_writer({"stage": "generate", "event": "row", "id": row["id"]})
        return row

    results = await gather_to_end(one(*source) for source in state["sources"])
    return {
        "rows": [r for r in results if "stage" not in r],
        "failures": [r for r in results if "stage" in r],
    }


async def _scenarios(
    state: GeneratorState, res: Resources, runtime: Runtime[Context]
) -> list[Scenario]:
    scenarios: Any = state.get("scenarios")
    if scenarios is None:
        scenarios = await res.records(runtime.store).aall("scenarios")
    return [_whole(scenario) for scenario in scenarios]


def _whole(scenario: Mapping[str, Any]) -> Scenario:
    """A scenario of the user's own, with what may be left out.

    Raises:
        InputError: it lacks what may not.
    """
    for name in ("id", "agents", "actions"):
        if name not in scenario:
            raise InputError(f"A scenario needs {name!r}: {scenario!r:.100}")
    for action in scenario["actions"]:
        if not {"id", "agent", "text"} <= action.keys():
            raise InputError(f"An action needs 'id', 'agent' and 'text': {action!r:.100}")
    left_out = {"group": "", "round": 0, "summary": ""}
    return cast("Scenario", left_out | dict(scenario))
