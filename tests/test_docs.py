"""Every command and snippet in the README and in docs/ runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.testing import FakeServer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"<!-- run -->\n```(python|sh)\n(.*?)```", re.DOTALL)


def _blocks() -> Iterator[Any]:
    for page in PAGES:
        for number, (language, code) in enumerate(BLOCK.findall(page.read_text("utf-8"))):
            embedded = "RunConfig(agents" in code
            marks = [pytest.mark.model] if embedded else []
            name = f"{page.stem}-{number}-{language}"
            yield pytest.param(page, language, code, id=name, marks=marks)


def test_no_block_of_code_is_left_out() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        assert text.count("```python") + text.count("```sh") == len(BLOCK.findall(text)), page


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize(("page", "language", "code"), list(_blocks()))
def test_it_runs(page: Path, language: str, code: str, server: FakeServer, tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "OPENAI_API_KEY": "sk-nobody",
        "OPENAI_BASE_URL": server.url,
    }
    if language == "sh":
        command = ["bash", "-euo", "pipefail", "-c", code]
    else:
        command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() or language == "sh"


@pytest.mark.process
@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_snippets_are_typed_right_without_plugins(checker: str, tmp_path: Path) -> None:
    for page in PAGES:
        for number, (language, code) in enumerate(BLOCK.findall(page.read_text("utf-8"))):
            if language == "python":
                (tmp_path / f"{page.stem}_{number}.py").write_text(code, "utf-8")
    wrong = 'from matrix_graph import RunConfig\n\nRunConfig(agents="four")\nRunConfig(outt="x")\n'
    (tmp_path / "wrong.py").write_text(wrong, "utf-8")
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}', "utf-8")
    (tmp_path / "mypy.ini").write_text("[mypy]\n", "utf-8")
    files = sorted(path.name for path in tmp_path.glob("*.py"))
    command = {
        "mypy": ["-m", "mypy", "--config-file", "mypy.ini", "--check-untyped-defs", *files],
        # Pyright with its JavaScript in the wheel.
        "pyright": ["-m", "basedpyright", "--pythonpath", sys.executable],
    }[checker]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    problems = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(files) > 10, done.stderr
    assert all("wrong.py" in problem for problem in problems), problems
    assert len(problems) == 2, done.stdout + done.stderr


def test_the_readme_is_a_front_page() -> None:
    assert len(PAGES[0].read_text("utf-8").splitlines()) <= 150


@pytest.mark.parametrize("page", [*PAGES, *ROOT.glob("[A-Z]*.md")], ids=lambda p: p.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_architecture_names_every_room() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("The three stages")[0]
    for path in (ROOT / "matrix_graph").iterdir():
        name = path.name.partition(".")[0]
        if name not in ("__init__", "__main__", "__pycache__", "data", "py"):
            assert re.search(rf"\b{name}\b", text), name


def test_the_files_that_pages_name_are_there() -> None:
    for page in ROOT.glob("[A-Z]*.md"):
        for name in re.findall(r"`((?:\w+/)*\w+\.(?:py|pyi|md))`", page.read_text("utf-8")):
            places = (ROOT, ROOT / "matrix_graph", ROOT / "prompts", ROOT / "tests")
            assert any((place / name).exists() for place in places) or "KIND" in name, name


def test_every_promise_has_its_test() -> None:
    promised = re.findall(r"`([\w/]+\.py)::(\w+)`", (ROOT / "PROMISES.md").read_text("utf-8"))
    assert len(promised) > 15
    for path, name in promised:
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), name
