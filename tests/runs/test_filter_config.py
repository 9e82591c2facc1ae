"""What a run's options become in its filter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from matrix_graph.errors import InputError
from matrix_graph.runs import FilterConfig, RunConfig, RunResult, arun
from matrix_graph.testing import FakeServer

URL = "http://127.0.0.1:9/v1"


def of_run(**options: Any) -> FilterConfig:
    return FilterConfig.of_run(RunConfig.model_validate(options))


def test_a_judge_behind_a_server_goes_with_the_local_model() -> None:
    judged = of_run(judge="openai:x", base_url=URL)
    assert judged.models().judges[0].base_url == URL
    with pytest.raises(InputError, match="goes with an openai:NAME"):
        RunConfig.load(None, {"base_url": URL}).checked()


@pytest.mark.parametrize(("given", "sampled"), [(None, 0.8), (1.0, 1.0), (0.0, 0.0)])
def test_rollouts_are_sampled_at_the_temperature_of_the_run(
    given: float | None, sampled: float
) -> None:
    options = {"model": "openai:x", "base_url": URL, "rollouts": 4, "judge": "openai:j"}
    models = of_run(temperature=given, **options).models()
    assert models.student
    assert models.student.temperature == sampled
    assert models.judges[0].temperature == 0.0


def test_all_contexts_of_a_run_write_to_its_journal(tmp_path: Path) -> None:
    config = RunConfig.model_validate(
        {
            "model": "openai:x",
            "base_url": URL,
            "rollouts": 2,
            "judge": "openai:j",
            "max_calls": 5,
            "max_cost": 2.0,
            "price": ["x=1,2", "j=1,2"],
            "out": tmp_path,
        }
    )
    contexts = (config.context(), *FilterConfig.of_run(config).models().contexts)
    assert {context.journal for context in contexts} == {tmp_path / "journal.sqlite"}
    assert {(context.max_calls, context.max_cost) for context in contexts} == {(5, 2.0)}


async def test_rows_of_a_name_that_was_not_asked_for_are_an_error(
    server: FakeServer, tmp_path: Path
) -> None:
    small = {"agents": 2, "group_size": 2, "scenarios": 1, "rows": 1, "model": "openai:fake"}
    small |= {"embeddings": "openai:fake", "base_url": server.url, "out": tmp_path}
    result = await arun(RunConfig.model_validate(small))
    with pytest.raises(InputError, match="no rows 'stf'; there are sft"):
        result.rows("stf")
    assert RunResult.of(tmp_path).rows("sft") == result.rows("sft")
