"""The arrows of the house: nothing imports upwards, and the three stages do not know each other."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "matrix_graph"
BASE = {"errors", "schema"}
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "schema": set(),
    "llm": BASE,
    "memory": BASE | {"llm"},
    "amendments": BASE | {"llm"},
    "context": BASE | {"llm", "memory", "amendments"},
    "society": BASE | {"llm", "memory", "amendments", "context"},
    "generation": BASE | {"llm", "memory", "context"},
    "filtering": BASE | {"llm", "memory", "context"},
    "export": BASE,
    "testing": BASE | {"llm"},
    "pipeline": BASE | {"context", "society", "generation", "filtering"},
    "config": BASE | {"llm", "context", "generation"},
}
BELOW["process"] = BASE
BELOW["tally"] = BASE
BELOW["probe"] = BASE | {"llm", "context"}
BELOW["estimates"] = BASE | {"llm", "society", "generation", "config"}
BELOW["folder"] = BASE | {"memory", "society", "generation", "export", "config"}
BELOW["filter_config"] = BASE | {"llm", "context", "filtering", "config"}
BELOW["filter_folder"] = BASE | {"export", "filtering"}
BELOW["filter_runner"] = BELOW["filter_config"] | {"export", "filter_config", "filter_folder", "probe"}
BELOW["studio"] = BELOW["pipeline"] | {"pipeline"}
BELOW["runner"] = set(BELOW) - {"filter_folder", "filter_runner", "studio"}
BELOW["workbench"] = set(BELOW)
FILES = [p for p in ROOT.rglob("*.py") if p.name != "__init__.py" or p.parent != ROOT]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("matrix_graph."):
            found.add((node.module or "").split(".")[1])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_below(path: Path) -> None:
    place = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert _imports(path) <= BELOW[place] | {place}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def test_importing_is_quick_and_light() -> None:
    code = (
        "import time, sys; t = time.perf_counter(); import matrix_graph; dt = time.perf_counter() - t; "
        "heavy = {'chromadb', 'langgraph', 'openai', 'numpy'} & set(sys.modules); print(dt, heavy or '')"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert float(out[0]) < 1
    assert len(out) == 1


def test_every_public_name_is_there_and_documented() -> None:
    import matrix_graph

    for name in matrix_graph.__all__:
        assert getattr(matrix_graph, name).__doc__, name
    with pytest.raises(AttributeError):
        matrix_graph.nothing  # noqa: B018
