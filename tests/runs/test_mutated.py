"""Run folders with bytes, values and files changed at random: the package's own errors, and no
other, whatever one does with them.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.debugger.snapshot import record_of
from matrix_graph.errors import MatrixError
from matrix_graph.export.folder import export
from matrix_graph.report.page import write_report
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.runner import arun, run
from matrix_graph.terminal.trace import trace
from matrix_graph.testing import FakeServer

pytestmark = pytest.mark.slow
VALUES: list[Any] = [
    *(None, True, -1, 0, 10**18, 1e300, "", "x", "\x1b[31m"),
    *([], {}, [[]], {"a": 1}, "9" * 50),
]


def settings(server: FakeServer, out: Path) -> RunConfig:
    models: dict[str, Any] = {"model": "openai:fake", "embeddings": "openai:fake"}
    return RunConfig(**models, agents=5, scenarios=1, rows=2, base_url=server.url, out=out)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("honest") / "run"
    with FakeServer() as server:
        assert run(settings(server, out)).complete
    return out


def mutate(folder: Path, rng: random.Random) -> str:
    """Change something in a folder; what, in words."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != ".lock")
    path = rng.choice(files)
    if path.suffix in (".json", ".jsonl") and rng.random() < 0.8:
        # ValueError: its bytes were changed before.
        with suppress(ValueError):
            text = path.read_text("utf-8")
            lines = text.split("\n") if path.suffix == ".jsonl" else [text]
            place = rng.randrange(max(1, len(lines) - 1))
            value = json.loads(lines[place]) if lines[place].strip() else {}
            lines[place] = json.dumps(_changed(value, rng))
            path.write_text("\n".join(lines), "utf-8")
            return f"a value in {path.name}"
    raw = bytearray(path.read_bytes())
    match rng.randrange(4):
        case 0:
            for _ in range(rng.randint(1, 20)):
                if raw:
                    raw[rng.randrange(len(raw))] = rng.randrange(256)
        case 1:
            del raw[rng.randrange(len(raw) + 1) :]
        case 2:
            raw += bytes(rng.randrange(256) for _ in range(50))
        case _:
            path.unlink()
            return f"no {path.name}"
    path.write_bytes(raw)
    return f"bytes in {path.name}"


def _changed(value: Any, rng: random.Random) -> Any:
    """The value with one place in it changed."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        name = rng.choice(sorted(value))
        if rng.random() < 0.15:
            return {n: v for n, v in value.items() if n != name}
        return value | {name: _changed(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place = rng.randrange(len(value))
        return [*value[:place], _changed(value[place], rng), *value[place + 1 :]]
    return rng.choice(VALUES)


def first_row(folder: Path) -> str:
    rows = next(iter(RunRecord(folder).rows.values()), [])
    return str(rows[0]["id"]) if rows else "none"


def all_memories(folder: Path) -> list[object]:
    record = RunRecord(folder)
    return [record.memories(member.id) for group in record.groups for member in group.members]


USES: dict[str, Callable[[Path], object]] = {
    "report": write_report,
    "trace": lambda out: trace(out, first_row(out)),
    "export": lambda out: export(out, "hf"),
    "show": lambda out: RunRecord(out)._repr_html_(),
    "memories": all_memories,
    "debug": lambda out: record_of(out).moments,
    "resume": lambda out: asyncio.run(arun(RunConfig(out=out, offline=True), resume=True)),
}


def test_a_folder_that_was_changed_is_an_error_with_a_sentence(
    honest: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    count = int(request.config.getoption("--folders"))
    strange: list[str] = []
    for number in range(count):
        rng, out = random.Random(number), tmp_path / "changed"
        shutil.copytree(honest, out)
        what = [mutate(out, rng) for _ in range(rng.randint(1, 2))]
        for name, use in USES.items():
            try:
                with suppress(MatrixError):
                    use(out)
            except BaseException as error:  # noqa: BLE001 (Chroma's panics are no Exception)
                last = traceback.extract_tb(error.__traceback__)[-1]
                strange.append(
                    f"{number}: {what}, {name}: {error!r} at {last.filename}:{last.lineno}"
                )
        shutil.rmtree(out)
    assert not strange, "\n".join(strange)
