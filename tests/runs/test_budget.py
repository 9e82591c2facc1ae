"""Money: what run.json reports is what the server counted, at every stop and after every resume."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.context import Context
from matrix_graph.errors import InputError, RunPaused
from matrix_graph.llm.budget import Price
from matrix_graph.llm.journal import entries_in
from matrix_graph.llm.usage import Usage
from matrix_graph.resources import Resources, opening
from matrix_graph.runs import filter_runner
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.runs.filter_runner import afilter_rows
from matrix_graph.runs.result import RunResult
from matrix_graph.runs.runner import arun
from matrix_graph.testing import FakeServer, Faults, prose
from tests.helpers import context

pytestmark = pytest.mark.slow

PRICES = {"fake": (100, 200), "student": (10, 20), "first": (1000, 2000), "second": (300, 400)}
COMMAND = [sys.executable, "-m", "matrix_graph", "run"]


def measured(server: FakeServer, out: Path, **options: Any) -> RunConfig:
    """A run with a student, two judges and rollouts."""
    rules = out.parent / "rules.yaml"
    rules.write_text("judged: {min_quality: 1, safe: false}\nzero_advantage: false\n")
    given = {"agents": 4, "group_size": 2, "scenarios": 2, "rows": 4, "kind": "sft,dpo"}
    given |= {"model": "openai:fake", "student": "openai:student", "embeddings": "openai:fake"}
    given |= {"judge": "openai:first,openai:second", "rollouts": 2, "reward": "judge"}
    given |= {"base_url": server.url, "rules": rules, "price": PRICES, "concurrency": 4}
    return RunConfig.model_validate(given | {"out": out} | options)


def cost(server: FakeServer) -> float:
    return sum(Price(*PRICES[model]).cost(usage) for model, usage in server.used.items())


def check(summary: dict[str, Any], server: FakeServer) -> None:
    total = sum(server.used.values(), Usage())
    assert summary["calls"] == total.requests == server.requests.total()
    tokens = {"input": total.input_tokens, "output": total.output_tokens}
    assert summary["tokens"] == tokens
    assert summary["cost_usd"] == pytest.approx(cost(server))
    for model, used in summary["used"].items():
        assert Usage(*list(used.values())[:3]) == server.used[model]


async def test_all_models_draw_on_one_cap_and_resuming_counts_nothing_twice(
    server: FakeServer, tmp_path: Path
) -> None:
    whole = await arun(measured(server, tmp_path / "whole"))
    assert whole.complete
    check(whole.summary, server)
    assert set(whole.summary["used"]) == set(PRICES)
    need = whole.summary["calls"]
    for cap in (need // 3, need - 1):
        server.requests.clear()
        server.used.clear()
        out = tmp_path / str(cap)
        part = await arun(measured(server, out, max_calls=cap))
        assert part.ended.status == "cap"
        assert part.summary["calls"] == cap
        check(part.summary, server)
        again = await arun(RunConfig(out=out), resume=True)
        assert again.ended.status == "cap"
        check(again.summary, server)
        done = await arun(RunConfig(out=out, max_calls=need), resume=True)
        assert done.complete, "as many calls as the whole run took will do"
        check(done.summary, server)
        assert done.rows("sft") == whole.rows("sft")


async def test_the_cost_cap_holds_over_all_models(server: FakeServer, tmp_path: Path) -> None:
    whole = await arun(measured(server, tmp_path / "whole"))
    server.requests.clear()
    server.used.clear()
    cap = whole.summary["cost_usd"] * 0.8
    part = await arun(measured(server, tmp_path / "part", max_cost=cap))
    assert part.ended.status == "cap"
    check(part.summary, server)
    dearest = Price(*PRICES["first"]).cost(Usage(1, 1000, 300))
    assert cap <= part.summary["cost_usd"] <= cap + 4 * dearest


async def test_resuming_a_finished_run_leaves_its_account_as_it_was(
    server: FakeServer, tmp_path: Path
) -> None:
    first = await arun(measured(server, tmp_path / "run"))
    names = ("calls", "tokens", "cost_usd", "used")
    for _ in range(2):
        again = await arun(RunConfig(out=tmp_path / "run"), resume=True)
        assert {n: again.summary[n] for n in names} == {n: first.summary[n] for n in names}


async def test_after_an_outage_the_account_is_what_the_server_saw(tmp_path: Path) -> None:
    with FakeServer() as server:
        port = server.port

        def down(event: dict[str, Any]) -> None:
            if event.get("event") == "step":
                server.faults = Faults(error=1.0)

        part = await arun(measured(server, tmp_path / "run"), listen=down)
        assert part.ended.status == "down"
        check(part.summary, server)
        counted = dict(server.used)
    gone = await arun(RunConfig(out=tmp_path / "run"), resume=True)
    assert gone.ended.status == "down"
    assert gone.summary["calls"] == part.summary["calls"], "nobody was reached"
    with FakeServer(port=port, used=counted) as server:
        done = await arun(RunConfig(out=tmp_path / "run"), resume=True)
        assert done.complete
        assert done.summary["calls"] == sum(server.used.values(), Usage()).requests


@pytest.mark.process
def test_stopped_at_any_moment_the_account_is_what_the_server_counted(
    server: FakeServer, tmp_path: Path, kills: int
) -> None:
    server.faults = Faults(latency=0.02, error=0.05)
    config = measured(server, tmp_path / "run")
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config.public()))
    command, rng, stops = [*COMMAND, str(path)], random.Random(5), 0
    for _ in range(kills):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        limit = server.requests.total() + rng.randint(3, 14)
        while process.poll() is None and server.requests.total() < limit:
            time.sleep(0.005)
        process.send_signal(rng.choice([signal.SIGINT, signal.SIGTERM]))
        process.wait(60)
        if not (config.folder / "run.json").is_file():
            continue
        stops += 1
        check(RunResult.of(config.folder).summary, server)
        command = [*COMMAND, "--out", str(config.folder), "--resume"]
    assert stops >= kills // 2
    server.faults = Faults()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    check(RunResult.of(config.folder).summary, server)


def file_of_rows(folder: Path) -> Path:
    rows = [
        {"id": f"{n}", "prompt": prose(random.Random(n)), "completion": f"I take {n}."}
        for n in range(12)
    ]
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


async def test_a_filter_run_reports_what_it_used(server: FakeServer, tmp_path: Path) -> None:
    file = file_of_rows(tmp_path)
    config = FilterConfig.model_validate(
        {
            "judge": "openai:first,openai:second",
            "base_url": server.url,
            "price": PRICES,
            "max_calls": 15,
            "out": tmp_path / "out",
        }
    )
    with pytest.raises(RunPaused):
        await afilter_rows(file, config)
    paused = json.loads((config.folder / "filter.json").read_text("utf-8"))
    assert paused["ended"]["status"] == "cap"
    check(paused, server)
    done = await afilter_rows(file, config.model_copy(update={"max_calls": None}), resume=True)
    check(done.summary, server)


@pytest.mark.parametrize("later", [n / 100 for n in range(12)])
async def test_a_filter_stopped_before_it_has_begun_counts_what_probing_took(
    later: float, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def slowly(context: Context) -> AsyncIterator[Resources]:
        await asyncio.sleep(0.02)
        async with opening(context) as resources:
            yield resources

    monkeypatch.setattr(filter_runner, "opening", slowly)
    server.faults = Faults(latency=0.1)
    file = file_of_rows(tmp_path)
    given = {"judge": "openai:first,openai:second", "base_url": server.url, "price": PRICES}
    config = FilterConfig.model_validate(given | {"out": tmp_path / "out"})
    task = asyncio.create_task(afilter_rows(file, config))
    while server.requests.total() < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.sleep(later)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stopped = json.loads((config.folder / "filter.json").read_text("utf-8"))
    assert stopped["ended"]["status"] == "interrupted"
    check(stopped, server)


@pytest.mark.parametrize("given", [{"max_cost": float("nan")}, {"prices": {"fake": (-1, 0)}}])
async def test_a_cap_that_would_never_be_reached_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        async with opening(context(**given)):
            pass


async def test_a_cancelled_run_is_never_left_running(server: FakeServer, tmp_path: Path) -> None:
    seen = set[str]()
    for number in range(12):
        out = tmp_path / str(number)
        begun = asyncio.Event()
        listen: Any = lambda _, begun=begun: begun.set()  # noqa: E731
        task = asyncio.create_task(arun(measured(server, out), listen=listen))
        await begun.wait()
        for _ in range(3):
            await asyncio.sleep(0.07 * number)
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        status = RunResult.of(out).ended.status
        seen.add(status)
        assert status in ("interrupted", "complete")
        assert status == "interrupted" or (out / "dataset").is_dir()
        assert not (out / "journal.sqlite-wal").exists(), "it is closed"
    assert "interrupted" in seen


@pytest.mark.parametrize(
    ("requests", "later"),
    [*((n, 0.05) for n in range(6)), *((5, 0.1 + n / 100) for n in range(12))],
)
async def test_stopped_before_a_run_has_begun_it_counts_what_probing_took(
    requests: int, later: float, server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(latency=0.1)
    config = measured(server, tmp_path / "run")
    task = asyncio.create_task(arun(config))
    while server.requests.total() < requests and not task.done():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await asyncio.sleep(later)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stopped = RunResult.of(config.folder)
    assert stopped.ended.status == "interrupted"
    check(stopped.summary, server)
    server.faults = Faults()
    done = await arun(RunConfig(out=config.folder), resume=True)
    assert done.complete
    check(done.summary, server)


async def test_a_cancelled_run_that_is_overwritten_has_its_journal(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(latency=0.3)
    task = asyncio.create_task(arun(measured(server, tmp_path / "run")))
    await asyncio.sleep(1)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await task
    server.faults = Faults()
    again = await arun(measured(server, tmp_path / "run"), overwrite=True)
    assert again.complete
    assert len(entries_in(tmp_path / "run" / "journal.sqlite")) > 10


async def test_two_runs_in_one_folder_are_refused(server: FakeServer, tmp_path: Path) -> None:
    config = measured(server, tmp_path / "run")
    first, second = await asyncio.gather(arun(config), arun(config), return_exceptions=True)
    assert isinstance(first, RunResult)
    assert first.complete
    assert isinstance(second, InputError)
    assert "Another run" in str(second)
    check(first.summary, server)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("1,2", "NAME=IN,OUT"),
        ("=1,2", "NAME=IN,OUT"),
        ("m=1", "NAME=IN,OUT"),
        ("m=one,2", "two numbers"),
        ("m=-1,2", "at least 0"),
        ({"m": [1]}, "two numbers"),
        ("m=nan,nan", "at least 0"),
        ({"m": [float("inf"), 1]}, "at least 0"),
        (3, "mapping"),
    ],
)
def test_a_price_that_is_none_is_refused(given: Any, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        RunConfig.load(None, {"price": given})


def test_prices_go_by_model_and_over_the_list(tmp_path: Path) -> None:
    named = RunConfig.load(None, {"price": ["gpt-4.1-mini=0,0", "a=b=1,2"]})
    assert named.price == {"gpt-4.1-mini": (0, 0), "a=b": (1, 2)}
    path = tmp_path / "run.yaml"
    path.write_text("price: {gpt-4.1-mini: [3, 4]}\n")
    assert RunConfig.load(path, {}).price == {"gpt-4.1-mini": (3, 4)}


async def test_a_price_of_one_model_is_not_that_of_another(
    server: FakeServer, tmp_path: Path
) -> None:
    free = {"fake": (0, 0), "student": (0, 0), "first": (1000, 2000), "second": (0, 0)}
    run = await arun(measured(server, tmp_path / "run", price=free))
    paid = {model for model, used in run.summary["used"].items() if used["cost_usd"]}
    assert paid == {"first"}


async def test_a_cancelled_run_is_cancelled_and_goes_on_later(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(latency=0.05)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await arun(measured(server, tmp_path / "run"))
    stopped = RunResult.of(tmp_path / "run")
    assert stopped.ended.status == "interrupted"
    check(stopped.summary, server)
    server.faults = Faults()
    assert (await arun(RunConfig(out=tmp_path / "run"), resume=True)).complete
