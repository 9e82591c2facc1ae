from __future__ import annotations

import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from matrix_graph.testing import FakeServer

SHOWS = {
    "quickstart": ("group-001-r0", "graph TD", "<svg", "<details"),
    "debugging": (
        "all from the record",
        "left out:",
        "recency",
        "tokens",
        "I locked the workshop",
        '"rejected"',
    ),
    "scenarios_to_rows": (
        "complete",
        "exact duplicate",
        "answer breaks off",
        "<details",
        "learning_rate",
    ),
    "filter_alone": ("164 rows", "near duplicate", "contamination", "<svg", "kept − random"),
}
"""What must be among the outputs of each."""
FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.model
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
@pytest.mark.process
def test_a_notebook_runs_top_to_bottom(path: Path, server: FakeServer, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    assert all(not cell.get("outputs") for cell in notebook.cells), (
        "no outputs are kept in the file"
    )
    parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
    parameters.source = (
        parameters.source.replace('MODEL = "local"', 'MODEL = "openai:fake"')
        .replace('EMBEDDINGS = "local"', 'EMBEDDINGS = "openai:fake"')
        .replace("BASE_URL = None", f"BASE_URL = {server.url!r}")
    )
    shutil.copytree(FOLDER / "recorded", tmp_path / "recorded")
    NotebookClient(notebook, timeout=280, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(str(output) for cell in notebook.cells for output in cell.get("outputs", []))
    for words in SHOWS[path.stem]:
        assert words in printed
