"""Breakpoints: where a debugger stops by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, cast, get_args

from matrix_graph.errors import InputError
from matrix_graph.runs.moments import Moment

BreakKind = Literal["agent", "group", "to", "text", "failure"]
"""Stop when an agent acts, a group does, somebody is told of it, a pattern matches it, or something
failed.
"""


class Break(NamedTuple):
    """A breakpoint; `agent` is the id of whom `what` names."""

    kind: BreakKind
    what: str
    agent: str = ""


def breakpoint_on(kind: str, what: str, agent: str, groups: Sequence[str]) -> Break:
    """A breakpoint that can be hit.

    Raises:
        InputError: no such kind, no such group, or no regular expression.
    """
    if kind not in get_args(BreakKind):
        raise InputError(
            f"There is no breakpoint {kind!r}; there are {', '.join(get_args(BreakKind))}."
        )
    if kind == "group" and what not in groups:
        raise InputError(f"There is no group {what!r}; there are {', '.join(groups)}.")
    if kind == "text":
        try:
            re.compile(what)
        except re.error as error:
            raise InputError(f"{what!r} is no regular expression: {error}") from error
    return Break(cast("BreakKind", kind), what, agent)


def hits(point: Break, moment: Moment) -> bool:
    """Whether the breakpoint holds at the moment."""
    if point.kind == "failure":
        return moment.failure is not None
    if point.kind == "group":
        return moment.scenario["group"] == point.what
    if point.kind == "text":
        return moment.action is not None and bool(re.search(point.what, moment.action["text"]))
    if point.kind == "agent":
        return moment.agent == point.agent
    return moment.action is not None and point.agent in moment.action["recipients"]
