from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
SNIPPETS = re.findall(r"<!-- run -->\n```python\n(.*?)```", README, re.DOTALL)


def test_every_python_block_is_run() -> None:
    assert len(SNIPPETS) == README.count("```python") == 7


@pytest.mark.model
@pytest.mark.parametrize("number", range(len(SNIPPETS)))
@pytest.mark.process
def test_a_snippet_runs(number: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SNIPPETS[number]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_file_list_is_true() -> None:
    table = README.split("## Files")[1].split("## Limits")[0]
    named = {
        name
        for row in table.splitlines()
        if row.startswith("| `")
        for name in re.findall(r"`([^`]+)`", row.split("|")[1])
    }
    paths = {name if "/" in name and not name.endswith("/") else name.rstrip("/") for name in named}
    package = {p.removeprefix("matrix_graph/") for p in paths}
    ignored = {"__init__.py", "py.typed", "__pycache__"}
    assert {p.name for p in (ROOT / "matrix_graph").iterdir()} - ignored <= package
    for name in paths:
        assert (ROOT / name).exists() or (ROOT / "matrix_graph" / name).exists(), name
