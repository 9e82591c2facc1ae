"""A filter step: rows in, findings out. A finding drops a row, with rule, value and threshold, or
notes columns in it.

What is measured (by a model, a sandbox) is noted in the row; what is decided reads it there. So a
threshold can be moved afterwards at no call's cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any, NamedTuple, Protocol

from matrix_graph.schema import Row


class Drop(NamedTuple):
    """Why one row goes."""

    id: str
    rule: str
    value: float | str
    threshold: float | str


class Note(NamedTuple):
    """Columns that one row gets; those that are None it loses."""

    id: str
    columns: Mapping[str, Any]


Finding = Drop | Note


class Step(Protocol):
    """One rule or a few that belong together, or a measurement.

    A step may be a coroutine function; one that is not runs in a thread. A measurement names the
    columns that it notes in an attribute `measures`; a decision that compares by embeddings says so
    in `embeds`.

    Attributes:
        name: Its node in the graph.
        compares: Whether it looks at rows that were kept before.
    """

    @property
    def name(self) -> str: ...

    @property
    def compares(self) -> bool: ...

    def __call__(
        self, rows: Sequence[Row], earlier: Sequence[Row]
    ) -> Sequence[Finding] | Awaitable[Sequence[Finding]]:
        """The findings. `earlier` rows were kept before and are only compared with."""
        ...


async def findings_of(step: Step, rows: Sequence[Row], earlier: Sequence[Row]) -> Sequence[Finding]:
    """What `step` finds, whether it is a coroutine function or not."""
    called: Any = step
    is_coroutine = iscoroutinefunction(step) or iscoroutinefunction(type(step).__call__)
    found = (
        called(rows, earlier) if is_coroutine else await asyncio.to_thread(called, rows, earlier)
    )
    return list((await found if isawaitable(found) else found) or [])
