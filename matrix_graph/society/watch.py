"""Whoever looks on as a society lives: sees each turn as it is taken, may hold it up, may have it taken again."""

from __future__ import annotations

from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

from matrix_graph.context import Context, Resources
from matrix_graph.memory import EpisodicMemory
from matrix_graph.schema import Action, Group, Scenario
from matrix_graph.society.state import Outcome, Turn


class Taken(NamedTuple):
    """A turn that was just taken, before anybody becomes aware of it; `action` is None where it failed."""

    group: Group
    turn: Turn
    outcome: Outcome
    action: Action | None
    res: Resources
    memory: EpisodicMemory


class Watch(Protocol):
    """Is awaited by the society's nodes, in their event loop."""

    async def acted(self, taken: Taken) -> bool:
        """Whether the turn stands. If not it is taken again, with what was amended meanwhile."""
        ...

    async def told(self, scenario: Scenario) -> None:
        """Hears a scenario as far as it has come, after each step and when it is closed."""
        ...


_watches: WeakKeyDictionary[Context, Watch] = WeakKeyDictionary()


def watch_over(context: Context, by: Watch) -> None:
    """Have the runs under `context` watched."""
    _watches[context] = by


def watching(context: Context) -> Watch | None:
    """Who watches, if anybody does."""
    return _watches.get(context)
