"""From a source to a row: what this person would now ask, with the columns that the row's kind
calls for.
"""

from __future__ import annotations

from matrix_graph.generation.kinds import COLUMNS
from matrix_graph.generation.requirements import Requirement
from matrix_graph.generation.retrieval import Source
from matrix_graph.generation.writer import Writer
from matrix_graph.resources import Resources
from matrix_graph.schema import Row


async def synthesise(source: Source, requirement: Requirement, res: Resources) -> Row:
    """One row in TRL's layout with its provenance.

    Raises:
        CallFailed: the request or an answer could not be had.
    """
    writer = Writer(source, requirement, res)
    columns = await COLUMNS[requirement.kind](writer)
    scenario = source.scenario
    return {
        "id": row_id(requirement, source),
        "kind": requirement.kind,
        **columns,
        "category": writer.category,
        "complexity": writer.complexity,
        "language": requirement.language,
        "provenance": {
            "requirement": requirement.id,
            "scenario_id": scenario["id"],
            "agent_id": source.agent,
            "group": scenario["group"],
            "actions": [a["id"] for a in scenario["actions"] if a["agent"] == source.agent],
            "calls": writer.calls,
        },
    }


def row_id(requirement: Requirement, source: Source) -> str:
    """The id of the row that `requirement` gets from `source`."""
    return f"{requirement.id}-{source.id}"
