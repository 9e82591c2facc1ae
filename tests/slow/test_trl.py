"""TRL's own trainers take two steps each on what `export` wrote: `make test-slow`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl", reason="make test-slow installs it")

import torch
from datasets import Dataset, load_dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from matrix_graph.export.folder import export
from matrix_graph.filtering.sandbox import run_code

pytestmark = pytest.mark.filterwarnings("default")


def _model(tmp_path: Path) -> LlamaForCausalLM:
    """A tiny model with random weights, loaded from a folder: DPO loads its reference from there
    again.
    """
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=131,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=4096,
        eos_token_id=128,
        pad_token_id=129,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "model")
    return LlamaForCausalLM.from_pretrained(tmp_path / "model")


def _rows(folder: Path, target: str, name: str, tmp_path: Path) -> Dataset:
    export(folder, target, tmp_path / target)
    found = load_dataset("json", data_files=str(tmp_path / target / f"{name}.jsonl"), split="train")
    assert isinstance(found, Dataset)
    return found


def _options(tmp_path: Path) -> dict[str, Any]:
    return {
        "output_dir": str(tmp_path / "out"),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "logging_steps": 1,
    }


def _stepped(trainer: Any) -> None:
    trainer.train()
    assert trainer.state.global_step == 2
    assert all(torch.isfinite(parameter).all() for parameter in trainer.model.parameters())


@pytest.mark.parametrize("kind", ["sft", "reason", "code", "safe", "mt"])
def test_sft(folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, kind: str) -> None:
    from trl import SFTConfig, SFTTrainer

    rows = _rows(folder, "trl", kind, tmp_path)
    config = SFTConfig(**_options(tmp_path), max_length=512)
    _stepped(
        SFTTrainer(_model(tmp_path), args=config, train_dataset=rows, processing_class=tokenizer)
    )


def test_dpo(folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    from trl import DPOConfig, DPOTrainer

    rows = _rows(folder, "trl", "dpo", tmp_path)
    config = DPOConfig(**_options(tmp_path), max_length=512, beta=0.1)
    _stepped(
        DPOTrainer(_model(tmp_path), args=config, train_dataset=rows, processing_class=tokenizer)
    )


def test_grpo_with_the_tests_as_its_reward(
    folder: Path, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    from trl import GRPOConfig, GRPOTrainer

    seen: list[str] = []

    def passes(completions: list[Any], tests: list[str], **_: Any) -> list[float]:
        seen.extend(tests)
        return [
            float(not run_code(f"{c[0]['content']}\n{t}"))
            for c, t in zip(completions, tests, strict=True)
        ]

    rows = _rows(folder, "grpo", "code", tmp_path)
    options = _options(tmp_path) | {"num_generations": 2, "max_completion_length": 8}
    trainer = GRPOTrainer(
        _model(tmp_path),
        reward_funcs=passes,
        args=GRPOConfig(**options),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    _stepped(trainer)
    assert seen
    assert all("assert" in tests for tests in seen)
