"""A reward model on disk: a tiny sequence classifier, saved and loaded as a user's would be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from matrix_graph.errors import InputError
from matrix_graph.filtering.graph import create_filter
from matrix_graph.filtering.steps.rewards import LocalReward, Rewards
from tests.helpers import sft

pytestmark = pytest.mark.filterwarnings("default")


async def test_a_model_on_disk_scores_each_response(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=131,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=1,
        pad_token_id=129,
    )
    LlamaForSequenceClassification(config).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    row = sft("1", "How do I mend a net?") | {
        "responses": ["With a needle.", "Not at all.", "With a needle."]
    }
    result = (
        await create_filter([Rewards((LocalReward(tmp_path / "model"),))])
        .compile()
        .ainvoke({"rows": [row]})
    )
    rewards = result["rows"][0]["rewards"]
    assert rewards[0] == rewards[2] != rewards[1]
    assert result["rows"][0]["group"]["p"] is None


async def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        await LocalReward(tmp_path / "nothing")(sft("1", "How?"), ["a"])
