"""The four graphs as `langgraph dev` and Studio find them (langgraph.json), uncompiled.

The society is that of the run whose folder MATRIX_GRAPH_RUN names. Without it six of the shipped
people live there, with plans that no model wrote. Give a run its models in `context`, such as
`{"model": "openai:NAME"}`. Every thread has a journal of its own in MATRIX_GRAPH_JOURNALS, so that
a thread that is resumed pays for nothing twice.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from langgraph.graph import StateGraph

from matrix_graph.context import Context
from matrix_graph.filtering.graph import create_filter
from matrix_graph.generation.graph import create_generator
from matrix_graph.pipeline import create_matrix
from matrix_graph.schema import Group, Persona, Profile
from matrix_graph.society.graph import create_society
from matrix_graph.society.profiles import load_profiles
from matrix_graph.society.serialization import groups_from_json

_JOURNALS = os.environ.get("MATRIX_GRAPH_JOURNALS", ".langgraph_api/journals")
"""Beside what `langgraph dev` itself keeps."""
_SIZE, _GROUPS = 3, 2
_PLAN = (
    "Take up again what the last post was about",
    "Tell somebody whom it concerns",
    "Ask somebody for what is missing",
    "Decide what comes next",
)


def _groups() -> tuple[Group, ...]:
    if folder := os.environ.get("MATRIX_GRAPH_RUN"):
        return groups_from_json(
            json.loads(Path(folder, "society.json").read_text("utf-8"))["groups"]
        )
    people = [_unwritten(profile) for profile in load_profiles()[0][: _SIZE * _GROUPS]]
    return tuple(
        Group(f"group-{n + 1:03}", tuple(people[n * _SIZE : (n + 1) * _SIZE]))
        for n in range(_GROUPS)
    )


def _unwritten(profile: Profile) -> Persona:
    return Persona(profile, "as the posts show", "to see through what the posts are about", _PLAN)


Graph = TypeVar("Graph", bound=StateGraph[Any, Any, Any, Any])


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedContext(Context):
    """A context that each request brings anew."""

    journals: str | Path | None = _JOURNALS


def _served(graph: Graph) -> Graph:
    graph.context_schema = ServedContext
    return graph


society = _served(create_society(_groups()))
generator = _served(create_generator())
filter_graph = _served(create_filter())
matrix = _served(create_matrix(_groups()))
