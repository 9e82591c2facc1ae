"""The comparisons of a run: kept from batch to batch, and read from the store only once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from weakref import WeakKeyDictionary

from langgraph.store.base import BaseStore

from matrix_graph.filtering.step import Comparing, Comparison, called
from matrix_graph.resources import Resources
from matrix_graph.schema import Row


async def comparison_of(
    step: Comparing, resources: Resources, store: BaseStore, batch: Sequence[Row]
) -> Comparison:
    """The comparison of a step with all rows that the run has kept, but for those of the batch."""
    known = _known.setdefault(resources, WeakKeyDictionary()).setdefault(store, {})
    if known.get(step.name, (None,))[0] != step:
        ids = {row["id"] for row in batch}
        kept = [r for r in await resources.records(store).aall("samples") if r["id"] not in ids]
        known[step.name] = (step, await seeded(step, kept))
    return known[step.name][1]


async def seeded(step: Comparing, kept: Sequence[Row]) -> Comparison:
    """A comparison that knows the rows that were kept."""
    comparison = step.comparison()
    if kept:
        await called(comparison.compare, kept)
        comparison.keep([row["id"] for row in kept])
    return comparison


def note_kept(resources: Resources, store: BaseStore | None, ids: Collection[str]) -> None:
    """Tell the comparisons which rows of the last batch were kept."""
    if store is None:
        return
    known = _known.get(resources)
    for _, comparison in (known.get(store, {}) if known else {}).values():
        comparison.keep(ids)


_Known = WeakKeyDictionary[BaseStore, dict[str, tuple[Comparing, Comparison]]]
_known: WeakKeyDictionary[Resources, _Known] = WeakKeyDictionary()
