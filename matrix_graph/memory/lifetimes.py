"""How long a store's items live: which are over, what reading one changes, and who deletes them."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from langgraph.store.base import TTLConfig

from matrix_graph.errors import MatrixError
from matrix_graph.memory.indexing import checked_keys
from matrix_graph.memory.mirror import Mirror
from matrix_graph.memory.rows import Rows, Stored

_KEYS = ("default_ttl", "refresh_on_read", "omit_expired", "sweep_interval_minutes")


class Lifetimes:
    """The times to live in a collection.

    Args:
        postponed: When items that were read expire now, as far as that was not yet written; shared
            by all stores of a folder.
        at_once: Write what reading changes at once, since other processes may look.
    """

    def __init__(
        self, rows: Rows, config: TTLConfig | None, postponed: dict[str, float], *, at_once: bool
    ) -> None:
        checked_keys("ttl", config or {}, _KEYS)
        self._rows = rows
        self._omits = bool((config or {}).get("omit_expired"))
        self._refreshes = bool((config or {}).get("refresh_on_read"))
        self._postponed = postponed
        self._at_once = at_once

    def over(self) -> set[str]:
        """The items that are still there though their time is over, where these are left out."""
        if not self._omits:
            return set()
        now = time.time()
        later = {name for name, end in self._postponed.items() if end > now}
        return set(self._rows.expired(now)) - later

    def is_over(self, item: Stored) -> bool:
        """Whether an item is left out since its time is over."""
        if item.expires is None or not self._omits:
            return False
        return max(item.expires, self._postponed.get(item.id, 0)) <= time.time()

    def refresh(self, items: Sequence[Stored], wanted: bool, mirror: Mirror) -> None:
        """Take in that items were read."""
        if not wanted or not self._refreshes:
            return
        for item in items:
            if item.ttl is not None:
                end = time.time() + 60 * item.ttl
                self._postponed[item.id] = end
                mirror.postpone(item.id, end)
        if self._at_once:
            self.write()

    def write(self, but: Iterable[str] = ()) -> None:
        """Write what reading changed, except of items that are being replaced."""
        for name in but:
            self._postponed.pop(name, None)
        if self._postponed:
            self._rows.postpone(self._postponed)
            self._postponed.clear()


class Swept(Protocol):
    """A store whose expired items can be deleted."""

    def sweep_ttl(self) -> int: ...


class Sweeper(threading.Thread):
    """Sweeps a store every so many seconds for as long as there is one."""

    def __init__(self, store: Swept, seconds: float) -> None:
        super().__init__(daemon=True, name="ttl-sweeper")
        self._store = weakref.ref(store)
        self._seconds = seconds
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._seconds):
            store = self._store()
            if store is None:
                return
            with suppress(MatrixError):  # the next sweep makes it good
                store.sweep_ttl()
            del store

    def stop(self, timeout: float | None) -> bool:
        """Stop; whether that was done within `timeout` seconds."""
        self._stopped.set()
        self.join(timeout)
        return not self.is_alive()
