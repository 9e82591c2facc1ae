"""What a process that holds a society asks of Python's collector and of the C library's heap."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_M_ARENA_MAX = -8


@contextmanager
def tuned_process() -> Iterator[None]:
    """For the whole process: look for garbage cycles seldom until the block ends, and keep one heap
    for good.

    A society is some million long-lived objects, and each full collection visits them all: looking
    at Python's usual rate takes a quarter of a run's CPU. glibc gives each thread a heap of its
    own, of which Chroma's and SQLite's leave a tenth of the memory lying idle; elsewhere nothing is
    changed.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    before = gc.get_threshold()
    gc.set_threshold(10_000, 10, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
