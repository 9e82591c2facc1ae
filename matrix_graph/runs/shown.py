"""Progress where somebody looks: bars on a terminal, a line every half minute where there is none,
a table in a notebook.
"""

from __future__ import annotations

import asyncio
import html
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from matrix_graph.boundary.screen import TextConsole
from matrix_graph.runs.progress import Progress, Stage

Listener = Callable[[dict[str, Any]], None]
EVERY = 30.0
"""Seconds between lines."""
_REDRAWN = 0.4
_BAD_ROWS = 5


@contextmanager
def shown(progress: Progress, console: TextConsole | None = None) -> Iterator[None]:
    """Show `progress` as long as the block lasts, in a way that goes with the place."""
    console = console or TextConsole(stderr=True)
    if _in_notebook():
        show: Any = _in_cell(progress)
    elif console.is_terminal:
        show = _on_terminal(progress, console)
    else:
        show = _in_lines(progress, console)
    with show:
        yield


@contextmanager
def listening(listen: Listener | None, show: bool | None) -> Iterator[Listener]:
    """What listens to a run: `listen`, and progress where it is wanted (if None, in a notebook and
    on a terminal).
    """
    hear = listen or (lambda _: None)
    if not (show or (show is None and (_in_notebook() or _on_screen()))):
        yield hear
        return
    progress = Progress()

    def both(event: dict[str, Any]) -> None:
        progress.listen(event)
        hear(event)

    with shown(progress):
        yield both


@contextmanager
def _redrawn(draw: Any, every: float) -> Iterator[None]:
    """Call `draw` every so many seconds, in a thread of its own, and once more at the end."""
    over = threading.Event()

    def redraw() -> None:
        # Where nothing can be shown any more, the work goes on.
        with suppress(OSError, ValueError):
            draw()

    def work() -> None:
        while not over.wait(every):
            redraw()

    thread = threading.Thread(target=work, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        redraw()


@contextmanager
def _on_terminal(progress: Progress, console: TextConsole) -> Iterator[None]:
    columns = (
        TextColumn("{task.description:<12}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        TimeElapsedColumn(),
    )
    bars, tasks = Bars(*columns, console=console), dict[str, TaskID]()
    told = False

    def draw() -> None:
        nonlocal told
        if progress.stages and not told:
            told = True
            for line in _noted(progress):
                console.print(line)
        stages = list(progress.stages.values())
        latest = max(stages, key=lambda stage: stage.seen, default=None)
        for stage in stages:
            if stage.name not in tasks:
                tasks[stage.name] = bars.add_task(stage.name, count="", note="")
            parts = (stage.note, stage.speed, progress.used if stage is latest else "")
            bars.update(
                tasks[stage.name],
                total=stage.total,
                completed=stage.done,
                count=_count(stage),
                note="; ".join(filter(None, parts)),
            )

    with bars, _redrawn(draw, _REDRAWN):
        yield


@contextmanager
def _in_lines(progress: Progress, console: TextConsole) -> Iterator[None]:
    began, last = time.monotonic(), ""
    told = False

    def draw() -> None:
        nonlocal last, told
        if progress.stages and not told:
            told = True
            for noted in _noted(progress):
                console.print(noted, soft_wrap=True)
        if progress.line != last and time.monotonic() - began >= EVERY:
            last = progress.line
            console.print(f"{time.strftime('%H:%M:%S')} {last}", soft_wrap=True)

    with _redrawn(draw, EVERY):
        yield


@contextmanager
def _in_cell(progress: Progress) -> Iterator[None]:
    from IPython import display

    shown: Any = display
    handle = shown.display(shown.HTML(""), display_id=True)
    loop = asyncio.get_running_loop()

    def draw() -> None:
        handle.update(shown.HTML(_table(progress)))
        # An interrupt is seen when the loop next wakes; where all calls are slow, that is this.
        loop.call_soon_threadsafe(int)

    with _redrawn(draw, _REDRAWN):
        yield


def _table(progress: Progress) -> str:
    """The stages as HTML, in which nothing is markup but ours."""
    rows = [
        f"<tr><td>{html.escape(stage.name)}</td>"
        f'<td><progress max="{stage.total:g}" value="{stage.done:g}"></progress></td>'
        f"<td>{_count(stage)}</td>"
        f"<td>{html.escape('; '.join(filter(None, (stage.note, stage.speed))))}</td></tr>"
        for stage in list(progress.stages.values())
    ]
    noted = "".join(f"<div>{html.escape(line)}</div>" for line in _noted(progress))
    foot = html.escape("; ".join(filter(None, (progress.used, progress.ended))))
    return f"{noted}<table>{''.join(rows)}</table><small>{foot}</small>"


def _count(stage: Stage) -> str:
    return f"{int(stage.done):,}/{int(stage.total):,}"


def _noted(progress: Progress) -> list[str]:
    lines = [f"Skipped profile row {b.row}: {b.reason}" for b in progress.bad_rows[:_BAD_ROWS]]
    if len(progress.bad_rows) > _BAD_ROWS:
        lines.append(f"Skipped {len(progress.bad_rows) - _BAD_ROWS} more profile rows.")
    return [*lines, *progress.notes]


def _on_screen() -> bool:
    """Whether standard error is a terminal; it may be closed, or none."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return bool(shell) and type(shell).__name__ == "ZMQInteractiveShell"
