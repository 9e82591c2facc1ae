"""How far a run is: figures, lines where no terminal is, a table in a cell."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from matrix_graph import RunConfig, arun
from matrix_graph.boundary.screen import TextConsole
from matrix_graph.runs import shown
from matrix_graph.runs.progress import Progress
from matrix_graph.testing import FakeServer

SMALL: dict[str, Any] = {
    **{"agents": 8, "group_size": 4, "scenarios": 4, "rows": 6},
    **{"model": "openai:fake", "embeddings": "openai:fake"},
}


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 2.0
        return self.now


async def test_figures_grow_within_a_round_and_end_at_what_was_wanted(
    server: FakeServer, tmp_path: Path
) -> None:
    progress, seen = Progress(clock=Clock()), list[float]()

    def listen(event: dict[str, Any]) -> None:
        progress.listen(event)
        if "scenarios" in progress.stages:
            seen.append(progress.stages["scenarios"].done)

    await arun(RunConfig(**SMALL, base_url=server.url, out=tmp_path), listen=listen)
    assert seen == sorted(seen)
    assert any(not done.is_integer() for done in seen)
    stages = progress.stages
    assert {name: (s.done, s.total) for name, s in stages.items()} == {
        "personas": (8, 8),
        "scenarios": (4, 4),
        "rows": (6, 6),
    }
    assert re.fullmatch(r"rows 6 of 6, \d+ written, \d+ dropped; [\d,]+ calls, .*", progress.line)

    again = Progress()
    await arun(RunConfig(out=tmp_path, rows=9), resume=True, listen=again.listen)
    assert again.stages["rows"].first == 6, "a resumed run's rate counts what is new"


def test_rate_and_time_to_the_end() -> None:
    progress = Progress(clock=Clock())
    for done in (0, 10, 20):
        progress.listen({"stage": "personas", "done": done, "total": 1_000})
    assert str(progress.stages["personas"]) == "personas 20 of 1,000, 5.0 a second, 3 min left"


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "EVERY", 0.01)
    out = io.StringIO()
    progress = Progress()
    with shown.shown(progress, TextConsole(file=out, width=40)):
        progress.listen({"stage": "personas", "done": 1, "total": 2, "note": "[bold]"})
        progress.listen({"stage": "personas", "done": 2, "total": 2})
        time.sleep(0.1)
    assert re.search(r"^\d\d:\d\d:\d\d personas 2 of 2", out.getvalue(), re.MULTILINE)


def test_bars_on_a_terminal() -> None:
    out = io.StringIO()
    progress = Progress()
    with shown.shown(progress, TextConsole(file=out, force_terminal=True, width=200)):
        progress.listen({"stage": "personas", "done": 1, "total": 2})
        progress.listen({"event": "measured", "step": "[red]judge", "done": 1, "total": 3})
    assert "1/2" in out.getvalue()
    assert "[red]judge" in out.getvalue(), "names are no markup"


@pytest.mark.process
@pytest.mark.slow
def test_a_cell_shows_a_table_and_the_result(server: FakeServer, tmp_path: Path) -> None:
    import nbformat
    from nbclient import NotebookClient

    v4: Any = nbformat.v4
    given = SMALL | {"base_url": server.url, "out": str(tmp_path / "run")}
    code = (
        "import os; os.environ['OPENAI_API_KEY'] = 'x'\n"
        "from matrix_graph import RunConfig, run\n"
        f"result = run(RunConfig(**{given!r}))\n"
        "result"
    )
    look = "print(result.to_pandas().shape[0], result.to_pandas('sft').columns[0])"
    notebook = v4.new_notebook(cells=[v4.new_code_cell(code), v4.new_code_cell(look)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    pages = [
        output["data"]["text/html"]
        for output in notebook.cells[0].outputs
        if "text/html" in output.get("data", {})
    ]
    assert '<progress max="6" value="6">' in pages[0]
    assert "calls" in pages[0]
    assert "6 of 6" in pages[1]
    assert notebook.cells[1].outputs[0]["text"] == "6 id\n"


@pytest.mark.process
def test_a_script_without_a_terminal_is_silent_unless_asked(
    server: FakeServer, tmp_path: Path
) -> None:
    given = SMALL | {"base_url": server.url, "out": str(tmp_path / "run")}
    code = (
        "import os; os.environ['OPENAI_API_KEY'] = 'x'\n"
        "from matrix_graph import RunConfig, run\n"
        f"run(RunConfig(**{given!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == done.stderr == ""


def test_where_nobody_reads_any_more_the_work_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    console = TextConsole(stderr=True)
    console.file = Gone()
    progress = Progress()
    with shown.shown(progress, console):
        progress.listen({"stage": "personas", "done": 1, "total": 2})
        progress.notes = ["[of interest]"]
    for nothing in (None, open(os.devnull)):  # noqa: SIM115
        if nothing:
            nothing.close()
        monkeypatch.setattr(sys, "stderr", nothing)
        with shown.listening(None, None) as listen:
            listen({"stage": "personas", "done": 1, "total": 2})
