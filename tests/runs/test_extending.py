"""A run goes on past its end: more scenarios, more rows, and what there was stays."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from matrix_graph import InputError, RunConfig, RunResult, arun
from matrix_graph.debugger import replay_run
from matrix_graph.testing import FakeServer

SMALL: dict[str, Any] = {
    **{"agents": 8, "group_size": 4, "scenarios": 3, "rows": 5, "kind": "sft,dpo", "seed": 2},
    **{"model": "openai:fake", "embeddings": "openai:fake"},
}


def begun(server: FakeServer, out: Path, **options: Any) -> RunConfig:
    return RunConfig(**(SMALL | {"base_url": server.url, "out": out} | options))


def ids(result: RunResult, kind: str = "sft") -> list[str]:
    return [row["id"] for row in result.rows(kind)]


async def test_a_finished_run_goes_on_to_more(server: FakeServer, tmp_path: Path) -> None:
    first = await arun(begun(server, tmp_path))
    assert first.complete
    scenarios, kept = first.scenarios(), {kind: first.rows(kind) for kind in ("sft", "dpo")}
    calls = first.summary["calls"]

    more = await arun(RunConfig(out=tmp_path, rows=12, scenarios=6), resume=True)
    assert more.complete, more.ended
    assert len(more.scenarios()) == 6
    assert [s for s in more.scenarios() if s in scenarios] == scenarios
    for kind, rows in kept.items():
        assert len(set(ids(more, kind))) == 12
        assert [row for row in more.rows(kind) if row in rows] == rows
    assert more.summary["calls"] == server.requests.total()
    assert more.summary["calls"] > calls
    assert more.summary["config"]["rows"] == 12
    assert more.summary["counts"]["wanted"] == {"sft": 12, "dpo": 12}

    again = await arun(RunConfig(out=tmp_path), resume=True)
    assert again.rows("sft") == more.rows("sft")
    assert again.summary["calls"] == more.summary["calls"]


async def test_a_run_that_ran_dry_goes_on_with_more_scenarios(
    server: FakeServer, tmp_path: Path
) -> None:
    dry = await arun(begun(server, tmp_path, scenarios=1, rows=40, kind="sft"))
    assert dry.ended.status == "exhausted"
    more = await arun(RunConfig(out=tmp_path, scenarios=6), resume=True)
    assert more.complete, more.ended
    assert len(set(ids(more))) == 40
    assert set(ids(dry)) <= set(ids(more))


async def test_stopped_anywhere_it_still_goes_on_to_more(
    server: FakeServer, tmp_path: Path
) -> None:
    rng = random.Random(4)
    parts = await arun(begun(server, tmp_path / "parts"))
    parts = await arun(RunConfig(out=parts.out, rows=9, scenarios=5), resume=True)
    for attempt in range(6):
        out = tmp_path / str(attempt)
        await arun(begun(server, out, max_calls=rng.randint(5, 60)))
        wanted = RunConfig(out=out, rows=9, scenarios=5, max_calls=10_000)
        task = asyncio.create_task(arun(wanted, resume=True))
        await asyncio.sleep(rng.uniform(0, 1.0))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        done = await arun(wanted, resume=True)
        assert done.complete, done.ended
        assert done.scenarios() == parts.scenarios()
        assert ids(done) == ids(parts)
        assert ids(done, "dpo") == ids(parts, "dpo")


async def test_requirements_grow_in_their_counts_alone(server: FakeServer, tmp_path: Path) -> None:
    wanted: list[dict[str, Any]] = [{"kind": "sft", "count": 2, "domain": "bread"}]
    small = {name: value for name, value in SMALL.items() if name != "kind"}
    own = {"base_url": server.url, "out": tmp_path, "requirements": wanted}
    await arun(RunConfig(**(small | own)))
    more = [wanted[0] | {"count": 4}]
    done = await arun(RunConfig(out=tmp_path, requirements=more), resume=True)
    assert done.complete
    assert len(ids(done)) == 4
    for options, words in (
        ({"requirements": [more[0] | {"domain": "salt"}]}, "only their counts may grow"),
        ({"requirements": wanted}, "has 4 rows of sft"),
        ({"rows": 50}, "give them again with larger counts"),
    ):
        with pytest.raises(InputError, match=words):
            await arun(RunConfig(out=tmp_path, **options), resume=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": 4}, "has 5 rows of sft; it can go on to more"),
        ({"scenarios": 1}, "has 3 scenarios; it can go on to more"),
        ({"agents": 9}, "began with another --agents"),
        ({"kind": "sft"}, "began with another --kind"),
    ],
)
async def test_what_cannot_shrink_or_change(
    options: dict[str, Any], words: str, server: FakeServer, tmp_path: Path
) -> None:
    await arun(begun(server, tmp_path))
    with pytest.raises(InputError, match=words):
        await arun(RunConfig(out=tmp_path, **options), resume=True)


@pytest.mark.parametrize("gone", ["checkpoints.sqlite", "chroma"])
async def test_a_run_that_went_on_is_lived_again_as_it_was(
    gone: str, server: FakeServer, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    await arun(begun(server, out, agents=10, rows=4))
    await arun(RunConfig(out=out, rows=6), resume=True)
    more = await arun(RunConfig(out=out, rows=9, scenarios=8), resume=True)
    files = ("scenarios.jsonl", "dataset/sft.jsonl", "dataset/dpo.jsonl")
    before = [(out / name).read_bytes() for name in files]
    shutil.rmtree(out / gone) if gone == "chroma" else (out / gone).unlink()
    again = await arun(RunConfig(out=out), resume=True)
    assert again.complete
    assert [(out / name).read_bytes() for name in files] == before
    assert again.summary["calls"] == more.summary["calls"], "nothing is paid for again"
    assert replay_run(out, tmp_path / "again").complete
    assert [(tmp_path / "again" / name).read_bytes() for name in files] == before


async def test_requirements_given_again_keep_the_counts_that_they_do_not_say(
    server: FakeServer, tmp_path: Path
) -> None:
    small = {name: value for name, value in SMALL.items() if name != "kind"}
    wanted = [{"kind": "sft"}]
    own: dict[str, Any] = {"base_url": server.url, "out": tmp_path, "requirements": wanted}
    await arun(RunConfig(**(small | own | {"rows": 2})))
    again = await arun(RunConfig(out=tmp_path, requirements=wanted), resume=True)
    assert again.complete
    assert len(ids(again)) == 2
