from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.estimates import estimate
from matrix_graph.runs.runner import arun
from matrix_graph.society.profiles import load_profiles
from matrix_graph.testing import FakeServer

QUIET = {"Other groups:": '{"items": []}'}


@pytest.mark.parametrize(
    "options", [{}, {"modulator": "per_action"}, {"communication": "none", "kind": "sft,dpo"}]
)
async def test_the_calls_of_a_run_are_foreseen(
    server: FakeServer, tmp_path: Path, options: dict[str, Any]
) -> None:
    small = {
        "agents": 20,
        "scenarios": 8,
        "rows": 10,
        "model": "openai:fake",
        "embeddings": "openai:fake",
    }
    server.replies = QUIET if options.get("modulator") else {}
    config = RunConfig.model_validate(small | {"base_url": server.url, "out": tmp_path} | options)
    foreseen = estimate(config, load_profiles()[0])
    summary = (await arun(config)).summary
    assert summary["estimate"] == foreseen.totals()
    assert abs(foreseen.calls - summary["calls"]) <= 0.15 * summary["calls"]


def test_more_of_anything_costs_more() -> None:
    profiles = load_profiles()[0]
    base = {"agents": 50, "scenarios": 20, "rows": 30, "model": "openai:gpt-4.1-mini"}

    def cost(**options: Any) -> float:
        return estimate(RunConfig.model_validate(base | options), profiles).cost

    least = cost()
    assert least > 0
    more: list[dict[str, Any]] = [
        {"scenarios": 40},
        {"rows": 60},
        {"agents": 100},
        {"modulator": "per_action"},
    ]
    assert all(
        cost(**options) > least
        for options in [*more, {"kind": "sft,dpo"}, {"price": "gpt-4.1-mini=9,9"}]
    )
    assert cost(communication="none") < least
    assert least < cost(judge="openai:gpt-4.1-mini") < cost(judge="openai:gpt-4.1-mini", rollouts=4)
    assert cost(model="local") == 0
