"""Interrupted in a cell, in a script, in a loop over arms: it stops, keeps what was answered, pays
for nothing after, and leaves nothing locked.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from matrix_graph import RunConfig, RunResult, arun
from matrix_graph.testing import FakeServer, Faults

SMALL: dict[str, Any] = {
    **{"agents": 12, "group_size": 4, "scenarios": 6, "rows": 30, "concurrency": 4},
    **{"model": "openai:fake", "embeddings": "openai:fake"},
}
CELL = """
import os
os.environ["OPENAI_API_KEY"] = "x"
from matrix_graph import RunConfig, arun, run
small = {small!r}
"""
ONE = 'print("began", flush=True)\nrun(RunConfig(**small, out={out!r}))\nprint("went on")'
AWAITED = ONE.replace("run(", "await arun(")
ARMS = """
print("began", flush=True)
for arm in ("structured", "random", "none"):
    run(RunConfig(**small, communication=arm, out={out!r} + ("" if arm == "structured" else arm)))
print("went on")
"""


@pytest.fixture
def slow() -> Any:
    with FakeServer(faults=Faults(latency=0.2)) as server:
        yield server


def _stopped(server: FakeServer, out: Path, began: float, flight: int = 0) -> None:
    """Nothing is asked any more, and all that was is on record, with what was in flight."""
    assert time.monotonic() - began < 5
    seen = server.requests.total()
    time.sleep(1)
    assert server.requests.total() == seen, "nothing is paid for after"
    result = RunResult.of(out)
    assert result.ended.status == "interrupted"
    assert seen <= result.summary["calls"] <= seen + flight
    assert not (out.parent / f"{out.name}random").exists()


def _wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("body", [ONE, AWAITED, ARMS], ids=["cell", "awaited", "arms"])
def test_a_cell_that_is_interrupted_stops(body: str, slow: FakeServer, tmp_path: Path) -> None:
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")
    try:
        small = SMALL | {"base_url": slow.url}
        code = CELL.format(small=small) + body.format(out=str(tmp_path / "run"))
        client.execute(code)
        _wait(lambda: slow.requests.total() > 20)
        began = time.monotonic()
        manager.interrupt_kernel()
        reply = client.get_shell_msg(timeout=60)
        assert reply["content"]["status"] == "error"
        assert reply["content"]["ename"] in ("KeyboardInterrupt", "CancelledError")
        _stopped(slow, tmp_path / "run", began)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(("body", "latency"), [(ONE, 0.2), (ARMS, 8.0)], ids=["one", "arms"])
def test_a_script_that_is_interrupted_stops(
    body: str, latency: float, slow: FakeServer, tmp_path: Path
) -> None:
    small = SMALL | {"base_url": slow.url}
    code = CELL.format(small=small) + body.format(out=str(tmp_path / "run"))
    script = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait(lambda: slow.requests.total() > 20)
    slow.faults = Faults(latency=latency)
    time.sleep(0.5)
    began = time.monotonic()
    script.send_signal(signal.SIGINT)
    out, err = script.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert "went on" not in out
    _stopped(slow, tmp_path / "run", began, flight=4 if latency > 1 else 0)


async def test_a_cancelled_run_leaves_nothing_locked(tmp_path: Path) -> None:
    rng = random.Random(1)
    with FakeServer() as server:
        for attempt in range(8):
            out = tmp_path / str(attempt)
            config = RunConfig(**SMALL, base_url=server.url, out=out)
            task = asyncio.create_task(arun(config))
            await asyncio.sleep(rng.uniform(0.2, 1.4))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            for file in out.glob("*.sqlite"):
                database = sqlite3.connect(file, timeout=0)
                database.execute("BEGIN IMMEDIATE")
                database.close()
            assert not _open_files(out)
            if (out / "run.json").is_file():
                ended = json.loads((out / "run.json").read_text("utf-8"))["ended"]
                assert ended["status"] in ("interrupted", "complete")


def _open_files(folder: Path) -> list[str]:
    links = [_link(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return [link for link in links if link.startswith(str(folder))]


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
