"""What remembering and recalling cost: `make bench`. Vectors are given, so no embedding model is
timed.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from matrix_graph.llm.embedder import Embedder
from matrix_graph.memory import ChromaStore, EpisodicMemory, Memory, Query
from matrix_graph.testing import FakeEmbeddings
from tests.bench.machine import machine, resident_mb

AGENTS, GROUP, DIMS, K, REPEATS = 1000, 5, 384, 5, 5
TEXT = (
    "I told the whole market that the oven at the shop is broken again and that I need somebody "
    "before Sunday, {}."
)


def _unit(rng: np.random.Generator, n: int) -> Any:
    vectors = rng.normal(size=(n, DIMS)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _batch(step: int, first: int, agents: int, each: int) -> list[Memory]:
    return [
        Memory(f"agent{a}", step, n, TEXT.format(f"{a}-{step}-{n}"), "action", 0.5)
        for a in range(first, first + agents)
        for n in range(each)
    ]


async def _cpu_ms(work: Callable[[], Awaitable[object]], per: int) -> float:
    before = time.process_time()
    await work()
    return (time.process_time() - before) * 1000 / per


def _memory(folder: Path) -> tuple[ChromaStore, EpisodicMemory]:
    store = ChromaStore(folder)
    return store, EpisodicMemory(store, Embedder(FakeEmbeddings()))


async def _remember_block(
    memory: EpisodicMemory, rng: np.random.Generator, first: int, agents: int
) -> None:
    """The lives of some agents: ten steps of ten memories, each group writing once a step, ten
    groups at a time.
    """
    for step in range(10):
        for start in range(first, first + agents, 10 * GROUP):
            batches = [_batch(step, g, GROUP, 10) for g in range(start, start + 10 * GROUP, GROUP)]
            await asyncio.gather(
                *(memory.aremember(b, vectors=_unit(rng, len(b))) for b in batches)
            )


async def _recall_round(
    memory: EpisodicMemory, rng: np.random.Generator, now: int, agents: int
) -> None:
    for first in range(0, agents, GROUP):
        queries = [Query(f"agent{a}", "") for a in range(first, first + GROUP)]
        await memory.arecall(queries, k=K, now=now, vectors=_unit(rng, GROUP))


async def _fill(folder: Path) -> None:
    """From nothing to 100,000 memories, a hundred agents after the other."""
    rng, idle = np.random.default_rng(0), resident_mb()
    remember: list[float] = []
    recall: list[float] = []
    store, memory = _memory(folder)
    for first in range(0, AGENTS, 100):
        remember.append(await _cpu_ms(lambda f=first: _remember_block(memory, rng, f, 100), 10_000))  # type: ignore[misc]
        if first in (0, AGENTS - 100):
            agents = first + 100
            rounds = [
                await _cpu_ms(partial(_recall_round, memory, rng, 9, agents), agents)
                for _ in range(9)
            ]
            recall.append(statistics.median(rounds))
    found = {
        "remember at 10,000": remember[0],
        "remember at 100,000": remember[-1],
        "recall at 10,000": recall[0],
        "recall at 100,000": recall[1],
        "resident, written": resident_mb() - idle,
    }
    store.close()
    print(json.dumps(found))


async def _reopen(folder: Path) -> None:
    """In a process of its own: open, recall everybody once, and say what it took."""
    idle, started = resident_mb(), time.perf_counter()
    store, memory = _memory(folder)
    await memory.arecall([Query("agent0", "")], now=9, vectors=_unit(np.random.default_rng(1), 1))
    opened = time.perf_counter() - started
    cold = await _cpu_ms(lambda: _recall_round(memory, np.random.default_rng(1), 9, AGENTS), AGENTS)
    print(
        json.dumps(
            {"open": opened, "cold recall": cold, "resident, recalled": resident_mb() - idle}
        )
    )
    store.close()


def main() -> None:
    rows: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as folder:
            for part in ("fill", "reopen"):
                command = [sys.executable, "-m", "tests.bench.memory", part, folder]
                out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
                for name, value in json.loads(out).items():
                    rows.setdefault(name, []).append(value)
    table = Table(
        "what", "median", "least to most", "at most", title=f"Episodic memory · {machine()}"
    )

    def show(what: str, values: list[float], unit: str, bar: str) -> None:
        table.add_row(
            what,
            f"{statistics.median(values):.2f} {unit}",
            f"{min(values):.2f}-{max(values):.2f}",
            bar,
        )

    show(
        "recall, 1,000 agents × 100 memories, k = 5, CPU per agent",
        rows["recall at 100,000"],
        "ms",
        "0.5 ms",
    )
    show("the same, first time after opening", rows["cold recall"], "ms", "")
    show("remember, a write per group, CPU per memory", rows["remember at 100,000"], "ms", "1.2 ms")
    for what in ("remember", "recall"):
        pairs = zip(rows[f"{what} at 100,000"], rows[f"{what} at 10,000"], strict=True)
        show(
            f"growth of {what} from 10,000 to 100,000",
            [late / early for late, early in pairs],
            "×",
            "1.5 ×",
        )
    show("opening 100,000 memories", rows["open"], "s", "3 s")
    for when in ("written", "recalled"):
        show(
            f"resident beyond an idle process, all {when}",
            rows[f"resident, {when}"],
            "MB",
            "400 MB",
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run({"fill": _fill, "reopen": _reopen}[sys.argv[1]](Path(sys.argv[2])))
    else:
        main()
