"""The society of a run as a file: who lives in it and in which group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from matrix_graph.schema import Group


def groups_to_json(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Groups as JSON-ready data."""
    return [{"id": g.id, "members": [asdict(m) for m in g.members]} for g in groups]
