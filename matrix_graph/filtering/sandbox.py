"""Run untrusted Python where it can reach nothing: pydantic-monty's interpreter, in a worker
process of its own.

Monty interprets a subset of Python and has no files, network, processes or foreign modules to
offer; time and memory are bounded. What the subset lacks (such as generators) is an error like any
other.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

from matrix_graph.errors import InputError

if TYPE_CHECKING:
    from pydantic_monty import Monty

SECONDS, MEGABYTES = 2.0, 64
_REQUEST_SECONDS = 10.0


def check_sandbox() -> None:
    """See that code can be run.

    Raises:
        InputError: the package is not installed.
    """
    try:
        import pydantic_monty  # noqa: F401
    except ImportError as error:
        raise InputError(
            "Code is run in pydantic-monty's sandbox: pip install 'matrix-graph[code]'"
        ) from error


def run_code(code: str) -> str:
    """Run `code`; what went wrong in one line, or nothing.

    Raises:
        InputError: the package is not installed.
    """
    check_sandbox()
    from pydantic_monty import MontyError, MontySyntaxError, ResourceLimits

    limits = ResourceLimits(
        max_feed_duration_secs=SECONDS,
        max_memory=MEGABYTES * 2**20,
        max_recursion_depth=500,
        max_total_sleep_secs=0.0,
    )
    try:
        with _workers().checkout(limits=limits) as session:
            session.feed_run(code, print_callback=_unread)
    except MontyError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return f"{'SyntaxError: ' if isinstance(error, MontySyntaxError) else ''}{lines[0]}"[:200]
    return ""


def _unread(stream: str, text: str) -> None:
    """What a program prints is shown to nobody."""


_starting = threading.Lock()


def _workers() -> Monty:
    with _starting:
        return _started()


@cache
def _started() -> Monty:
    from pydantic_monty import Monty

    workers = Monty(min_processes=1, max_processes=2, request_timeout=_REQUEST_SECONDS)
    return workers.__enter__()
