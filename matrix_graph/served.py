"""The context of graphs behind a server, where each request brings one and may come from anybody:
it names no address and no path.

The models' server is that of MATRIX_GRAPH_BASE_URL, the user's own versions of prompts lie in
MATRIX_GRAPH_PROMPTS. Every thread has a journal of its own in MATRIX_GRAPH_JOURNALS, so that a
thread that is resumed pays for nothing twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Annotated

from pydantic.json_schema import SkipJsonSchema

from matrix_graph.context import Context

_JOURNALS = os.environ.get("MATRIX_GRAPH_JOURNALS", ".langgraph_api/journals")
"""Beside what `langgraph dev` itself keeps."""
# Not in the JSON schema either, by which Studio draws its form.
_Ours = Annotated[str | None, SkipJsonSchema()]


@dataclass(frozen=True, kw_only=True, eq=False)
class ServedContext(Context):
    """A `Context` whose addresses and paths are the server's, for `StateGraph(State, ...)`."""

    base_url: _Ours = field(default=os.environ.get("MATRIX_GRAPH_BASE_URL"), init=False)
    prompts: _Ours = field(default=os.environ.get("MATRIX_GRAPH_PROMPTS"), init=False)
    journals: _Ours = field(default=_JOURNALS, init=False)
    journal: _Ours = field(default=None, init=False)
    run: _Ours = field(default=None, init=False)
    branch_of: _Ours = field(default=None, init=False)
