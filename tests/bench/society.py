"""What a society costs against bare `ChatOpenAI` calls: a part of `make bench`.

Every part runs in a process of its own against a server in another: bare calls, and societies with
everything on (Chroma on disk, journal, checkpoints, modulators, embeddings from the server).
"""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from rich.console import Console
from rich.table import Table

from matrix_graph import ChromaStore, Group, Persona, create_society, load_profiles
from matrix_graph.resources import opened
from matrix_graph.runs.process import tuned_process
from matrix_graph.society import sample_profiles
from matrix_graph.testing import Faults
from tests.bench.bare import bare
from tests.bench.machine import machine
from tests.bench.server import fake_context, serving

SLOTS, REPEATS = 64, 5

Figures = dict[str, float]


async def _society(url: str, agents: int, rounds: int) -> Figures:
    """`rounds` scenarios of every group, timed from the first of them on."""
    groups = people(agents)
    with tempfile.TemporaryDirectory() as folder:
        context = fake_context(url, folder, SLOTS)
        await opened(context)
        store = ChromaStore(Path(folder, "chroma"))
        config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 100_000}
        begun: tuple[float, float] | None = None
        state: dict[str, Any] = {}
        async with AsyncSqliteSaver.from_conn_string(
            str(Path(folder, "checkpoints.sqlite"))
        ) as saver:
            graph = create_society(groups, agent_checkpoints=False).compile(
                checkpointer=saver, store=store
            )
            quota: Any = {"quota": len(groups) * rounds}
            async for state in graph.astream(quota, config, context=context, stream_mode="values"):
                if begun is None and "progress" in state:
                    begun = time.process_time(), time.perf_counter()
        assert begun
        cpu, wall = time.process_time() - begun[0], time.perf_counter() - begun[1]
        store.close()
        journal = sqlite3.connect(Path(folder, "journal.sqlite"))
        calls, seconds = journal.execute("SELECT count(*), sum(seconds) FROM calls").fetchone()
        journal.close()
    return {
        "calls": calls,
        "cpu": cpu * 1000 / calls,
        "wall": wall,
        "used": seconds / (SLOTS * wall),
        "acted": state["acted"],
        "failed": state["failed"],
        "scenarios": state["produced"],
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def people(agents: int) -> tuple[Group, ...]:
    """So many in groups of five, with plans that last."""
    profiles = sample_profiles(load_profiles()[0], agents, seed=0, clone=True)
    people = [
        Persona(
            p,
            "warm and blunt",
            "to be known for my work",
            tuple(f"{p.name}, step {n}" for n in range(40)),
        )
        for p in profiles
    ]
    return tuple(Group(f"group-{n // 5:04}", tuple(people[n : n + 5])) for n in range(0, agents, 5))


def _run(part: str, **arguments: Any) -> Figures:
    command = [sys.executable, "-m", "tests.bench.society", part, json.dumps(arguments)]
    figures: Figures = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    )
    print(
        part,
        {k: v for k, v in arguments.items() if k != "url"},
        figures,
        file=sys.stderr,
        flush=True,
    )
    return figures


def main(repeats: int = REPEATS) -> None:
    ratio, growth, used, slowed, memory = [], [], [], [], []
    clean = Faults(latency=0.2, sigma=0.5)
    faulty = replace(clean, error=0.03, throttle=0.02, retry_after=1.0)
    lost = 0.0
    for _ in range(repeats):
        with serving() as url:
            small, plain = (
                _run("society", url=url, agents=100, rounds=4),
                _run("bare", url=url, calls=1500, slots=SLOTS),
            )
            middle, large = (
                _run("society", url=url, agents=1000, rounds=1),
                _run("society", url=url, agents=10_000, rounds=1),
            )
            ratio.append(middle["cpu"] / plain["cpu"])
            growth.append(large["cpu"] / small["cpu"])
            memory.append(_run("society", url=url, agents=1000, rounds=10)["memory"])
        with serving(Faults(latency=1.0, sigma=0.5)) as url:
            used.append(_run("society", url=url, agents=1000, rounds=2)["used"])
        walls = []
        for faults in (clean, faulty):
            with serving(faults) as url:
                figures = _run("society", url=url, agents=500, rounds=2)
                walls.append(figures["wall"])
                lost += figures["failed"]
        slowed.append(walls[1] / walls[0])
    table = Table(
        "what", "median", "least to most", "bar", title=f"Society · {SLOTS} slots · {machine()}"
    )

    def show(what: str, values: Sequence[float], bar: str, unit: str = " ×") -> None:
        low, middle, high = min(values), statistics.median(values), max(values)
        table.add_row(what, f"{middle:.2f}{unit}", f"{low:.2f}-{high:.2f}", bar)

    show("CPU per model call, 1,000 agents, over a bare ChatOpenAI call", ratio, "≤ 1.5, aim 1.0")
    show("CPU per model call, 10,000 agents over 100", growth, "≤ 1.15")
    show(
        "calls in flight × time over slots × time, 1,000 agents, 1 s σ 0.5",
        [100 * u for u in used],
        "≥ 95 %",
        " %",
    )
    show(
        f"wall, 3 % HTTP 500 and 2 % HTTP 429, over clean ({lost:.0f} actions lost)",
        slowed,
        "≤ 1.3, none lost",
    )
    show("most memory, 1,000 agents × 10 rounds", memory, "≤ 400 MB", " MB")
    Console(width=140).print(table)


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["society"]):
        part, arguments = sys.argv[1], json.loads(sys.argv[2])
        with tuned_process() if part == "society" else nullcontext():
            parts: dict[str, Any] = {"bare": bare, "society": _society}
            print(json.dumps(asyncio.run(parts[part](**arguments))))
    else:
        main(*map(int, sys.argv[1:]))
