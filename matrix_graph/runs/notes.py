"""What one should know of what a run was given, though it can work."""

from __future__ import annotations

from collections.abc import Sequence

from matrix_graph.filtering.steps.language import unknown
from matrix_graph.generation.requirements import Requirement
from matrix_graph.runs.config import RunConfig
from matrix_graph.schema import Profile


def notes_on(
    config: RunConfig, profiles: Sequence[Profile], wanted: Sequence[Requirement]
) -> list[str]:
    """A sentence each: too few profiles, languages that cannot be checked."""
    notes = []
    if (clones := config.agents - len(profiles)) > 0:
        notes.append(
            f"{len(profiles)} profiles for {config.agents} agents: {clones} are clones of others, "
            "which is good for load tests only."
        )
    if unchecked := {unknown(w.language) for w in wanted} - {""}:
        notes.append(
            f"Whether rows are in {', '.join(sorted(unchecked))} cannot be checked; the detector "
            "does not know it."
        )
    return notes
