"""The filter over a file, as the command line runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.errors import InputError
from matrix_graph.export.folder import export
from matrix_graph.filtering.rules import Rules
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.runs.filter_runner import afilter_rows, arefilter, read_rows
from matrix_graph.runs.runner import arun
from matrix_graph.testing import FakeServer
from tests.filtering.test_planted import clean

ROWS = clean(60, 21)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rows = [
        *ROWS,
        ROWS[3] | {"id": "again"},
        ROWS[0] | {"id": "cut", "completion": "And so we went to the"},
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "rows.jsonl"


def cli(*arguments: Any, **env: str) -> subprocess.CompletedProcess[str]:
    clean_env = (
        {k: v for k, v in os.environ.items() if k != "OPENAI_API_KEY"} | {"COLUMNS": "200"} | env
    )
    command = [sys.executable, "-m", "matrix_graph", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=clean_env, check=False)


@pytest.mark.process
def test_without_a_model(file: Path, tmp_path: Path) -> None:
    benchmark = tmp_path / "bench.txt"
    benchmark.write_text(ROWS[7]["prompt"] + "\n")
    out = tmp_path / "out"
    done = cli("filter", file, "--out", out, "--decontaminate", benchmark)
    assert done.returncode == 0, done.stderr
    assert "59 of 62 rows kept" in done.stderr
    rejected = {r["id"]: r for r in read_json_lines(out / "rejected.jsonl")}
    assert {name: r["rule"] for name, r in rejected.items()} == {
        "cut": "answer breaks off",
        "again": "exact duplicate",
        ROWS[7]["id"]: "contamination",
    }
    kept = read_json_lines(out / "dataset" / "rows.jsonl")
    assert kept == [row for row in ROWS if row["id"] not in rejected], (
        "rows are as they came, with their own ids"
    )
    for name in ("random", "length_matched"):
        assert len(read_json_lines(out / "controls" / f"{name}.jsonl")) == 59
    assert "<svg" in (out / "funnel.svg").read_text()
    card = (out / "README.md").read_text()
    assert "59 of 62" in card
    again = cli("filter", file, "--out", out)
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


@pytest.mark.process
@pytest.mark.slow
async def test_everything_then_other_thresholds_without_a_call(
    file: Path, tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "judged: {min_quality: 1, safe: false}\nrip: {quantile: 0.2}\npairs: true\npreferred: "
        "{consistent: false}\n"
    )
    config = FilterConfig(
        out=tmp_path / "out",
        rules=rules,
        judge=("openai:a", "openai:b"),
        student="openai:s",
        rollouts=3,
        embeddings="openai:e",
        base_url=server.url,
    )
    first = await afilter_rows(file, config)
    assert first.kept
    assert all(row["chosen_score"] > row["rejected_score"] for row in first.kept)
    assert all(
        {"judge", "responses", "rewards", "group", "preference"} <= row.keys() for row in first.kept
    )
    assert export(config.out, "trl", tmp_path / "trl").rows == {"dpo.jsonl": len(first.kept)}
    requests = sum(server.requests.values())

    same = await arefilter(config.out)
    assert same.kept == first.kept
    assert [r["id"] for r in same.rejections] == [r["id"] for r in first.rejections]

    rules.write_text(
        "judged: {min_quality: 6, safe: false}\nrip: false\npairs: true\nnear_duplicates: "
        "{threshold: 0.3}\n"
    )
    moved = await arefilter(config.out, rules)
    assert {row["id"] for row in moved.kept} != {row["id"] for row in first.kept}
    assert all(row["judge"]["quality"] >= 6 for row in moved.kept)
    assert sum(server.requests.values()) == requests, "no model was asked"

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    done = cli("refilter", config.out, "--rules", rules)
    assert done.returncode == 0, done.stderr
    assert sum(server.requests.values()) == requests


@pytest.mark.process
async def test_a_stopped_run_goes_on_and_pays_for_nothing_twice(
    file: Path, tmp_path: Path, server: FakeServer
) -> None:
    given: dict[str, Any] = {
        "out": tmp_path / "out",
        "judge": ("openai:a",),
        "base_url": server.url,
    }
    capped = cli(
        "filter",
        file,
        "--out",
        given["out"],
        "--judge",
        "openai:a",
        "--base-url",
        server.url,
        "--max-calls",
        20,
    )
    assert capped.returncode == 5
    assert "--resume" in capped.stderr
    assert server.requests["ok"] == 20, "with one to see that it answers"
    await afilter_rows(file, FilterConfig(**given), resume=True)
    assert server.requests["ok"] == 61


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--rollouts", "3"], "--student"),
        (
            ["--student", "openai:s", "--reward", "judge", "--base-url", "http://127.0.0.1:1/v1"],
            "--judge",
        ),
        (
            ["--student", "openai:s", "--reward", "oracle", "--base-url", "http://127.0.0.1:1/v1"],
            "not understood",
        ),
        (["--select", "5"], "--judge"),
        (["--judge", "openai:x"], "OPENAI_API_KEY"),
        (["--decontaminate", "nothing.txt"], "nothing.txt"),
        (["--student", "local", "--reward", "local:/nowhere"], "sequence-classification"),
        (
            ["--student", "local", "--reward", "http://127.0.0.1:9/score", "--timeout", "1"],
            "does not score",
        ),
    ],
)
@pytest.mark.process
def test_what_cannot_work_is_told_before_anything_is_written(
    file: Path, tmp_path: Path, options: list[str], told: str
) -> None:
    done = cli("filter", file, "--out", tmp_path / "out", *options)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pass_rate: {lo: 0.2}", "no lo, but thresholds \\(high, inclusive, low\\)"),
        ("passrate: true", "passrate"),
        ("rip: {quantile: many}", "quantile"),
        ("- form", "mapping"),
        ("min_reward: {quantile: 50}", "less than or equal to 1"),
        ("near_duplicates: {threshold: 60}", "less than or equal to 1"),
        ("rollouts: 1", "takes true, false or thresholds"),
        ("rollouts: {n: 1}", "at least 2"),
        ("pass_rate: {low: true}", "takes a value, not true"),
        ("order: [judge]", "no step is called judge"),
        ("preferred: true", "--judge"),
    ],
)
def test_rules_that_do_not_do(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(InputError, match=told):
        Rules.load(tmp_path / "rules.yaml").steps()


def test_rules_are_left_out_and_reordered(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("form: false\norder: [near_duplicates, code]")
    names = [step.name for step in Rules.load(tmp_path / "rules.yaml").steps()]
    assert names[:2] == ["near_duplicates", "code"]
    assert "form" not in names


def test_rows_keep_their_id_or_get_one(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"prompt": "a"}\n{"prompt": "b", "id": 7}\n')
    assert [row["id"] for row in read_rows(path)] == ["mine-1", "7"]
    path.write_text('{"id": 1, "prompt": "a"}\n{"id": "1", "prompt": "b"}\n')
    with pytest.raises(InputError, match="one id"):
        read_rows(path)


ODD: tuple[Any, ...] = (
    {"messages": 5},
    {"messages": ["a", "b"]},
    {"messages": {"role": "user"}},
    {"messages": [None]},
    {"messages": "text"},
    {"prompt": True, "completion": "x"},
    {"prompt": [1, 2], "completion": "x"},
    {"prompt": "Why so?", "completion": 42},
    {"prompt": "Why is it so cold here?", "completion": [{"role": "assistant"}]},
    {"text": "plain"},
    {},
    {
        "prompt": "How do I bake a bread in it?",
        "completion": "Bake it well.",
        "judge": "gpt-4",
        "rewards": ["a"],
        "group": "bakers",
        "responses": 5,
        "chosen_score": [1],
        "preference": "x",
        "answer": {},
        "tests": 5,
        "kind": 7,
    },
    {
        "prompt": "How do I bake half a \ud83d of it?",
        "completion": "Bake it well.",
        "language": 5,
        "category": "[/b]",
    },
    {
        "prompt": [
            {"role": "user", "content": [{"type": "text", "text": "How do I mend the net?"}]}
        ],
        "completion": [
            {"role": "assistant", "content": [{"type": "text", "text": "With a needle."}]}
        ],
    },
)


@pytest.mark.process
def test_rows_of_odd_shapes_are_dropped_with_a_reason_or_kept(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text(
        "\ufeff" + "".join(json.dumps(row) + "\n" for row in [*ODD, *ROWS[:3]])
    )
    done = cli("filter", tmp_path / "odd.jsonl", "--out", tmp_path / "out [/x]")
    assert done.returncode == 0, done.stderr
    kept = [
        row["id"]
        for f in (tmp_path / "out [/x]" / "dataset").glob("*")
        for row in read_json_lines(f)
    ]
    rejected = {
        r["id"]: r["rule"] for r in read_json_lines(tmp_path / "out [/x]" / "rejected.jsonl")
    }
    assert len(kept) + len(rejected) == len(ODD) + 3
    assert {rejected[f"odd-{n}"] for n in (1, 2, 3, 4, 5, 6, 7, 8, 10, 11)} == {"not a TRL layout"}
    assert {"odd-12", "odd-13", "odd-14"} <= set(kept)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 200_000, "not JSON"),
        (b"5\n", "not a JSON object"),
        (b"", "holds no row"),
        (b'{"instruction": "a", "output": "b"}\n', "TRL's layouts"),
    ],
)
@pytest.mark.process
def test_files_that_are_no_rows(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "rows.jsonl").write_bytes(content)
    done = cli("filter", tmp_path / "rows.jsonl", "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert told in done.stderr


@pytest.mark.slow
async def test_a_run_can_carry_the_whole_funnel(tmp_path: Path, server: FakeServer) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("judged: {min_quality: 3, safe: false}\n")
    config = RunConfig(
        agents=8,
        scenarios=4,
        rows=6,
        model="openai:m",
        embeddings="openai:e",
        base_url=server.url,
        out=tmp_path / "run",
        judge=("openai:j",),
        rollouts=2,
        reward=("judge",),
        rules=rules,
    )
    result = await arun(config)
    assert result.complete
    assert all(
        row["judge"]["quality"] >= 3 and len(row["rewards"]) == 2 for row in result.rows("sft")
    )
    again = await arun(config, resume=True)
    assert again.rows("sft") == result.rows("sft")
