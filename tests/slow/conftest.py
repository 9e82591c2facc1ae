"""A run with all kinds of rows, and a tokenizer of single letters, for the trainers' own code."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("trl", reason="make test-slow installs the trainers and a CPU build of PyTorch")

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from matrix_graph.generation.requirements import KINDS
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.runner import run
from matrix_graph.testing import FakeServer

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<eos>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    with FakeServer() as server:
        small = {
            "agents": 8,
            "scenarios": 4,
            "rows": 8,
            "model": "openai:fake",
            "embeddings": "openai:fake",
        }
        assert run(
            RunConfig.model_validate(small | {"kind": KINDS, "base_url": server.url, "out": out})
        ).complete
    return out


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    letters = {chr(n): n for n in range(128)} | {"<eos>": 128, "<pad>": 129, "<unk>": 130}
    plain = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    fast = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        bos_token="<eos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=TEMPLATE,
    )
    fast.padding_side = "left"
    return fast
