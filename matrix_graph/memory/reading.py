"""What a store's reading operations return."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Result,
    SearchItem,
    SearchOp,
)

from matrix_graph.memory.batch import Batch
from matrix_graph.memory.lifetimes import Lifetimes
from matrix_graph.memory.matrix import Vectors
from matrix_graph.memory.mirror import Mirror
from matrix_graph.memory.rows import Namespace, Stored


def results_of(
    batch: Batch, stored: Mapping[str, Stored], mirror: Mirror, lifetimes: Lifetimes
) -> list[Result]:
    """The results of a batch, None for its puts.

    Args:
        stored: The items that it gets by id, as far as there are any.

    Raises:
        ValueError: a filter has an unknown operator.
    """
    results: list[Result] = [None] * len(batch.ops)
    for place, op in enumerate(batch.ops):
        if isinstance(op, GetOp):
            item = stored.get(batch.gets[place])
            if item and not lifetimes.is_over(item):
                results[place] = Item(**_fields_of(item))
                lifetimes.refresh([item], op.refresh_ttl, mirror)
        elif isinstance(op, SearchOp):
            query = batch.embedded.queries.get(op.query or "")
            results[place] = _search(op, query, mirror, lifetimes)
        elif isinstance(op, ListNamespacesOp):
            results[place] = _namespaces(op, mirror, lifetimes)
    return results


def _search(
    op: SearchOp, query: Vectors | None, mirror: Mirror, lifetimes: Lifetimes
) -> list[SearchItem]:
    ids = mirror.under(op.namespace_prefix)
    over = lifetimes.over()
    if over:
        ids = [name for name in ids if name not in over]
    if op.filter:
        ids = mirror.fitting(ids, op.filter)
    wanted = op.offset + op.limit
    best: list[tuple[str, float]] = []
    if query is not None:
        best = mirror.nearest(query, ids, wanted, op.namespace_prefix)
    scores: dict[str, float | None] = dict(best)
    page = [name for name, _ in best[:wanted]]
    # As in LangGraph's own stores, items without a vector fill up the page.
    for name in ids:
        if len(page) >= wanted:
            break
        if name not in scores:
            page.append(name)
    stored = mirror.get(page[op.offset :])
    items = [stored[name] for name in page[op.offset :] if name in stored]
    lifetimes.refresh(items, op.refresh_ttl, mirror)
    return [SearchItem(**_fields_of(item), score=scores.get(item.id)) for item in items]


def _namespaces(op: ListNamespacesOp, mirror: Mirror, lifetimes: Lifetimes) -> list[Namespace]:
    over = lifetimes.over()
    fitting = [
        namespace
        for namespace, ids in mirror.namespaces.items()
        if all(_fits(condition, namespace) for condition in op.match_conditions or ())
        and not (over and over.issuperset(ids))
    ]
    cut = {ns[: op.max_depth] if op.max_depth is not None else ns for ns in fitting}
    return sorted(cut)[op.offset : op.offset + op.limit]


def _fields_of(item: Stored) -> dict[str, Any]:
    return {
        "value": item.value,
        "key": item.key,
        "namespace": item.namespace,
        "created_at": datetime.fromisoformat(item.created),
        "updated_at": datetime.fromisoformat(item.updated),
    }


def _fits(condition: MatchCondition, namespace: Namespace) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = (
        namespace[: len(path)]
        if condition.match_type == "prefix"
        else namespace[len(namespace) - len(path) :]
    )
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
