"""Whom an agent knows: the members of its group, and people of others of whom it has heard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matrix_graph.boundary.quoting import one_line
from matrix_graph.schema import Group, Persona

_MOST = 5
"""People of other groups whom an agent keeps in mind."""
_LONGEST = 160
_ELSEWHERE = "in another group, which reads only what is passed on"


def line_about(name: str, description: str) -> str:
    """A person in a line, cut at the end of a word."""
    text = one_line(f"{name}: {description}")
    return text if len(text) <= _LONGEST else text[:_LONGEST].rsplit(" ", 1)[0] + " …"


def acquaintances(persona: Persona, group: Group, known: Sequence[str]) -> list[str]:
    """Whom the person knows, a line each: its group first, then those whom it cannot write to."""
    members = [m for m in group.members if m.id != persona.id]
    nearby = [line_about(m.name, m.profile.description) for m in members]
    return [*nearby, *(f"{line} ({_ELSEWHERE})" for line in known)]


def with_new(known: Sequence[str], lines: Iterable[str]) -> list[str]:
    """The people of other groups that an agent knows of, with those of whom it hears now."""
    new = list(dict.fromkeys(lines))
    return [*(line for line in known if line not in new), *new][-_MOST:]
