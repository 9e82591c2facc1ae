"""What form, duplicates and contamination cost a row, at 2,000 rows and at 20,000: a part of `make
bench`.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from rich.console import Console
from rich.table import Table

from matrix_graph.filtering.rules import Models, Rules
from matrix_graph.filtering.steps.contamination import Contamination
from matrix_graph.schema import Row
from matrix_graph.society.profiles import load_profiles
from matrix_graph.testing import prose
from tests.bench.machine import machine

REPEATS, BENCHMARK = 3, 5_000


def _rows(count: int) -> list[Row]:
    """Prompts of people's own words, put together anew for each row; every twentieth comes again
    with a change.
    """
    posts = [post for profile in load_profiles()[0] for post in profile.posts]
    draw, rows = random.Random(1), list[Row]()
    for number in range(count):
        prompt = " ".join([*draw.sample(posts, 2), prose(draw, 1)])
        if number % 20 == 19:
            prompt = rows[draw.randrange(number)]["prompt"] + " Please answer soon."
        rows.append({"id": str(number), "prompt": prompt, "completion": prose(draw, 3)})
    return rows


def _once(count: int) -> dict[str, float]:
    rows = _rows(count)
    benchmark = tuple(prose(random.Random(-n), 3) for n in range(1, BENCHMARK + 1))
    steps = Rules().steps(Models(benchmark=benchmark))
    cost, begun = {}, time.perf_counter()
    for step in steps[
        : 1 + next(n for n, step in enumerate(steps) if isinstance(step, Contamination))
    ]:
        started = time.perf_counter()
        found: Any = step.find(rows)
        gone = {drop.id for drop in found}
        rows = [row for row in rows if row["id"] not in gone]
        cost[step.name] = time.perf_counter() - started
    cost["all"] = time.perf_counter() - begun
    cost["MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return cost


def main() -> None:
    runs: dict[int, list[dict[str, float]]] = {2_000: [], 20_000: []}
    for _ in range(REPEATS):
        for count, found in runs.items():
            command = [sys.executable, "-m", "tests.bench.filtering", str(count)]
            found.append(
                json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            )
    title = f"Filter without models · {BENCHMARK:,} benchmark prompts · {machine()}"
    table = Table("step", "2,000 rows", "20,000 rows", "ms a row: 2,000 → 20,000", title=title)
    for step in runs[2_000][0]:
        few, many = (statistics.median(run[step] for run in runs[count]) for count in runs)
        unit = " MB" if step == "MB" else " s"
        growth = "" if step == "MB" else f"{few / 2:.3f} → {many / 20:.3f}"
        table.add_row(
            "most memory" if step == "MB" else step, f"{few:.2f}{unit}", f"{many:.2f}{unit}", growth
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_once(int(sys.argv[1]))))
    else:
        main()
