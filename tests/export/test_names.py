"""No name of a data file takes the place of another file of an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.export.folder import export


def data(folder: Path, **files: list[dict[str, Any]]) -> Path:
    (folder / "dataset").mkdir(parents=True)
    for name, rows in files.items():
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "dataset" / f"{name.replace('_', '-')}.jsonl").write_text(lines)
    return folder


def row(name: str, **more: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": f"q {name}"}, {"role": "assistant", "content": "a"}]
    return {"id": name, "kind": "sft", "messages": turns} | more


def test_a_requirement_called_refused_keeps_its_rows(tmp_path: Path) -> None:
    run = data(tmp_path, refused=[row("1"), row("2")], sft=[row("3"), {"id": "odd"}])
    done = export(run, "trl")
    assert sum(done.rows.values()) == 3
    written = [r for name in done.rows for r in read_json_lines(done.folder / name)]
    assert len(written) == 3
    assert [r["id"] for r in read_json_lines(done.folder / "refused.jsonl")] == ["odd"]


def test_rows_to_check_do_not_take_the_place_of_another_file(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run = data(tmp_path, x=[row("1", answer="3"), row("2")], x_rl=[row("4"), row("5", answer="6")])
    done = export(run, "verl")
    assert len(done.rows) == 4
    assert sum(parquet.read_table(done.folder / name).num_rows for name in done.rows) == 4


def test_a_run_that_is_not_written_to_is_left_as_it_is(tmp_path: Path) -> None:
    run = data(tmp_path / "run", sft=[row("1")])
    export(run, "trl", tmp_path / "elsewhere")
    assert [path.name for path in run.iterdir()] == ["dataset"]
    export(run, "trl")
    assert (run / ".lock").exists()
