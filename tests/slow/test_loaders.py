"""LLaMA-Factory's and Axolotl's own loaders read what `export` wrote, as its configuration says."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import yaml
from datasets import Dataset, load_dataset
from transformers import PreTrainedTokenizerFast

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.export.folder import export

pytestmark = pytest.mark.filterwarnings("default")
CHATS = ["sft", "reason", "code", "safe", "mt"]


@pytest.fixture
def _as_installed_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """LLaMA-Factory beside TRL's transformers, and without torchaudio, of which no build goes with
    this PyTorch.
    """
    monkeypatch.setenv("DISABLE_VERSION_CHECK", "1")
    stub = ModuleType("torchaudio")
    stub.__spec__ = ModuleSpec("torchaudio", None)
    monkeypatch.setitem(sys.modules, "torchaudio", stub)


def _loaded(path: Path) -> Dataset:
    found = load_dataset("json", data_files=str(path), split="train")
    assert isinstance(found, Dataset)
    return found


@pytest.mark.usefixtures("_as_installed_here")
@pytest.mark.parametrize("kind", [*CHATS, "dpo"])
def test_llama_factory(folder: Path, tmp_path: Path, kind: str) -> None:
    pytest.importorskip("llamafactory", reason="make test-slow installs it")
    from llamafactory.data.converter import align_dataset
    from llamafactory.data.parser import get_dataset_list
    from llamafactory.hparams import DataArguments

    out = export(folder, "llama-factory", tmp_path / "out").folder
    named = yaml.safe_load((out / f"{'dpo' if kind == 'dpo' else 'sft'}.yaml").read_text())[
        "dataset"
    ].split(",")
    assert kind in named
    (attributes,) = get_dataset_list([kind], str(out))
    arguments: Any = DataArguments(dataset_dir=str(out), overwrite_cache=True)
    training: Any = SimpleNamespace(local_process_index=0)
    rows = align_dataset(_loaded(out / attributes.dataset_name), attributes, arguments, training)
    given = read_json_lines(out / f"{kind}.jsonl")
    assert len(rows) == len(given) == 8
    for row, source in zip(rows, given, strict=True):
        said = [turn["content"] for turn in [*row["_prompt"], *row["_response"]]]
        turns = source["messages"] + [
            source[name] for name in ("chosen", "rejected") if name in source
        ]
        assert said == [turn["content"] for turn in turns], (
            "a row that it cannot read it empties, with a warning"
        )


def _axolotl(folder: Path, out: Path, name: str) -> Any:
    pytest.importorskip("axolotl", reason="make test-slow installs it")
    from axolotl.utils.dict import DictDefault

    return DictDefault(
        yaml.safe_load((export(folder, "axolotl", out).folder / f"{name}.yaml").read_text())
    )


@pytest.mark.parametrize("kind", CHATS)
def test_axolotl(
    folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, kind: str
) -> None:
    config = _axolotl(folder, tmp_path / "out", "sft")
    from axolotl.prompt_strategies.chat_template import load

    (entry,) = [data for data in config["datasets"] if data["path"] == f"{kind}.jsonl"]
    assert entry["type"] == "chat_template"
    strategy = load(tokenizer, config, entry)
    rows = _loaded(tmp_path / "out" / entry["path"])
    assert len(rows) == 8
    for row in rows:
        made = strategy.tokenize_prompt(row)
        learned = tokenizer.decode([label for label in made["labels"] if label != -100]).replace(
            " ", ""
        )
        for turn in row["messages"]:
            assert ("".join(turn["content"].split()) in "".join(learned.split())) == (
                turn["role"] == "assistant"
            )


def test_axolotl_pairs(folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    config = _axolotl(folder, tmp_path / "out", "dpo")
    from axolotl.prompt_strategies.dpo.chat_template import default

    assert config["datasets"][0]["type"] == "chat_template.default"
    read, _ = default(config)
    for row in _loaded(tmp_path / "out" / config["datasets"][0]["path"]):
        made = read(row, tokenizer=tokenizer)
        assert row["prompt"][-1]["content"] in made["prompt"]
        assert made["chosen"].startswith(row["chosen"][0]["content"])
        assert made["rejected"].startswith(row["rejected"][0]["content"])
