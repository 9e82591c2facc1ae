"""A filter step: rows in, the dropped ones out, each with rule, value and threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from matrix_graph.schema import Row


class Drop(NamedTuple):
    """Why one row goes."""

    id: str
    rule: str
    value: float | str
    threshold: float | str


class Step(Protocol):
    """One rule or a few that belong together.

    Attributes:
        name: Its node in the graph.
        compares: Whether it looks at rows that were kept before.
    """

    @property
    def name(self) -> str: ...

    @property
    def compares(self) -> bool: ...

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        """The rows that go. `earlier` rows were kept before and are only compared with."""
        ...
