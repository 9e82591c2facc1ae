"""Faults of the world around a run: each ends with a sentence, and the run goes on from there."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from matrix_graph import RunConfig, RunResult, arun
from matrix_graph.testing import FakeServer
from tests.terminal.test_cli import at

pytestmark = [pytest.mark.process, pytest.mark.slow]
BARE = {"PATH": os.environ["PATH"]}


def cli(
    *arguments: str,
    python: Sequence[str] = (),
    env: dict[str, str] | None = None,
    before: Callable[[], object] | None = None,
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    return subprocess.run(
        [sys.executable, *python, "-m", "matrix_graph", *arguments],
        env=clean if env is None else env,
        preexec_fn=before,
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def no_file_past(size: int) -> Callable[[], None]:
    """As on a disk that is full: writing past `size` bytes of a file fails."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("size", [200_000, 300_000])
def test_a_full_disk_is_a_pause_with_a_sentence(
    size: int, server: FakeServer, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    full = cli("run", *at(server), "--rows", "3", "--out", out, before=no_file_past(size))
    assert full.returncode in (0, 2, 4), full.stderr
    assert "Traceback" not in full.stderr
    if (tmp_path / "run" / "run.json").is_file():
        assert cli("run", "--out", out, "--resume").returncode == 0
        assert len(RunResult.of(out).rows("sft")) == 3


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody may write")
@pytest.mark.parametrize("command", ["run", "preview"])
def test_a_folder_that_nobody_may_write(command: str, server: FakeServer) -> None:
    done = cli(command, *at(server), "--out", "/proc/nowhere/run")
    assert done.returncode == 2
    assert "Cannot write" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("gone", ["checkpoints.sqlite", "society.json", "chroma"])
def test_what_was_removed_of_a_paused_run_is_made_again(
    gone: str, server: FakeServer, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    options = [*at(server), "--scenarios", "3", "--rows", "6"]
    assert cli("run", *options, "--out", str(whole)).returncode == 0
    assert cli("run", *options, "--out", str(out), "--max-calls", "30").returncode == 5
    if (out / gone).is_dir():
        shutil.rmtree(out / gone)
    for path in out.glob(f"{gone}*"):
        path.unlink()
    done = cli("run", "--out", str(out), "--resume", "--max-calls", "5000")
    assert done.returncode == 0, done.stderr
    for name in ("scenarios.jsonl", "dataset/sft.jsonl", "society.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    "world",
    [
        {"before": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))},
        {"env": BARE},
        {"env": BARE | {"HOME": "/nowhere"}},
        {"env": BARE | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}},
        {"python": ["-O"]},
        {"python": ["-OO"]},
    ],
    ids=["64 files", "no HOME", "HOME nowhere", "C locale", "-O", "-OO"],
)
def test_a_run_and_a_look_in_a_bare_world(
    world: dict[str, Any], server: FakeServer, tmp_path: Path
) -> None:
    server.replies = {"Answer": "Żółć → 日本語"}
    many = ["--concurrency", "64", "--out", str(tmp_path)]
    for arguments in (["run", *at(server), *many], ["show", str(tmp_path)]):
        done = cli(*arguments, **world)
        assert done.returncode == 0, done.stderr[-2000:]
        assert "Traceback" not in done.stderr


def test_a_pipe_that_is_closed_ends_without_a_trace(server: FakeServer, tmp_path: Path) -> None:
    assert cli("run", *at(server), "--out", str(tmp_path)).returncode == 0
    child = subprocess.Popen(
        [sys.executable, "-m", "matrix_graph", "show", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    child.stdout.close()
    assert "Traceback" not in child.communicate()[1]


async def test_a_clock_that_goes_back(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    back = itertools.count(time.time(), -3_600)
    monkeypatch.setattr(time, "time", lambda: next(back))
    small: dict[str, Any] = {"agents": 4, "scenarios": 2, "rows": 3, "base_url": server.url}
    config = RunConfig(**small, model="openai:fake", embeddings="openai:fake", out=tmp_path)
    result = await arun(config)
    assert result.complete
    assert 0 <= result.summary["seconds"] < 600
    more = await arun(RunConfig(out=tmp_path, rows=5, scenarios=3), resume=True)
    assert more.complete
    assert more.summary["seconds"] >= result.summary["seconds"]
