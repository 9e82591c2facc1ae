"""Python's cycle collector, told to look less often while a society lives: a quarter of its CPU otherwise."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Collect every 20,000 new objects instead of 700, for the whole process, until the block ends.

    A society is some million long-lived objects, and every full collection visits them all.
    """
    before = gc.get_threshold()
    gc.set_threshold(10_000, 10, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
