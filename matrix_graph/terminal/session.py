"""A run on the terminal: stopped by a signal, asking whoever plays in it, or under the debugger.

`stopped` takes in the signals that stopped it, and `view` says what is shown meanwhile.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from matrix_graph.boundary.screen import TextConsole
from matrix_graph.debugger.debugger import Debugger
from matrix_graph.debugger.sources import LiveRun
from matrix_graph.llm.budget import Price, list_price
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.progress import Progress
from matrix_graph.runs.received import Untrusted, check_trust, read_summary
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.result import RunResult
from matrix_graph.runs.runner import arun
from matrix_graph.runs.shown import shown
from matrix_graph.terminal.person import Person
from matrix_graph.terminal.screen import Screen
from matrix_graph.terminal.view import View

T = TypeVar("T")

_PATIENCE = 2.5
"""Seconds that a command has to end itself after SIGTERM."""


class Stops(list[signal.Signals]):
    """The signals that stopped a command.

    From SIGTERM, or since the terminal has gone away, it has a time to write what it has in hand;
    then its process ends. What was answered is on record by then, and `--resume` goes on from it.
    """

    def __init__(self, command: typer.Context) -> None:
        super().__init__()
        self._timer: threading.Timer | None = None
        command.call_on_close(self._end)

    def append(self, name: signal.Signals) -> None:
        super().append(name)
        if name != signal.SIGINT and self._timer is None:
            self._timer = threading.Timer(_PATIENCE, os._exit, (128 + name,))
            self._timer.daemon = True
            self._timer.start()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


async def stoppable(
    config: RunConfig,
    resume: bool,
    overwrite: bool,
    stopped: Stops,
    view: View,
    answers: dict[str, Any] | None = None,
) -> RunResult:
    """A run that Ctrl-C and SIGTERM stop, with its progress.

    Returns:
        The result; of a run that was stopped, as far as it has come.

    Raises:
        KeyboardInterrupt: it was stopped before it had begun.
    """
    options: Any = {"resume": resume, "overwrite": overwrite, "answers": answers}
    with stopping(stopped, view.err), view.listening() as listen:
        try:
            return await arun(config, listen=listen, progress=False, **options)
        except asyncio.CancelledError:
            if not (config.folder / "run.json").is_file():
                raise KeyboardInterrupt from None
            return RunResult.of(config.folder)


async def signalled(work: Coroutine[Any, Any, T], stopped: Stops, err: TextConsole) -> T:
    """`work`, which Ctrl-C and SIGTERM stop."""
    with stopping(stopped, err):
        return await work


def agreed(config: RunConfig, err: TextConsole) -> RunConfig:
    """What a run is resumed with; of one that somebody else began, after the person at this
    terminal has seen whom it would ask.

    Raises:
        InputError: they do not agree, or nobody is there.
    """
    if not (config.folder / "run.json").is_file():
        return config
    try:
        check_trust(config.folder, read_summary(config.folder), config)
    except Untrusted as error:
        if not sys.stdin.isatty():
            raise
        err.print(str(error), soft_wrap=True)
        if TextConsole().input("Agree? [y/N] ").strip().lower() not in ("y", "yes"):
            raise
        return RunConfig.model_validate(
            {n: getattr(config, n) for n in config.model_fields_set} | {"trust": True}
        )
    return config


@contextmanager
def stopping(stopped: Stops, err: TextConsole) -> Iterator[None]:
    """Cancel the running task at Ctrl-C, SIGTERM and where the terminal goes away (unless that is
    to be ignored, as under nohup); a second one ends the process.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, frame: object) -> None:
        name = signal.Signals(number)
        signal.signal(name, before[name] if name == signal.SIGINT else signal.SIG_DFL)
        stopped.append(name)
        err.print("Stopping; what was answered is kept.")
        loop.call_soon_threadsafe(task.cancel)

    gone = [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
    for name in (signal.SIGINT, signal.SIGTERM, *gone):
        before[name] = signal.signal(name, stop)
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def answered(result: RunResult, config: RunConfig, stopped: Stops, view: View) -> RunResult:
    """Ask the person at this terminal what the run asks people, for as long as they stay."""
    while result.asked and sys.stdin.isatty() and not stopped:
        person, answers = Person(RunRecord(result.out).groups, TextConsole()), {}
        try:
            for name, question in result.asked.items():
                answers[name] = person.answer(question)
        except (EOFError, KeyboardInterrupt):
            return result
        result = asyncio.run(stoppable(config, True, False, stopped, view, answers))
    return result


def stepped(
    config: RunConfig, resume: bool, overwrite: bool, stopped: Stops, view: View
) -> RunResult:
    """The run under the debugger, in this terminal."""

    def stop(number: int, frame: object) -> None:
        stopped.append(signal.Signals(number))
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    progress = Progress()
    debugger = Debugger(LiveRun(config, resume=resume, overwrite=overwrite, listen=progress.listen))
    with debugger:
        with shown(progress, view.err):
            debugger.agent()
        debugger.agent(-1)
        Screen(debugger, config.folder, TextConsole(), prices(config.prices)).loop()
        if not debugger.over:
            stopped.append(signal.SIGINT)
    return RunResult.of(config.folder)


def prices(given: Mapping[str, Sequence[float]]) -> Callable[[str], Price | None]:
    """The price of a model by its name: the one given, or that of the list."""

    def price(model: str) -> Price | None:
        return Price(*given[model]) if model in given else list_price(model)

    return price
