"""The four graphs as `langgraph dev` and Studio find them (langgraph.json), uncompiled.

The society is that of the run whose folder MATRIX_GRAPH_RUN names. Without it six of the shipped
people live there, with plans that no model wrote. Give a run its models in `context`, such as
`{"model": "openai:NAME"}`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeVar

from langgraph.graph import StateGraph

from matrix_graph.filtering.graph import create_filter
from matrix_graph.generation.graph import create_generator
from matrix_graph.pipeline import create_matrix
from matrix_graph.runs.received import read_society
from matrix_graph.schema import Group, Persona, Profile
from matrix_graph.served import ServedContext
from matrix_graph.society.graph import create_society
from matrix_graph.society.profiles import load_profiles

_SIZE, _GROUPS = 3, 2
_PLAN = (
    "Take up again what the last post was about",
    "Tell somebody whom it concerns",
    "Ask somebody for what is missing",
    "Decide what comes next",
)


def _groups() -> tuple[Group, ...]:
    if folder := os.environ.get("MATRIX_GRAPH_RUN"):
        return read_society(Path(folder) / "society.json")[0]
    people = [_unwritten(profile) for profile in load_profiles()[0][: _SIZE * _GROUPS]]
    return tuple(
        Group(f"group-{n + 1:03}", tuple(people[n * _SIZE : (n + 1) * _SIZE]))
        for n in range(_GROUPS)
    )


def _unwritten(profile: Profile) -> Persona:
    return Persona(profile, "as the posts show", "to see through what the posts are about", _PLAN)


Graph = TypeVar("Graph", bound=StateGraph[Any, Any, Any, Any])


def _served(graph: Graph) -> Graph:
    graph.context_schema = ServedContext
    return graph


society = _served(create_society(_groups()))
generator = _served(create_generator())
filter_graph = _served(create_filter())
matrix = _served(create_matrix(_groups()))
