"""Whoever looks on as a society lives: sees each turn as it is taken, may hold it up, may have it
taken again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.memory import EpisodicMemory
from matrix_graph.resources import Resources
from matrix_graph.schema import Action, Group, Scenario
from matrix_graph.society.state import Outcome, Turn


class Taken(NamedTuple):
    """A turn that was just taken, before anybody becomes aware of it; `action` is None where it
    failed.

    `again` takes it once more, with what was amended meanwhile.
    """

    group: Group
    turn: Turn
    outcome: Outcome
    action: Action | None
    res: Resources
    memory: EpisodicMemory
    again: Callable[[], Awaitable[Taken]]


class Watch(Protocol):
    """Is awaited by the society's nodes, in their event loop."""

    async def acted(self, taken: Taken) -> Taken:
        """The turn as it stands."""
        ...

    async def told(self, scenario: Scenario) -> None:
        """Hears a scenario as far as it has come, after each step and when it is closed."""
        ...


_watches: WeakKeyDictionary[Context, Watch] = WeakKeyDictionary()


@contextmanager
def watched(context: Context, by: Watch | None) -> Iterator[None]:
    """Have the runs under `context` watched meanwhile.

    Raises:
        InputError: somebody watches them already.
    """
    if by is None:
        yield
        return
    if context in _watches:
        raise InputError(
            "This run is watched already; close the other debugger, or give each a context of its "
            "own."
        )
    _watches[context] = by
    try:
        yield
    finally:
        del _watches[context]


def watching(context: Context) -> Watch | None:
    """Who watches, if anybody does."""
    return _watches.get(context)
