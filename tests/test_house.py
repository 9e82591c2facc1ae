"""The arrows of the house: nothing imports upwards, and what is public is listed."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1] / "matrix_graph"
BASE = {"errors", "schema", "boundary"}
STAGE = BASE | {"asking", "tables", "stage", "llm", "memory", "context", "resources"}
RUNS = STAGE | {"amendments", "society", "generation", "filtering", "export", "pipeline"}
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "schema": set(),
    "boundary": {"errors"},
    "asking": {"errors"},
    "tables": {"errors"},
    "stage": {"errors"},
    "llm": BASE,
    "memory": BASE | {"llm"},
    "amendments": BASE | {"llm"},
    "context": BASE,
    "served": BASE | {"context"},
    "resources": BASE | {"llm", "memory", "amendments", "context"},
    "society": STAGE | {"amendments"},
    "generation": STAGE,
    "filtering": STAGE,
    "export": BASE,
    "pipeline": STAGE | {"society", "generation", "filtering"},
    "runs": RUNS,
    "studio": RUNS | {"runs", "served"},
    "debugger": RUNS | {"runs"},
    "report": RUNS | {"runs"},
    "terminal": RUNS | {"runs", "debugger", "report"},
    "testing": BASE | {"llm"},
    "__main__": {"terminal"},
}
"""What each room may import beside itself. The three stages do not know each other."""

PUBLIC = {
    *("create_society", "create_generator", "create_filter", "create_matrix", "add_modulator"),
    *("ModulatedState", "Context", "Group", "Persona", "Profile", "load_profiles", "build_groups"),
    "abuild_groups",
    *("human_agent", "Records", "RunConfig", "RunResult", "run", "arun", "ChromaStore"),
    *("MatrixError", "InputError", "RunPaused", "CallFailed"),
}
"""What the package promises at its root; everything else comes from its room."""

ROOMS = ("", ".llm", ".memory", ".society", ".generation", ".filtering", ".export", ".runs",
         ".debugger", ".report")  # fmt: skip
FILES = [p for p in ROOT.rglob("*.py*") if p.suffix in (".py", ".pyi")]


def _imports(path: Path) -> Iterator[str]:
    """The rooms and modules of this package that a file imports, in whatever form."""
    package = ["matrix_graph", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
            names = [str(arg.value) for arg in node.args if isinstance(arg, ast.Constant)]
        for name in names:
            if name.startswith("matrix_graph."):
                yield name.split(".")[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_only_what_lies_below(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0].removesuffix(".pyi").removesuffix(".py")
    if room == "__init__":
        return
    assert set(_imports(path)) <= BELOW[room] | {room}


def test_every_room_has_its_arrows_and_none_leads_round() -> None:
    rooms = {p.stem if p.is_file() else p.name for p in ROOT.iterdir()}
    rooms -= {"__init__", "__pycache__", "data", "py"}
    assert rooms == BELOW.keys()
    order: list[str] = []
    while len(order) < len(BELOW):
        free = [room for room, below in BELOW.items() if room not in order and below <= {*order}]
        assert free, f"a circle among {BELOW.keys() - set(order)}"
        order += free


@pytest.mark.parametrize("form", ["import matrix_graph.runs", "from matrix_graph import runs",
                                  "from .. import runs", "from ..runs import config",
                                  "importlib.import_module('matrix_graph.runs')"])  # fmt: skip
def test_every_form_of_import_is_seen(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda *_: form)
    assert list(_imports(ROOT / "llm" / "journal.py")) == ["runs"]


@pytest.mark.parametrize(
    "path", [p for p in FILES if p.suffix == ".py"], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_module_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.process
def test_importing_is_light() -> None:
    code = (
        "import sys, matrix_graph, matrix_graph.filtering, matrix_graph.runs; "
        "print({'chromadb', 'langgraph', 'openai', 'numpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_root_promises_these_names() -> None:
    package: Any = importlib.import_module("matrix_graph")
    assert set(package.__all__) == PUBLIC
    with pytest.raises(AttributeError):
        package.nothing  # noqa: B018


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there_and_documented(room: str) -> None:
    module = importlib.import_module(f"matrix_graph{room}")
    assert module.__all__
    for name in module.__all__:
        public = getattr(module, name)
        assert public.__doc__ or not callable(public), name
