from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from matrix_graph.boundary.files import read_json_lines, write_json_lines
from matrix_graph.errors import InputError
from matrix_graph.export.folder import export
from matrix_graph.export.formats import VIEWS, Unfit
from matrix_graph.generation.requirements import KINDS
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.runner import run
from matrix_graph.testing import FakeServer


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with rows of every kind."""
    out = tmp_path_factory.mktemp("run")
    with FakeServer() as server:
        small = {
            "agents": 6,
            "scenarios": 3,
            "rows": 4,
            "model": "openai:fake",
            "embeddings": "openai:fake",
        }
        result = run(
            RunConfig.model_validate(small | {"kind": KINDS, "base_url": server.url, "out": out})
        )
    assert result.complete, result.summary["counts"]
    assert result.summary["counts"]["kept"] == dict.fromkeys(KINDS, 4)
    return out


def _ids(folder: Path) -> set[str]:
    return {
        row["id"] for path in (folder / "dataset").glob("*.jsonl") for row in read_json_lines(path)
    }


@pytest.mark.parametrize("target", VIEWS)
def test_every_row_is_either_written_or_refused_with_a_reason(
    finished: Path, tmp_path: Path, target: str
) -> None:
    done = export(finished, target, tmp_path)
    written = sum(n for name, n in done.rows.items() if name != "rejected.jsonl")
    assert written + len(done.refused) == len(_ids(finished))
    assert {r["id"] for r in done.refused} <= _ids(finished)
    assert all(r["reason"] for r in done.refused)
    assert read_json_lines(tmp_path / "refused.jsonl") == done.refused


def test_the_hub_folder_loads_with_datasets(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    datasets = pytest.importorskip("datasets")
    export(finished, "hf", tmp_path / "hub")
    for kind in KINDS:
        loaded = datasets.load_dataset(str(tmp_path / "hub"), kind, split="train")
        assert len(loaded) == 4
        assert loaded[0]["provenance"]["scenario_id"]
    head = yaml.safe_load((tmp_path / "hub" / "README.md").read_text().split("---")[1])
    assert {c["config_name"] for c in head["configs"]} == set(KINDS)
    for line in (tmp_path / "hub" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((tmp_path / "hub" / name).read_bytes()).hexdigest() == digest


def test_llama_factory_gets_pairs_with_single_answers_and_its_index(
    finished: Path, tmp_path: Path
) -> None:
    export(finished, "llama-factory", tmp_path)
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info["dpo"]["ranking"] is True
    for name, entry in info.items():
        rows = read_json_lines(tmp_path / entry["file_name"])
        assert rows
        assert set(entry["columns"].values()) <= set(rows[0])
        assert ("ranking" in entry) == (name == "dpo")
    pair = read_json_lines(tmp_path / "dpo.jsonl")[0]
    assert pair["chosen"]["role"] == pair["rejected"]["role"] == "assistant"


def test_grpo_and_verl_take_only_what_can_be_scored(finished: Path, tmp_path: Path) -> None:
    done = export(finished, "grpo", tmp_path / "grpo")
    assert set(done.rows) == {"reason.jsonl", "code.jsonl"}
    for row in read_json_lines(tmp_path / "grpo" / "code.jsonl"):
        assert row["prompt"][-1]["role"] == "user"
        assert "assert" in row["tests"]
    pytest.importorskip("pyarrow")
    done = export(finished, "verl", tmp_path / "verl")
    assert set(done.rows) == {
        "sft.parquet",
        "safe.parquet",
        "mt.parquet",
        "reason-rl.parquet",
        "code-rl.parquet",
    }
    assert {r["file"] for r in done.refused} == {"dpo.jsonl"}


@pytest.mark.parametrize("target", ["trl", "axolotl", "llama-factory"])
def test_the_recipe_is_the_papers_and_names_files_that_exist(
    finished: Path, tmp_path: Path, target: str
) -> None:
    done = export(finished, target, tmp_path)
    sft, dpo = (
        yaml.safe_load((tmp_path / f"{stage}.yaml").read_text()) for stage in ("sft", "dpo")
    )
    for config in (sft, dpo):
        assert config["learning_rate"] == 2e-5
        assert (config.get("num_train_epochs") or config["num_epochs"]) == 2
        named = [d.get("data_files") or d["path"] for d in config.get("datasets", [])]
        named += [f"{name}.jsonl" for name in config.get("dataset", "").split(",") if name]
        assert named
        assert set(named) <= set(done.rows)
    assert 0.1 in dpo.values()


HOSTILE: list[tuple[str, dict[str, Any], str]] = [
    ("trl", {"text": "x"}, "neither messages nor"),
    ("trl", {"messages": [{"role": "user", "content": "q"}]}, "does not end with the assistant"),
    ("trl", {"messages": []}, "no messages"),
    ("llama-factory", {"messages": [{"role": "assistant", "content": "a"}]}, "do not alternate"),
    (
        "llama-factory",
        {
            "prompt": "q",
            "chosen": [
                {"role": "assistant", "content": "a"},
                {"role": "assistant", "content": "b"},
            ],
            "rejected": "c",
        },
        "chosen has 2 messages",
    ),
    ("verl", {"prompt": "q", "chosen": "a", "rejected": "b"}, "no preference pairs"),
    (
        "grpo",
        {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        "score",
    ),
]


@pytest.mark.parametrize(("target", "row", "told"), HOSTILE)
def test_what_a_layout_cannot_hold_is_refused(target: str, row: dict[str, Any], told: str) -> None:
    with pytest.raises(Unfit, match=told):
        VIEWS[target]({"id": "1", "kind": "x", **row})


def test_foreign_rows_are_refused_and_broken_files_told(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"messages": [{"role": "user", "content": None}]},
        {"messages": [{"role": "user"}]},
        {"messages": ["hello"]},
        {"prompt": None, "chosen": None, "rejected": None},
        {"messages": 7},
    ]
    write_json_lines(tmp_path / "dataset" / "sft.jsonl", rows)
    for target in VIEWS:
        if target != "hf":
            assert len(export(tmp_path, target).refused) == len(rows)
    (tmp_path / "dataset" / "sft.jsonl").write_text('{"id": 1}\n[2]\n')
    with pytest.raises(InputError, match="line 2: not a JSON object"):
        export(tmp_path, "trl")


def test_an_export_replaces_an_earlier_one_and_nothing_else(finished: Path, tmp_path: Path) -> None:
    export(finished, "trl", tmp_path / "out")
    (tmp_path / "out" / "stale.jsonl").write_text("{}")
    export(finished, "axolotl", tmp_path / "out")
    assert not (tmp_path / "out" / "stale.jsonl").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds files that are no export"):
        export(finished, "trl", tmp_path / "mine")
    for own in (finished, finished / "dataset"):
        with pytest.raises(InputError, match="the run's own files"):
            export(finished, "trl", own)


def test_no_run_and_no_target_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are trl, axolotl"):
        export(tmp_path, "word")
    with pytest.raises(InputError, match="holds no data set"):
        export(tmp_path, "trl")
    write_json_lines(tmp_path / "dataset" / "sft.jsonl", [])
    assert export(tmp_path, "trl").rows == {}
