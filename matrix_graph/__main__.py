"""The command line: `matrix-graph`, or `python -m matrix_graph`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from matrix_graph.terminal.cli import app

_STOPPED = tuple(128 + name for name in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM))
"""Exit codes of a command that a signal stopped."""


def main() -> None:
    """Run a command, and end this process with its exit code.

    One that was stopped ends at once: by then all is written, and to take an interpreter down with
    all that a run loads takes seconds.
    """
    try:
        app()
    except SystemExit as end:
        if end.code not in _STOPPED:
            raise
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(end.code)


if __name__ == "__main__":
    main()
