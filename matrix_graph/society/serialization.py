"""The society of a run as a file: who lives in it and in which group, read again on resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from matrix_graph.schema import Group, Persona, Profile


def groups_to_json(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Groups as JSON-ready data."""
    return [{"id": g.id, "members": [asdict(m) for m in g.members]} for g in groups]


def groups_from_json(data: Sequence[dict[str, Any]]) -> tuple[Group, ...]:
    """Groups from what `groups_to_json` made."""
    return tuple(Group(g["id"], tuple(map(_persona, g["members"]))) for g in data)


def _persona(fields: dict[str, Any]) -> Persona:
    profile = fields["profile"]
    return Persona(
        Profile(**{**profile, "posts": tuple(profile["posts"])}),
        fields["personality"],
        fields["goal"],
        tuple(fields["plan"]),
    )
