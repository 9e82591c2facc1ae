from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.process
def test_the_wheel_carries_prompts_profiles_and_types_and_works_from_there(tmp_path: Path) -> None:
    build = "from hatchling.build import build_wheel; import sys; print(build_wheel(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    wheel = tmp_path / done.stdout.split()[-1]
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "matrix_graph/py.typed",
        "matrix_graph/data/profiles.jsonl",
        "matrix_graph/prompts/agent.md",
    } <= names
    assert {
        "matrix_graph/prompts/small/agent.md",
        "matrix_graph/prompts/small/respond_code.gbnf",
    } <= names
    assert not any(name.startswith(("tests/", "runs/")) for name in names)
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); import matrix_graph; "
        "from matrix_graph.llm.prompts import Prompts; from matrix_graph import load_profiles; "
        "assert 'site' in matrix_graph.__file__; "
        "print(len(load_profiles()[0]), len(Prompts(small=True).render('respond')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["120", "1"]
