"""A run on the terminal: stopped by a signal, asking whoever plays in it, or under the debugger.

`stopped` takes in the signals that stopped it, and `err` is where progress goes.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console

from matrix_graph.debugger.debugger import Debugger
from matrix_graph.debugger.sources import LiveRun
from matrix_graph.llm.budget import Price, price_of
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.runner import RunResult, arun
from matrix_graph.terminal.person import Person
from matrix_graph.terminal.progress import RunProgress
from matrix_graph.terminal.screen import Screen


async def stoppable(
    config: RunConfig,
    resume: bool,
    overwrite: bool,
    stopped: list[signal.Signals],
    err: Console,
    answers: dict[str, Any] | None = None,
) -> RunResult:
    """A run that Ctrl-C and SIGTERM stop, with its progress.

    Raises:
        KeyboardInterrupt: it was stopped before it had begun.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None

    def stop(number: signal.Signals) -> None:
        err.print("Stopping; what was answered is kept.")
        stopped.append(number)
        task.cancel()
        loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, number)
    with RunProgress(err) as progress:
        try:
            return await arun(
                config, resume=resume, overwrite=overwrite, listen=progress.listen, answers=answers
            )
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None


def answered(
    result: RunResult, config: RunConfig, stopped: list[signal.Signals], err: Console
) -> RunResult:
    """Ask the person at this terminal what the run asks people, for as long as they stay."""
    while result.asked and sys.stdin.isatty() and not stopped:
        person, answers = Person(RunRecord(result.out).groups, Console(highlight=False)), {}
        try:
            for name, question in result.asked.items():
                answers[name] = person.answer(question)
        except (EOFError, KeyboardInterrupt):
            return result
        result = asyncio.run(stoppable(config, True, False, stopped, err, answers))
    return result


def stepped(
    config: RunConfig, resume: bool, overwrite: bool, stopped: list[signal.Signals], err: Console
) -> RunResult:
    """The run under the debugger, in this terminal."""

    def stop(number: int, frame: object) -> None:
        stopped.append(signal.Signals(number))
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    progress = RunProgress(err)
    debugger = Debugger(LiveRun(config, resume=resume, overwrite=overwrite, listen=progress.listen))
    with debugger:
        with progress:
            debugger.agent()
        debugger.agent(-1)
        Screen(debugger, config.out, Console(highlight=False), prices(config.price)).loop()
        if not debugger.over:
            stopped.append(signal.SIGINT)
    result: RunResult = debugger.of.result  # type: ignore[union-attr]
    return result


def prices(own: Sequence[float] | None) -> Callable[[str], Price | None]:
    """The price of a model: the run's own, or that of the list."""
    return (lambda _: Price(*own)) if own else price_of
