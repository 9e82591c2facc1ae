"""Terminals: all text goes to one through here, and none of it is a command to the terminal."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from matrix_graph.boundary.text import inert


class TextConsole(Console):
    """A console to which text is text: no markup, no escapes but ours. Options as for rich's.

    Where nobody reads standard error any more, what is shown there is dropped.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich has it, each piece of text made inert."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=inert(segment.text))

    def on_broken_pipe(self) -> None:
        """Go on without, on standard error; on standard output, end as rich does."""
        if self.stderr:
            self.quiet = True
        else:
            super().on_broken_pipe()


def print_json(value: Any) -> None:
    """A line of JSON in ASCII on standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=True, allow_nan=False, default=str) + "\n")


class TextHandler(logging.Handler):
    """Warnings of libraries, which may quote anybody, on standard error."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._console = TextConsole(stderr=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Show the message of a record."""
        try:
            self._console.print(f"{record.name}: {record.getMessage()}"[:2000], soft_wrap=True)
        except Exception:  # noqa: BLE001 (as every handler of logging)
            self.handleError(record)
