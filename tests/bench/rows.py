"""What a row costs against a bare `ChatOpenAI` call, one call each: a part of `make bench`."""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from typing import Any

from rich.console import Console
from rich.table import Table

from matrix_graph import create_filter, create_generator
from matrix_graph.resources import opened
from matrix_graph.runs import tuned_process
from matrix_graph.schema import Scenario
from matrix_graph.testing import Faults
from tests.bench.bare import bare
from tests.bench.machine import machine
from tests.bench.server import fake_context, serving
from tests.helpers import scenario, slot

ROWS, SLOTS, REPEATS = 1000, 32, 5


async def _rows(url: str) -> dict[str, float]:
    """Rows written and filtered, with a journal on disk."""
    with tempfile.TemporaryDirectory() as folder:
        context = fake_context(url, folder, SLOTS)
        await (await opened(context)).model.text(
            slot("warm"), [{"role": "user", "content": "Ready?"}]
        )
        wanted: Any = {
            "requirements": [{"kind": "sft", "count": ROWS, "single_call": True}],
            "scenarios": _lived(),
        }
        generator, chosen = create_generator().compile(), create_filter().compile()
        begun = time.process_time(), time.perf_counter()
        made = await generator.ainvoke(wanted, context=context)
        await chosen.ainvoke({"rows": made["rows"]})
        assert len(made["rows"]) == ROWS
        return _since(begun)


def _since(begun: tuple[float, float]) -> dict[str, float]:
    return {
        "cpu": (time.process_time() - begun[0]) * 1000 / ROWS,
        "wall": time.perf_counter() - begun[1],
    }


def _lived() -> list[Scenario]:
    deed = "repaired the pump at the harbour before the ferry came, and wrote it down"
    return [
        scenario(n, [f"agent{n}-{a}" for a in range(5)], f"{deed} {n}", steps=3) for n in range(100)
    ]


def main(repeats: int = REPEATS) -> None:
    ratios: dict[str, list[float]] = {"cpu": [], "wall": [], "faulty wall": []}
    own: list[float] = []
    clean = Faults(latency=0.05)
    faulty = Faults(latency=0.05, error=0.03, throttle=0.02, retry_after=0.2)
    for _ in range(repeats):
        with serving(clean) as url:
            plain, rows = _run("bare", url), _run("rows", url)
        with serving(faulty) as url:
            slow = _run("rows", url)
        own.append(rows["cpu"])
        for what in ("cpu", "wall"):
            ratios[what].append(rows[what] / plain[what])
        ratios["faulty wall"].append(slow["wall"] / rows["wall"])
    table = Table(
        "what",
        "median",
        "least to most",
        "bar",
        title=f"Rows · {ROWS} of one call, 50 ms · {machine()}",
    )

    def show(what: str, values: list[float], bar: str, unit: str = " ×") -> None:
        table.add_row(
            what,
            f"{statistics.median(values):.2f}{unit}",
            f"{min(values):.2f}-{max(values):.2f}",
            bar,
        )

    show("CPU per row", own, "", " ms")
    show("CPU per row, over a bare ChatOpenAI call", ratios["cpu"], "≤ 1.0")
    show("wall, over as many bare calls", ratios["wall"], "≤ 1.0")
    show("wall, 3 % HTTP 500 and 2 % HTTP 429 (0.2 s), over clean", ratios["faulty wall"], "≤ 1.3")
    Console(width=140).print(table)


def _run(part: str, url: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.rows", part, url]
    figures: dict[str, float] = json.loads(
        subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    )
    return figures


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["rows"]):
        part, address = sys.argv[1:3]
        with tuned_process() if part == "rows" else nullcontext():
            work = bare(address, ROWS, SLOTS) if part == "bare" else _rows(address)
            print(json.dumps(asyncio.run(work)))
    else:
        main(*map(int, sys.argv[1:]))
