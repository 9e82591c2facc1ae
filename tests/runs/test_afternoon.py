"""What a first afternoon in a notebook ran into, each as a test."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from matrix_graph import InputError, RunConfig, arun
from matrix_graph.debugger import Debugger, fork_run
from matrix_graph.runs import FilterConfig, RunRecord, afilter_rows, arefilter, estimate, run
from matrix_graph.testing import FakeChat, FakeEmbeddings, FakeServer
from tests.runs.test_objects import ROWS, given

PRICED: dict[str, Any] = {
    **{"agents": 4, "group_size": 2, "scenarios": 2, "rows": 2, "price": {"fake": (1000, 1000)}},
    **{"model": "openai:fake", "embeddings": "openai:fake"},
}


@pytest.mark.parametrize("option", ["max_cost", "base_url"])
async def test_an_option_that_goes_with_a_model_may_be_given_alone_on_resume(
    option: str, server: FakeServer, tmp_path: Path
) -> None:
    config = RunConfig(**PRICED, base_url=server.url, max_cost=3, out=tmp_path)
    assert (await arun(config)).ended.status == "cap"
    anew: dict[str, Any] = {"max_cost": 1_000} | (
        {"base_url": server.url} if option != "max_cost" else {}
    )
    assert (await arun(RunConfig(out=tmp_path, **anew), resume=True)).complete


async def test_other_thresholds_leave_the_other_rules_as_they_were(tmp_path: Path) -> None:
    rows = [*ROWS, {"prompt": "Who won it in Oslo?", "completion": "Nobody knows it yet."}]
    config = FilterConfig(rules={"form": {"min_prompt_words": 6}}, out=tmp_path)
    first = await afilter_rows(rows, config)
    assert [r["rule"] for r in first.rejections] == ["prompt too short"]
    again = await arefilter(tmp_path, {"near_duplicates": {"threshold": 0.5}})
    assert again.rejections == first.rejections
    once_more = await arefilter(tmp_path, {"form": {"min_prompt_words": 2}})
    assert not once_more.rejections
    assert (await arefilter(tmp_path)).rejections == []


async def test_clones_of_people_and_unknown_languages_are_told(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    wanted = [{"kind": "sft", "count": 1, "language": "Low Saxon"}]
    config = given(tmp_path, agents=7, clone=True, requirements=wanted)
    await arun(config, listen=events.append)
    notes = events[0]["notes"]
    assert "4 profiles for 7 agents: 3 are clones" in notes[0]
    assert "Low Saxon cannot be checked" in notes[1]


async def test_a_language_that_may_be_misspelt_is_told(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    wanted = [{"kind": "sft", "count": 1, "language": "Germn"}]
    await arun(given(tmp_path, requirements=wanted), listen=events.append)
    assert "did you mean German?" in events[0]["notes"][0]


async def test_a_run_is_replaced_by_one_on_its_own_tables(tmp_path: Path) -> None:
    first = await arun(given(tmp_path, decontaminate=["one two three four"]))
    anew = given(
        tmp_path, profiles=tmp_path / "profiles.jsonl", decontaminate=tmp_path / "benchmark.jsonl"
    )
    second = await arun(anew, overwrite=True)
    assert second.rows("sft") == first.rows("sft")
    assert (tmp_path / "benchmark.jsonl").is_file()


async def test_tables_left_by_a_run_killed_as_it_began_are_no_hindrance(tmp_path: Path) -> None:
    for out in (tmp_path / "run", tmp_path / "filtered"):
        out.mkdir()
        (out / "profiles.jsonl").write_text("{}")
        (out / ".benchmark.jsonl.0123456789ab.part").write_text("{}")
    assert (await arun(given(tmp_path / "run"))).complete
    assert (await afilter_rows(ROWS, FilterConfig(out=tmp_path / "filtered"))).kept


async def test_refilter_keeps_what_flags_said(tmp_path: Path) -> None:
    asked = "How do I mend the torn net of my old boat before the next storm comes in?"
    rows = [{"prompt": asked, "completion": "With twine and patience, as ever."}]
    first = await afilter_rows(rows, FilterConfig(language="Croatian", out=tmp_path))
    assert [r["rule"] for r in first.rejections] == ["other language"]
    assert (await arefilter(tmp_path, {"language": True})).rejections == first.rejections


async def test_a_rule_that_names_rollouts_has_the_student(tmp_path: Path) -> None:
    config = given(tmp_path, student=FakeChat(), rules={"rollouts": {"n": 2}})
    assert FilterConfig.of_run(config).student is config.student


@pytest.mark.parametrize("value", [b"bytes", {1}, object()])
async def test_a_value_that_is_no_json_is_named(value: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"rows: number 2, odd: a \w+ cannot be written"):
        await afilter_rows([ROWS[0], ROWS[1] | {"odd": value}], FilterConfig(out=tmp_path / "x"))


async def test_numbers_that_json_lacks_are_null(tmp_path: Path) -> None:
    odd = {"scores": [1.0, float("nan")], "price": Decimal("1.5"), "best": float("inf")}
    result = await afilter_rows([ROWS[0] | odd], FilterConfig(out=tmp_path))
    (line,) = (tmp_path / "dataset" / "rows.jsonl").read_text("utf-8").splitlines()
    assert "NaN" not in line
    assert "Infinity" not in line
    assert result.kept[0]["price"] == 1.5


def test_a_preview_of_the_current_folder_stands_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert RunConfig(out=".").preview().folder == tmp_path.with_name(f"{tmp_path.name}-preview")


async def test_a_run_on_objects_has_branches(tmp_path: Path) -> None:
    result = await arun(given(tmp_path / "run"))
    record, out = RunRecord(str(result.out)), tmp_path / "branch"
    with Debugger(record) as debugger:
        debugger.agent()
        change = debugger.change("action", "I sold the boat.")
        with pytest.raises(InputError, match=r"objects for embeddings, model; .* models=RunConfig"):
            debugger.fork(change, out)
        assert not out.exists()
        models = RunConfig(model=FakeChat(), embeddings=FakeEmbeddings())
        with debugger.fork(change, out, models=models) as there:
            assert there.here.text == "I sold the boat."
            there.finish()
        assert fork_run(record, change, tmp_path / "other", models=models).complete
        assert len(repr(debugger)) < 400
        assert len(repr(debugger.here)) < 300


def test_help_says_what_each_option_is() -> None:
    for config in (RunConfig, FilterConfig):
        assert config.__doc__ is not None
        for name, field in config.model_fields.items():
            assert f"{name}: {field.description}" in config.__doc__
    assert "BeforeValidator" not in str(RunConfig.__signature__)
    assert "resume: Go on with the run" in str(run.__doc__)


def test_an_estimate_needs_no_profiles() -> None:
    assert estimate(RunConfig(agents=4, rows=2)).calls > 10


def test_requirements_are_checked_where_they_are_given() -> None:
    with pytest.raises(InputError, match="langauge: Extra inputs"):
        RunConfig(requirements=[{"kind": "sft", "langauge": "English"}])


async def test_a_result_says_in_a_cell_why_rows_are_missing(
    server: FakeServer, tmp_path: Path
) -> None:
    server.replies = {"Write what this person": "I went out to sea today and came back."}
    result = await arun(RunConfig(**PRICED, base_url=server.url, out=tmp_path))
    assert result.ended.status == "exhausted"
    assert "dropped: no request" in result._repr_html_()
    assert list(result.to_pandas().columns) == ["id", "kind"]
    assert json.dumps(result.summary)
