"""A store beside a dictionary, for random sequences of operations."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from langgraph.store.base import BaseStore, GetOp, Op, PutOp

Key = tuple[tuple[str, ...], str]
_labels = st.sampled_from(["a", "b", "B", "ä", "x y", "1", "a_b", "%", "日本"])
_keys = st.sampled_from(["k", "K", "k k", "ö", "1", "a.b", "*", "'"])
_leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "x", "red", "ö'\""])
_values = st.fixed_dictionaries(
    {"n": st.integers(-3, 3), "text": st.sampled_from(["red boat", "oven", "a ledger"])},
    optional={"more": st.recursive(_leaves, lambda v: st.lists(v, max_size=2), max_leaves=4)},
)
_filters = st.sampled_from(
    [None, {"n": 1}, {"n": {"$gt": 0}}, {"n": {"$lte": 0}}, {"n": {"$ne": 2}}, {"text": "oven"}]
)


class Life(RuleBasedStateMachine):
    """A store beside a dictionary."""

    def __init__(self, store: BaseStore) -> None:
        super().__init__()
        self.store = store
        self.model: dict[Key, dict[str, Any]] = {}

    @initialize()
    def begin(self) -> None:
        """Take a label that nobody else uses."""
        self.root = uuid4().hex

    def _under(self, prefix: tuple[str, ...]) -> dict[Key, dict[str, Any]]:
        n = len(prefix)
        return {key: value for key, value in self.model.items() if key[0][:n] == prefix}

    @rule(labels=st.lists(_labels, max_size=2), key=_keys, value=_values)
    def put(self, labels: list[str], key: str, value: dict[str, Any]) -> None:
        """Put one item."""
        namespace = (self.root, *labels)
        self.store.put(namespace, key, value)
        self.model[namespace, key] = value

    @rule(labels=st.lists(_labels, max_size=2), key=_keys)
    def delete(self, labels: list[str], key: str) -> None:
        """Delete one, there or not."""
        namespace = (self.root, *labels)
        self.store.delete(namespace, key)
        self.model.pop((namespace, key), None)

    @rule(
        changes=st.lists(
            st.tuples(st.lists(_labels, max_size=1), _keys, st.none() | _values), max_size=4
        )
    )
    def batch(self, changes: list[tuple[list[str], str, dict[str, Any] | None]]) -> None:
        """Put and get several at once; reads come first."""
        ops: list[Op] = []
        for labels, key, value in changes:
            ops += [
                PutOp((self.root, *labels), key, value),
                GetOp((self.root, *labels), key),
            ]
        results = self.store.batch(ops)
        for (labels, key, _), item in zip(changes, results[1::2], strict=True):
            before = self.model.get(((self.root, *labels), key))
            assert (item.value if item else None) == before  # type: ignore[union-attr]
        for labels, key, value in changes:
            self.model.pop(((self.root, *labels), key), None)
            if value is not None:
                self.model[(self.root, *labels), key] = value

    @rule(labels=st.lists(_labels, max_size=2), key=_keys)
    def get(self, labels: list[str], key: str) -> None:
        """Get one, there or not."""
        item = self.store.get((self.root, *labels), key)
        assert (item.value if item else None) == self.model.get(((self.root, *labels), key))

    @rule(labels=st.lists(_labels, max_size=1), wanted=_filters)
    def search(self, labels: list[str], wanted: dict[str, Any] | None) -> None:
        """List what is under a prefix and fits."""
        prefix = (self.root, *labels)
        items = {
            (i.namespace, i.key): i.value
            for i in self.store.search(prefix, filter=wanted, limit=200)
        }
        assert items == {
            key: value for key, value in self._under(prefix).items() if _fits(value, wanted)
        }

    @rule(labels=st.lists(_labels, max_size=1), query=st.sampled_from(["red boat", "oven"]))
    def similar(self, labels: list[str], query: str) -> None:
        """Rank what is under a prefix: equal texts come first."""
        prefix = (self.root, *labels)
        items = self.store.search(prefix, query=query, limit=200)
        there = self._under(prefix)
        equal = {key for key, value in there.items() if value["text"] == query}
        assert {(i.namespace, i.key) for i in items[: len(equal)]} == equal
        assert len(items) == len({(i.namespace, i.key) for i in items})
        assert {(i.namespace, i.key) for i in items} <= set(there)

    @rule()
    def namespaces(self) -> None:
        """List namespaces."""
        listed = set(self.store.list_namespaces(prefix=(self.root,), limit=500))
        assert listed >= {namespace for namespace, _ in self.model}


def _fits(value: dict[str, Any], wanted: dict[str, Any] | None) -> bool:
    for name, limit in (wanted or {}).items():
        bounds = limit if isinstance(limit, dict) else {"$eq": limit}
        for op, bound in bounds.items():
            part = value[name]
            tests = {
                "$eq": part == bound,
                "$ne": part != bound,
                "$gt": part > bound,
                "$lte": part <= bound,
            }
            if not tests[op]:
                return False
    return True
