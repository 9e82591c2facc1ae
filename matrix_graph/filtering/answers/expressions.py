"""Comparing expressions with math-verify in a process of its own, which ends itself where that
takes too long: what a model wrote may be anything.
"""

from __future__ import annotations

import atexit
import faulthandler
import json
import logging
import os
import subprocess
import sys
import threading
from contextlib import suppress
from typing import Any

_SECONDS = 3.0
"""For one comparison; those of usual answers take milliseconds."""
_MEMORY = 2 << 30
"""Bytes, where the system can limit them."""
_FORGOTTEN = 10_000
"""Comparisons after which the process is a new one."""


def same_expression(given: str, truth: str) -> bool | None:
    """Whether two LaTeX expressions are the same; None where one of them is none, or where that
    takes too long. Safe to use from several threads.
    """
    return _comparer.ask(given, truth)


class _Comparer:
    """The process, started when it is needed first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._asked = 0

    def ask(self, given: str, truth: str) -> bool | None:
        with self._lock:
            self._asked += 1
            if self._asked % _FORGOTTEN == 0:
                self._end()
            process = self._process = self._process or self._started()
            assert process.stdin
            assert process.stdout
            answer = ""
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps([given, truth]) + "\n")
                process.stdin.flush()
                answer = process.stdout.readline()
            if not answer:
                self._end()
                return None
            verdict: bool | None = json.loads(answer)
            return verdict

    def end(self) -> None:
        with self._lock:
            self._end()

    def _started(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(BrokenPipeError):
            process.communicate()


_comparer = _Comparer()
atexit.register(_comparer.end)


def _compared(given: str, truth: str) -> bool | None:
    from math_verify import verify

    one, other = _parsed(given), _parsed(truth)
    if not one or not other:
        return None
    return bool(verify(other, one, timeout_seconds=None))


def _parsed(latex: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    try:
        return list(parse(f"${latex}$", [LatexExtractionConfig()], parsing_timeout=None))
    except Exception:  # noqa: BLE001 (whatever it stumbles over is no expression)
        return []


def _serve() -> None:
    """Answer each line of stdin, two expressions, with a verdict."""
    import math_verify  # noqa: F401 (its import counts as no part of a comparison)

    # It warns that it has no time limit.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for line in sys.stdin:
        faulthandler.dump_traceback_later(_SECONDS, exit=True)
        verdict = _compared(*json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(verdict), flush=True)


if __name__ == "__main__":
    _serve()
