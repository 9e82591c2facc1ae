from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.boundary.screen import TextConsole
from matrix_graph.errors import InputError
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.runner import run
from matrix_graph.terminal.trace import trace
from matrix_graph.testing import FakeServer


def _shown(folder: Path, row: str) -> str:
    console = TextConsole(record=True, width=5000, file=StringIO())
    console.print(trace(folder, row))
    return console.export_text()


def test_a_row_is_traced_to_its_calls_actions_and_messages(
    server: FakeServer, tmp_path: Path
) -> None:
    small = {
        "agents": 6,
        "scenarios": 2,
        "rows": 5,
        "model": "openai:fake",
        "embeddings": "openai:fake",
    }
    result = run(RunConfig.model_validate(small | {"base_url": server.url, "out": tmp_path}))
    scenarios = {s["id"]: s for s in result.scenarios()}
    for row in result.rows("sft"):
        shown, origin = _shown(tmp_path, row["id"]), row["provenance"]
        scenario = scenarios[origin["scenario_id"]]
        own = [a for a in scenario["actions"] if a["agent"] == origin["agent_id"]]
        heard = [m for m in scenario["messages"] if m["recipient"] == origin["agent_id"]]
        wanted = [
            *origin["calls"],
            scenario["id"],
            *(a["id"] for a in own),
            *(a["call"] for a in own),
        ]
        assert [part for part in [*wanted, *(m["id"] for m in heard)] if part not in shown] == []
        assert "What you remember" in shown
        recalled = [(a, r) for a in own for r in a["recalled"]]
        assert recalled
        for action, memory in recalled:
            lines = [
                part
                for part in shown.splitlines()
                if f"memory {action['agent']}/{memory['memory']} " in part
            ]
            assert any(f"relevance {memory['relevance']:g}" in line for line in lines)
            assert all(len(line.split(") ")[1]) > 10 for line in lines), "each with its text"
        assert ("left out" in shown) == (len(scenario["people"]) > 1)
    dropped = read_json_lines(tmp_path / "rejected.jsonl")
    if dropped:
        assert f"dropped by {dropped[0]['rule']}" in _shown(tmp_path, dropped[0]["id"])
    with pytest.raises(InputError, match="holds no row 'nothing'"):
        trace(tmp_path, "nothing")
    with pytest.raises(InputError, match="holds no run"):
        trace(tmp_path / "elsewhere", "nothing")
