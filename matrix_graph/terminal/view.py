"""What a command shows while it works, and what it writes down of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from matrix_graph.boundary.files import append_to
from matrix_graph.boundary.screen import TextConsole
from matrix_graph.errors import InputError
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.progress import Progress
from matrix_graph.runs.shown import Listener, shown

Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="show no progress and no summary")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="show each event as a line")]
LogFile = Annotated[
    Path | None, typer.Option("--log-file", help="add each event to this file, as a line of JSON")
]


@dataclass(frozen=True)
class View:
    """How much is shown of the work, on `err`."""

    err: TextConsole
    quiet: bool = False
    verbose: bool = False
    log_file: Path | None = None

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        """What listens to the events of a run as long as the block lasts.

        Raises:
            InputError: the log file cannot be written.
        """
        progress = Progress()
        hearing: list[Listener] = [progress.listen]
        with ExitStack() as stack:
            if self.log_file:
                try:
                    log = stack.enter_context(append_to(self.log_file))
                except OSError as error:
                    raise InputError(f"Cannot write to --log-file: {error}") from error
                hearing.append(_logging(log, self.err))
            if self.verbose:
                hearing.append(lambda event: self.err.print(_line(event), soft_wrap=True))
            elif not self.quiet:
                stack.enter_context(shown(progress, self.err))

            def listen(event: dict[str, Any]) -> None:
                for hear in hearing:
                    hear(event)

            yield listen


def _logging(log: BinaryIO, err: TextConsole) -> Listener:
    """Add each event to `log`, for as long as it can be written."""
    failed = False

    def listen(event: dict[str, Any]) -> None:
        nonlocal failed
        try:
            if not failed:
                log.write(f"{_line(event)}\n".encode())
        except OSError as error:
            failed = True
            err.print(f"--log-file ends here: {error.strerror}", soft_wrap=True)

    return listen


def _line(event: dict[str, Any]) -> str:
    """An event with its time; what only a program could use is left out."""
    plain = {n: v for n, v in event.items() if isinstance(v, str | int | float | dict | list)}
    if isinstance(ended := event.get("ended"), Ended):
        plain["ended"] = ended.public()
    at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    return json.dumps({"time": at, **plain}, ensure_ascii=True, default=str)
