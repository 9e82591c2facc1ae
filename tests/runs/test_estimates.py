from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from matrix_graph.llm.slot import Slot
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.estimates import SPARE, estimate
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.runner import arun
from matrix_graph.society.profiles import load_profiles
from matrix_graph.testing import FakeServer

QUIET = {"Other groups:": '{"items": []}'}


@pytest.mark.parametrize(
    "options", [{}, {"modulator": "per_action"}, {"communication": "none", "kind": "sft,dpo"}]
)
@pytest.mark.slow
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


def test_the_rules_count_too(tmp_path: Path) -> None:
    profiles = load_profiles()[0]
    rules = tmp_path / "rules.yaml"
    rules.write_text("rollouts: {n: 4}\npreferred: true\nnot_guessable: true\n")
    base = {"model": "openai:x", "kind": "sft,dpo", "rows": 40, "judge": "openai:a,openai:b"}
    options = base | {"reward": "judge", "rules": rules}
    parts = {p.name: p.calls for p in estimate(RunConfig.model_validate(options), profiles).parts}
    rows = 2 * round(40 * SPARE)
    assert parts["filter judge"] == 2 * rows
    assert parts["filter rollouts"] == parts["filter rewards"] == 4 * rows
    assert parts["filter preferences"] == 2 * rows // 2
    assert parts["filter guesses"] == 8 * rows
    rules.write_text("rollouts: false\n")
    options = base | {"student": "openai:x", "rules": rules}
    parts = {p.name: p.calls for p in estimate(RunConfig.model_validate(options), profiles).parts}
    assert "filter rollouts" not in parts


async def test_the_rollouts_of_a_run_are_as_many_as_estimated(
    server: FakeServer, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "rollouts: {n: 3}\nzero_advantage: false\njudged: {min_quality: 1, safe: false}"
    )
    config = RunConfig.model_validate(
        {
            "agents": 4,
            "group_size": 2,
            "scenarios": 2,
            "rows": 5,
            "model": "openai:fake",
            "embeddings": "openai:fake",
            "judge": "openai:judge",
            "student": "openai:student",
            "reward": "judge",
            "rules": rules,
            "base_url": server.url,
            "out": tmp_path / "run",
        }
    )
    result = await arun(config)
    slots = [Slot.parse(entry.slot) for entry in RunRecord(result.out).entries("filter/")]
    assert sum(slot.what == "rollout" for slot in slots) == 3 * 5
    assert sum(slot.what == "rate" for slot in slots) == 3 * 5
