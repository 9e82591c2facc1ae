from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from matrix_graph.errors import InputError
from matrix_graph.llm.journal import Journal, entry_for
from tests.helpers import slot

HERE = slot("a").at(1)
WRITER = """
import asyncio, sys
from matrix_graph.llm.journal import Journal, entry_for
from matrix_graph.llm.slot import Slot

async def main():
    journal = Journal(sys.argv[1])
    async def one(n):
        await journal.record(entry_for(Slot(stage="probe", who=str(n)), "m", {"n": n}))
        print(n, flush=True)
    n = 0
    while True:
        await asyncio.gather(*(one(n + i) for i in range(20)))
        n += 20

asyncio.run(main())
"""


async def test_what_was_recorded_is_found_by_slot_and_request(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    entry = entry_for(HERE, "m", {"messages": ["hé"]})
    assert await journal.find(HERE, entry.digest) is None
    await journal.record(entry)
    journal.close()
    again = Journal(tmp_path / "j.sqlite")
    assert await again.find(HERE, entry.digest) == entry
    assert await again.find(HERE.at(2), entry.digest) is None, "another slot is another call"
    for model, content in (("m", "x"), ("n", "hé")):
        other = entry_for(HERE, model, {"messages": [content]})
        assert await again.find(HERE, other.digest) is None, "another request is another call"
    again.close()


async def test_concurrent_calls_all_land(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    await asyncio.gather(
        *(journal.record(entry_for(slot(f"s{n}"), "m", {"n": n})) for n in range(500))
    )
    assert len(journal) == 500
    assert [e.slot for e in journal.entries("persona/s49")] == [
        f"persona/s49{n}" for n in ("", *range(10))
    ]
    journal.close()


async def test_a_cancelled_caller_does_not_stop_the_writer(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    tasks = [
        asyncio.create_task(journal.record(entry_for(slot(f"s{n}"), "m", {}))) for n in range(50)
    ]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await journal.record(entry_for(slot("last"), "m", {}))
    journal.close()


@pytest.mark.parametrize("after", [40, 200, 900])
@pytest.mark.process
def test_sigkill_loses_nothing_that_was_acknowledged(tmp_path: Path, after: int) -> None:
    path = tmp_path / "j.sqlite"
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    acknowledged = {int(process.stdout.readline()) for _ in range(after)}
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    acknowledged |= {int(line) for line in process.stdout.read().split("\n")[:-1]}
    process.stdout.close()
    journal = Journal(path)
    on_disk = {json.loads(e.request)["n"] for e in journal.entries()}
    journal.close()
    assert acknowledged <= on_disk


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "j.sqlite").write_text("this is no database, whatever its name says" * 50)
    with pytest.raises(InputError, match="no database of ours"):
        Journal(tmp_path / "j.sqlite")
