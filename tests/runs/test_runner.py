from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.errors import InputError
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.result import RunResult
from matrix_graph.runs.runner import arun, run
from matrix_graph.testing import FakeServer, Faults

pytestmark = pytest.mark.slow


def config(server: FakeServer, out: Path, **options: Any) -> RunConfig:
    small = {
        "agents": 8,
        "scenarios": 3,
        "rows": 6,
        "model": "openai:fake",
        "embeddings": "openai:fake",
    }
    return RunConfig.model_validate(small | {"base_url": server.url, "out": out} | options)


def check_provenance(result: RunResult) -> None:
    scenarios = {s["id"]: s for s in result.scenarios()}
    db = sqlite3.connect(result.out / "journal.sqlite")
    slots = {slot for (slot,) in db.execute("SELECT slot FROM calls")}
    db.close()
    for kind in result.summary["config"]["kind"]:
        for row in result.rows(kind):
            origin = row["provenance"]
            scenario = scenarios[origin["scenario_id"]]
            assert origin["group"] == scenario["group"]
            assert origin["agent_id"] in scenario["agents"]
            assert set(origin["actions"]) <= {a["id"] for a in scenario["actions"]}
            assert set(origin["calls"]) <= slots
            assert {a["call"] for a in scenario["actions"]} <= slots


async def test_a_run_writes_all_its_files(server: FakeServer, tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    result = await arun(config(server, tmp_path / "run", kind="sft,dpo"), listen=events.append)
    assert result.complete
    assert len(result.rows("sft")) == len(result.rows("dpo")) == 6
    check_provenance(result)
    names = {p.name for p in result.out.iterdir()}
    expected = {
        "run.json",
        "scenarios.jsonl",
        "dataset",
        "rejected.jsonl",
        "README.md",
        "journal.sqlite",
    }
    assert expected | {"checkpoints.sqlite", "chroma", "society.json"} <= names
    summary = result.summary
    assert summary["counts"]["kept"] == {"sft": 6, "dpo": 6}
    assert summary["counts"]["scenarios"] == 3
    assert summary["calls"] == server.requests.total()
    assert summary["tokens"]["input"] > 0
    assert summary["homophily"]["in_group"] > summary["homophily"]["out_group"]
    assert {e["stage"] for e in events} == {
        "start",
        "personas",
        "society",
        "generate",
        "filter",
        "end",
    }
    assert "tags:\n- synthetic" in (result.out / "README.md").read_text()


async def test_resuming_a_finished_run_costs_nothing(server: FakeServer, tmp_path: Path) -> None:
    first = await arun(config(server, tmp_path))
    rows, calls = first.rows("sft"), server.requests.total()
    again = await arun(RunConfig(out=tmp_path), resume=True)
    assert server.requests.total() == calls
    assert again.rows("sft") == rows
    assert again.complete


async def test_a_recorded_journal_replays_offline_byte_for_byte(tmp_path: Path) -> None:
    names = (
        "society.json",
        "scenarios.jsonl",
        "dataset/sft.jsonl",
        "dataset/dpo.jsonl",
        "rejected.jsonl",
    )
    with FakeServer(faults=Faults(malformed=0.1, truncated=0.1, error=0.05)) as server:
        await arun(config(server, tmp_path, kind="sft,dpo"))
    first = {name: (tmp_path / name).read_bytes() for name in names}
    for path in list(tmp_path.iterdir()):  # noqa: ASYNC240
        if path.name not in ("run.json", "journal.sqlite"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    again = await arun(RunConfig(out=tmp_path), resume=True)
    assert again.complete, "and no server runs"
    assert {name: (tmp_path / name).read_bytes() for name in names} == first


async def test_a_run_with_requirements_resumes_without_their_file(
    server: FakeServer, tmp_path: Path
) -> None:
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text("- {kind: sft, name: night, count: 5}\n- {kind: safe, count: 3}\n")
    options = {"requirements": wanted, "rows": 20}
    whole = await arun(config(server, tmp_path / "whole", **options))
    assert {name: len(whole.rows(name)) for name in ("night", "safe")} == {"night": 5, "safe": 3}
    cap = whole.summary["calls"] // 2
    part = await arun(config(server, tmp_path / "part", max_calls=cap, **options))
    assert part.ended.status == "cap"
    wanted.unlink()
    done = await arun(RunConfig(out=tmp_path / "part", max_calls=10_000), resume=True)
    assert done.complete
    assert done.rows("night") == whole.rows("night")


async def test_a_cap_pauses_and_the_rest_is_paid_once(server: FakeServer, tmp_path: Path) -> None:
    whole = await arun(config(server, tmp_path / "whole", concurrency=4))
    total = whole.summary["calls"]
    server.requests.clear()
    part = await arun(config(server, tmp_path / "part", concurrency=4, max_calls=total // 2))
    assert part.ended.status == "cap"
    assert server.requests.total() == total // 2
    done = await arun(RunConfig(out=tmp_path / "part", max_calls=10 * total), resume=True)
    assert done.complete
    assert done.rows("sft") == whole.rows("sft")
    assert done.scenarios() == whole.scenarios()
    assert server.requests.total() == total


async def test_a_provider_that_goes_down_pauses_the_run(server: FakeServer, tmp_path: Path) -> None:
    def down(event: dict[str, Any]) -> None:
        if event.get("event") == "step":
            server.faults = Faults(error=1.0)

    paused = await arun(config(server, tmp_path), listen=down)
    assert "answers nobody" in paused.ended.reason
    server.faults = Faults()
    assert (await arun(RunConfig(out=tmp_path), resume=True)).complete


async def test_a_key_that_is_withdrawn_pauses_the_run(server: FakeServer, tmp_path: Path) -> None:
    def withdraw(event: dict[str, Any]) -> None:
        if event.get("event") == "step":
            server.key = "sk-another"

    paused = await arun(config(server, tmp_path), listen=withdraw)
    assert "wrong key" in paused.ended.reason
    server.key = None
    assert (await arun(RunConfig(out=tmp_path), resume=True)).complete


@pytest.mark.process
def test_two_processes_cannot_work_on_one_run(server: FakeServer, tmp_path: Path) -> None:
    run(config(server, tmp_path))
    opened = f"ChromaStore({str(tmp_path / 'chroma')!r})"
    code = f"from matrix_graph import ChromaStore; {opened}; print(); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    holder.stdout.readline()
    with pytest.raises(InputError, match="is open in another process"):
        run(RunConfig(out=tmp_path), resume=True)
    holder.communicate(b"\n")


async def test_nothing_but_429_is_a_typed_stop_that_loses_nothing(
    server: FakeServer, tmp_path: Path
) -> None:
    def throttle(event: dict[str, Any]) -> None:
        if event.get("event") == "step" and not server.faults.throttle:
            server.faults = Faults(throttle=1.0, retry_after=1.0)
            began.append(time.monotonic())

    began: list[float] = []
    paused = await arun(
        config(server, tmp_path, agents=40, scenarios=16, concurrency=16), listen=throttle
    )
    assert "answers nobody" in paused.ended.reason
    assert "429" in paused.ended.reason
    answered = server.requests["ok"]
    server.faults = Faults()
    done = await arun(RunConfig(out=tmp_path), resume=True)
    assert done.complete
    db = sqlite3.connect(tmp_path / "journal.sqlite")
    (kept,) = db.execute("SELECT count(*) FROM calls").fetchone()
    db.close()
    assert server.requests["ok"] == kept + 1 > answered, "each answer paid for once (and one probe)"


async def test_step_checkpoints_and_durability_give_the_same_run(
    server: FakeServer, tmp_path: Path
) -> None:
    plain = await arun(config(server, tmp_path / "plain"))
    for number, options in enumerate(
        [{"checkpoints": "step", "durability": "sync"}, {"durability": "exit"}]
    ):
        other = await arun(config(server, tmp_path / str(number), **options))
        assert other.scenarios() == plain.scenarios()


async def test_faults_lose_no_action(server: FakeServer, tmp_path: Path) -> None:
    clean = await arun(config(server, tmp_path / "clean"))
    server.faults = Faults(error=0.05, throttle=0.05, retry_after=0.05)
    faulty = await arun(config(server, tmp_path / "faulty"))
    assert faulty.scenarios() == clean.scenarios()
    assert faulty.rows("sft") == clean.rows("sft")


async def test_malformed_and_cut_answers_never_reach_the_data(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(malformed=0.15, truncated=0.15)
    result = await arun(config(server, tmp_path))
    assert result.complete
    for row in result.rows("sft"):
        assert row["messages"][1]["content"].endswith("?"), "every whole answer of the fake ends so"


async def test_what_always_fails_is_made_good_from_other_sources(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(broken=0.05, malformed=0.02, truncated=0.02)
    result = await arun(config(server, tmp_path, agents=12, scenarios=8, rows=40, kind="sft,mt"))
    assert result.complete
    assert {len(result.rows(kind)) for kind in ("sft", "mt")} == {40}
    assert any("HTTP 500" in told or "error" in told for told in result.summary["counts"]["failed"])
    for row in [*result.rows("sft"), *result.rows("mt")]:
        assert all(m["content"].endswith("?") for m in row["messages"]), (
            "every whole answer of the fake ends so"
        )


async def test_what_the_society_cannot_give_is_a_shortfall_with_the_table(
    server: FakeServer, tmp_path: Path
) -> None:
    result = await arun(config(server, tmp_path, agents=2, scenarios=1, rows=500, kind="sft,code"))
    assert not result.complete
    assert result.ended == ("exhausted", "no source is left for sft, code")
    counts = result.summary["counts"]
    assert 0 < counts["kept"]["sft"] < 500
    dropped = [r for r in read_json_lines(result.out / "rejected.jsonl") if r["kind"] == "sft"]
    assert counts["generated"]["sft"] == counts["kept"]["sft"] + len(dropped)
    assert counts["coverage"] == {"agents": 1.0, "groups": 1.0, "scenarios": 1.0}


async def test_200_agents_without_an_error_or_a_warning(server: FakeServer, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"agents": 200, "scenarios": 40, "rows": 60, "concurrency": 32}
    result = await arun(config(server, tmp_path, clone=True, **sizes))
    assert result.complete
    assert result.summary["counts"]["agents"] == 200
    assert result.summary["counts"]["failed"] == {}
    check_provenance(result)


async def test_contaminated_rows_go(server: FakeServer, tmp_path: Path) -> None:
    first = await arun(config(server, tmp_path / "one"))
    leaked = first.rows("sft")[0]["messages"][0]["content"]
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": leaked}))
    second = await arun(config(server, tmp_path / "two", decontaminate=tmp_path / "bench.jsonl"))
    assert leaked not in [r["messages"][0]["content"] for r in second.rows("sft")]
    assert "contamination" in {r["rule"] for r in read_json_lines(second.out / "rejected.jsonl")}
    assert second.complete


@pytest.mark.parametrize("arm", ["random", "none"])
async def test_the_control_arms_run(server: FakeServer, tmp_path: Path, arm: str) -> None:
    result = await arun(config(server, tmp_path, communication=arm))
    assert result.complete
    assert (result.summary["counts"]["messages"] == 0) == (arm == "none")


@pytest.mark.parametrize("changed", [{"seed": 7}, {"agents": 9}, {"kind": ("dpo",)}])
async def test_what_a_run_began_with_cannot_change(
    server: FakeServer, tmp_path: Path, changed: dict[str, Any]
) -> None:
    await arun(config(server, tmp_path))
    with pytest.raises(InputError, match="cannot change"):
        await arun(RunConfig(out=tmp_path, **changed), resume=True)


async def test_keys_are_in_no_file(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-verysecret")
    server.key = "sk-verysecret"
    await arun(config(server, tmp_path))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]  # noqa: ASYNC240
    assert len(files) > 8
    assert not any(b"verysecret" in path.read_bytes() for path in files)


@pytest.mark.process
def test_sigkill_at_any_moment_then_resume_gives_the_same_run(
    server: FakeServer, tmp_path: Path, kills: int
) -> None:
    server.faults = Faults(latency=0.01)
    slots = 4
    options = ["--agents", "8", "--scenarios", "3", "--rows", "6", "--concurrency", str(slots)]
    where = ["--model", "openai:fake", "--embeddings", "openai:fake", "--base-url", server.url]
    command = [sys.executable, "-m", "matrix_graph", "run"]
    whole = subprocess.run(
        [*command, *options, *where, "--out", str(tmp_path / "whole")],
        capture_output=True,
        check=False,
    )
    assert whole.returncode == 0, whole.stderr.decode()
    total = server.requests.total()
    server.requests.clear()
    out, killed, rng = tmp_path / "killed", 0, random.Random(3)
    arguments = [*command, *options, *where, "--out", str(out)]
    for _ in range(3 * kills):
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        before, deadline = server.requests.total(), time.monotonic() + 60
        limit = before + rng.randint(2, 2 * total // kills)
        while (
            process.poll() is None
            and server.requests.total() < limit
            and time.monotonic() < deadline
        ):
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
        if process.returncode == 0:
            break
        if (out / "run.json").exists():
            arguments = [*command, "--out", str(out), "--resume"]
    else:
        subprocess.run(arguments, capture_output=True, check=True)
    assert killed >= kills // 2
    same = ("scenarios.jsonl", "dataset/sft.jsonl", "rejected.jsonl", "society.json")
    assert all(
        (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in same
    )
    assert server.requests.total() <= total + killed * (slots + 1)


async def test_the_form_that_waits_works_where_a_loop_is_running_as_in_notebooks(
    server: FakeServer, tmp_path: Path
) -> None:
    given = {"agents": 2, "group_size": 2, "scenarios": 1, "rows": 1, "model": "openai:fake"}
    given |= {"embeddings": "openai:fake", "base_url": server.url, "out": tmp_path / "run"}
    assert run(RunConfig.model_validate(given)).complete
