"""What it costs to have a debugger on a run that nothing stops: a part of `make bench`."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from matrix_graph import ChromaStore, create_society
from matrix_graph.debugger import Debugger
from matrix_graph.resources import aclose, opened
from matrix_graph.runs.process import tuned_process
from tests.bench.machine import machine
from tests.bench.server import fake_context, serving
from tests.bench.society import SLOTS, people

AGENTS, ROUNDS, REPEATS = 100, 2, 24


async def _lived(url: str, how: str) -> float:
    """CPU milliseconds a turn: under no eyes, under a debugger without breakpoints, or with two
    that never hit.
    """
    groups = people(AGENTS)
    with tempfile.TemporaryDirectory() as folder:
        context = fake_context(url, folder, SLOTS)
        await opened(context)
        store = ChromaStore(Path(folder, "chroma"))
        graph = create_society(groups, agent_checkpoints=False).compile(store=store)
        given: Any = {"quota": len(groups) * ROUNDS}
        config: Any = {"recursion_limit": 100_000}
        begun = time.process_time()
        if how == "bare":
            state: dict[str, Any] = await graph.ainvoke(given, config, context=context)
        else:
            debugger = Debugger(graph, given, groups=groups, context=context, config=config)
            if how == "breaks":
                for kind, what in (("text", "no such words"), ("failure", "")):
                    debugger.break_on(kind, what)
            await asyncio.to_thread(debugger.run)
            state = debugger.of.result  # type: ignore[union-attr]
        cpu = time.process_time() - begun
        store.close()
    await aclose(context)
    return float(cpu * 1000 / state["acted"])


def main(repeats: int = REPEATS) -> None:
    over: dict[str, list[float]] = {"debugger": [], "breaks": []}
    bare: list[float] = []
    with serving() as url, tuned_process():
        asyncio.run(_lived(url, "bare"))
        for number in range(repeats):
            hows = ["bare", *over]
            taken = {
                how: asyncio.run(_lived(url, how))
                for how in hows[number % 3 :] + hows[: number % 3]
            }
            bare.append(taken["bare"])
            for how, values in over.items():
                values.append(taken[how] / taken["bare"])
            print(taken, file=sys.stderr, flush=True)
    table = Table(
        "CPU per agent-step",
        "median",
        "quartiles",
        title=f"Debugger · {repeats} rounds · {machine()}",
    )
    table.add_row("bare", f"{statistics.median(bare):.3f} ms", _quartiles(bare, "{:.3f}"))
    for how, values in over.items():
        table.add_row(
            f"{how}, over bare in its round",
            f"{statistics.median(values):.3f} ×",
            _quartiles(values, "{:.3f}"),
        )
    Console(width=120).print(table)


def _quartiles(values: list[float], form: str) -> str:
    low, _, high = statistics.quantiles(values, n=4)
    return f"{form.format(low)}-{form.format(high)}"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
