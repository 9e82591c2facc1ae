"""What a thousand requests to `langgraph dev` leave open: a part of `make bench`.

Each request brings a context of its own, as requests do, and lives one scenario of a small society
against a fake server. Counted on the server's process: threads, open files, resident memory.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from langgraph_sdk import get_sync_client
from rich.console import Console
from rich.table import Table

from matrix_graph.testing import FakeServer
from tests.bench.machine import machine
from tests.test_studio import ROOT, process_at, serving

MARKS = (10, 100, 250, 500, 1000)


def main(last: int = MARKS[-1]) -> None:
    table = Table("requests", "threads", "open files", "resident MB", title=machine())
    with (
        FakeServer() as server,
        tempfile.TemporaryDirectory() as home,
        serving(ROOT, Path(home)) as url,
    ):
        context = {"model": "openai:fake", "embeddings": "openai:fake", "base_url": server.url}
        client = get_sync_client(url=url)
        process = process_at(int(url.rpartition(":")[2]))
        for number in range(1, last + 1):
            client.runs.wait(None, "society", input={"quota": 1}, context=context)
            if number in MARKS or number == last:
                row = [f"{number:,}", *map(str, _counted(process))]
                table.add_row(*row)
                print(*row, file=sys.stderr, flush=True)
        client.close()
    Console(width=100).print(table)


def _counted(process: Path) -> tuple[int, int, int]:
    pages = int((process / "statm").read_text().split()[1])
    threads, files = (len(list((process / name).iterdir())) for name in ("task", "fd"))
    return threads, files, pages * 4096 // 2**20


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
