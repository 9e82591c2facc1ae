"""A run and a filter run take objects where a notebook has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings

from matrix_graph import InputError, Profile, RunConfig, RunResult, arun, load_profiles, run
from matrix_graph.debugger import replay_run
from matrix_graph.debugger.snapshot import record_of
from matrix_graph.filtering import Rules
from matrix_graph.generation.requirements import Requirement
from matrix_graph.runs import FilterConfig, afilter_rows, arefilter
from matrix_graph.testing import FakeChat, FakeEmbeddings

PEOPLE = [
    {"name": f"Person {n}", "description": f"Keeps {n} bees in a garden.", "posts": [f"Post {n}"]}
    for n in range(4)
]
ROWS = [
    {"prompt": prompt, "completion": answer}
    for prompt, answer in (
        ("How do I keep bees over the winter?", "Give them shelter, sugar and quiet."),
        ("Write a notice about the lift that is broken.", "Please take the stairs until Friday."),
        ("What is a fair price for old oak boards?", "About twenty euros for each metre."),
        ("Plan a walk of three hours along the coast.", "Start at the harbour, then go north."),
    )
]


def given(out: Path, **options: Any) -> RunConfig:
    """A small run on objects alone."""
    small: dict[str, Any] = {"agents": 4, "group_size": 2, "scenarios": 2, "rows": 2, "out": out}
    objects = {"model": FakeChat(), "embeddings": FakeEmbeddings(), "profiles": PEOPLE}
    return RunConfig(**(small | objects | options))


async def test_a_run_on_objects_goes_on_with_its_models_alone(tmp_path: Path) -> None:
    config = given(
        tmp_path / "run",
        student=FakeChat(),
        requirements=[{"kind": "sft"}, Requirement(kind="dpo", count=1, name="pairs")],
        rules={"near_duplicates": False},
        decontaminate=["What is the capital of France, and how many people live there?"],
    )
    first = await arun(config)
    assert first.complete, first.ended
    rows = first.rows("sft")
    assert len(rows) == 2
    assert len(first.rows("pairs")) == 1
    assert (first.out / "profiles.jsonl").is_file()
    assert (first.out / "benchmark.jsonl").is_file()
    elsewhere = tmp_path / "elsewhere"
    shutil.move(first.out, elsewhere)

    with pytest.raises(InputError, match="objects for embeddings, model, student; give them"):
        await arun(RunConfig(out=elsewhere), resume=True)
    chat = FakeChat()
    models = RunConfig(
        out=str(elsewhere), model=chat, student=FakeChat(), embeddings=FakeEmbeddings()
    )
    assert (await arun(models, resume=True)).rows("sft") == rows
    assert not chat.calls


async def test_what_it_is_given_again_must_be_what_it_was(tmp_path: Path) -> None:
    config = given(tmp_path, decontaminate=["one two three"])
    await arun(config)
    assert (await arun(config, resume=True)).complete
    for other in (
        given(tmp_path, profiles=PEOPLE[:3]),
        given(tmp_path, decontaminate=["four five six"]),
        given(tmp_path, decontaminate=None),
        given(tmp_path, model="local"),
    ):
        with pytest.raises(InputError, match="began with another --"):
            await arun(other, resume=True)


async def test_it_is_read_and_lived_again_without_its_models(tmp_path: Path) -> None:
    first = await arun(given(tmp_path / "run"))
    again = replay_run(str(first.out), str(tmp_path / "again"))
    assert again.complete
    assert again.rows("sft") == first.rows("sft")
    summary = json.loads((first.out / "run.json").read_text("utf-8"))
    summary["ended"] = {"status": "running", "reason": ""}
    (first.out / "run.json").write_text(json.dumps(summary), "utf-8")
    assert record_of(str(first.out)).moments
    assert "FakeChat" in (first.out / "README.md").read_text("utf-8")


def test_contacts_in_a_table_of_profiles_are_in_no_file(tmp_path: Path) -> None:
    people = [
        p | {"description": f"{p['description']} Write to a{n}@example.org.", "web": {"at": [
            "https://example.org/x"]}}
        for n, p in enumerate(PEOPLE)
    ]  # fmt: skip
    config = given(tmp_path, profiles=people)
    run(config)
    assert run(config, resume=True).complete, "they are the same when given again"
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"example.org" not in path.read_bytes(), path


def test_profiles_come_as_any_table() -> None:
    import datasets
    import pandas

    shipped, _ = load_profiles()
    assert load_profiles(shipped)[0] == shipped
    for table in (PEOPLE, pandas.DataFrame(PEOPLE), datasets.Dataset.from_list(PEOPLE)):
        profiles, bad = load_profiles(table)
        assert [p.name for p in profiles] == [p["name"] for p in PEOPLE]
        assert profiles[1].posts == ("Post 1",)
        assert not bad


def test_what_is_no_profile_in_a_table_is_a_bad_row() -> None:
    rows = [*PEOPLE, {"name": "", "description": "x"}, {"description": "x"}]
    profiles, bad = load_profiles(rows)
    assert len(profiles) == 4
    assert [row.row for row in bad] == [5, 6]
    wild = Profile("p", "Ada", "Mail me at ada@example.org.")
    assert "example.org" not in load_profiles([wild])[0][0].description


@pytest.mark.parametrize("sort", ["list", "generator", "pandas", "datasets", "path", "string"])
async def test_rows_come_as_any_table(sort: str, tmp_path: Path) -> None:
    import datasets
    import pandas

    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), "utf-8")
    tables: dict[str, Any] = {
        "list": ROWS,
        "generator": (row for row in ROWS),
        "pandas": pandas.DataFrame([*ROWS, {"prompt": None}]),
        "datasets": datasets.Dataset.from_list(ROWS),
        "path": path,
        "string": str(path),
    }
    result = await afilter_rows(tables[sort], FilterConfig(out=str(tmp_path / "out")))
    assert [row["prompt"] for row in result.kept] == [row["prompt"] for row in ROWS]
    again = await arefilter(str(tmp_path / "out"), {"form": False})
    assert len(again.kept) >= len(ROWS)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"train": ROWS}, "take one of its parts"),
        (5, "a list of mappings"),
        (["text"], "number 1 is no mapping"),
        ([], "holds no row"),
    ],
)
async def test_what_is_no_table_is_named(table: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        await afilter_rows(table, FilterConfig(out=tmp_path / "out"))


async def test_a_filter_takes_models_and_a_benchmark(tmp_path: Path) -> None:
    judge = FakeChat()
    config = FilterConfig(
        out=tmp_path,
        judge=[judge],
        embeddings=FakeEmbeddings(),
        rules=Rules(),
        decontaminate=[ROWS[0]["prompt"]],
    )
    result = await afilter_rows(ROWS, config)
    assert judge.calls
    assert [r["rule"] for r in result.rejections if r["id"] == "row-1"] == ["contamination"]
    again = await arefilter(tmp_path)
    assert again.kept == result.kept


def test_rules_are_written_as_they_are_read() -> None:
    rules = Rules.model_validate(
        {
            "form": {"min_prompt_words": 2},
            "pass_rate": {"low": 0.1, "high": 0.9},
            "near_duplicates": False,
            "rip": True,
            "contamination": {"share": 0.5},
            "order": ["contamination", "form"],
        }
    )
    written = json.loads(rules.model_dump_json())
    assert Rules.model_validate(written) == rules
    assert "benchmark" not in str(written)
    assert Rules.model_validate(json.loads(Rules().model_dump_json())) == Rules()


def test_wrong_objects_are_refused() -> None:
    for options in ({"model": 5}, {"model": FakeEmbeddings()}, {"embeddings": FakeChat()}):
        with pytest.raises(InputError, match=r"^(model|embeddings): "):
            RunConfig(**options)
    assert isinstance(RunConfig(embeddings=FakeEmbeddings()).embeddings, Embeddings)


async def test_the_result_opens_by_a_string(tmp_path: Path) -> None:
    await arun(given(tmp_path))
    assert RunResult.of(str(tmp_path)).complete
