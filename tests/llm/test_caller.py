from __future__ import annotations

import asyncio
import gc
import random
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from matrix_graph.context import Context
from matrix_graph.errors import CallFailed, CapReached, InputError, ProviderDown
from matrix_graph.llm.journal import Journal
from matrix_graph.llm.line import Request
from matrix_graph.llm.provider import HttpError
from matrix_graph.llm.structured import Malformed
from matrix_graph.resources import Resources, aclose, opened
from matrix_graph.testing import FakeChat, FakeServer, Faults
from tests.helpers import context, slot

ASK = [{"role": "user", "content": "Where is the ferry?"}]


class Choice(BaseModel):
    reason: str = Field(max_length=40)
    numbers: list[int] = Field(max_length=3)


def _at(server: FakeServer, **options: Any) -> Context:
    return context(**{"model": "openai:fake", "base_url": server.url, "concurrency": 16} | options)


async def _many(res: Resources, n: int) -> list[Any]:
    asks = (
        res.model.text(slot(f"s-{i}"), [{"role": "user", "content": f"question {i}?"}])
        for i in range(n)
    )
    return await asyncio.gather(*asks, return_exceptions=True)


async def test_a_slot_is_asked_once_and_two_slots_twice(server: FakeServer) -> None:
    ctx = _at(server)
    res = await opened(ctx)
    first = await res.model.text(slot("a"), ASK)
    again = await res.model.text(slot("a"), ASK)
    other = await res.model.text(slot("b"), ASK)
    assert first == again
    assert (first.call, other.call) == ("persona/a#1", "persona/b#1")
    assert server.requests["ok"] == 2 == res.account.total.requests
    assert res.account.total.input_tokens > 0
    await aclose(ctx)


async def test_a_malformed_answer_is_asked_for_again_with_the_reason(server: FakeServer) -> None:
    ctx = _at(server)
    res = await opened(ctx)
    server.replies = {
        "could not be used": '{"reason": "fits", "numbers": [1]}',
        "Where": '{"reason": 3}',
    }
    answer = await res.model.parsed(slot("a"), ASK, Choice)
    assert answer.value == Choice(reason="fits", numbers=[1])
    assert answer.call == "persona/a#2"
    repair = res.journal.entries("persona/a#2")[0].request
    assert "numbers: Field required" in repair
    await aclose(ctx)


async def test_what_never_fits_fails_after_four_and_stays_failed(server: FakeServer) -> None:
    ctx = _at(server)
    res = await opened(ctx)
    server.replies = {"Where": "no JSON at all"}
    for _ in range(2):
        with pytest.raises(CallFailed, match="not the JSON asked for"):
            await res.model.parsed(slot("a"), ASK, Choice)
    assert server.requests["ok"] == 4
    await aclose(ctx)


async def test_cut_and_empty_answers_are_no_answers(server: FakeServer) -> None:
    server.faults = Faults(truncated=1.0)
    ctx = _at(server)
    res = await opened(ctx)
    with pytest.raises(CallFailed, match="cut off"):
        await res.model.text(slot("a"), ASK)
    server.faults = Faults(malformed=1.0)
    with pytest.raises(CallFailed, match="empty"):
        await res.model.text(slot("b"), ASK)
    await aclose(ctx)


async def test_a_check_can_refuse_a_text(server: FakeServer) -> None:
    def check(text: str) -> str:
        raise Malformed("too plain")

    ctx = _at(server)
    with pytest.raises(CallFailed, match="too plain"):
        await (await opened(ctx)).model.text(slot("a"), ASK, check=check)
    await aclose(ctx)


async def test_passing_faults_lose_no_call(server: FakeServer) -> None:
    server.faults = Faults(
        error=0.03, throttle=0.03, retry_after=0.05
    )  # four in a row: once in 80,000 calls
    ctx = _at(server)
    answers = await _many(await opened(ctx), 120)
    assert all(not isinstance(a, Exception) for a in answers)
    assert server.requests["error"]
    assert server.requests["throttle"]
    await aclose(ctx)


@pytest.mark.slow
async def test_a_provider_that_is_down_stops_the_run_soon(server: FakeServer) -> None:
    server.faults = Faults(throttle=1.0, retry_after=0.5)
    ctx = _at(server)
    answers = await _many(await opened(ctx), 100)
    assert {type(a) for a in answers} == {ProviderDown}
    await aclose(ctx)


async def test_retry_after_is_honoured(server: FakeServer) -> None:
    server.faults = Faults(throttle=1.0, retry_after=0.7)
    ctx, started = _at(server), time.monotonic()
    res = await opened(ctx)
    call = asyncio.create_task(res.model.text(slot("a"), ASK))
    await asyncio.sleep(0.3)
    server.faults = Faults()
    await call
    assert time.monotonic() - started >= 0.7
    await aclose(ctx)


@pytest.mark.parametrize(("cap", "slots"), [(1, 1), (7, 4), (20, 16)])
async def test_the_call_cap_is_exact_even_with_faults(
    server: FakeServer, cap: int, slots: int
) -> None:
    server.faults = Faults(error=0.2)
    ctx = _at(server, max_calls=cap, concurrency=slots)
    answers = await _many(await opened(ctx), 60)
    assert any(isinstance(a, CapReached) for a in answers)
    assert server.requests.total() == cap
    await aclose(ctx)


async def test_the_cost_cap_overshoots_by_no_more_than_what_is_in_flight(
    server: FakeServer,
) -> None:
    ctx = _at(server, max_cost=0.001, prices={"fake": (0.0, 10.0)}, concurrency=4)
    res = await opened(ctx)
    answers = await _many(res, 200)
    assert any(isinstance(a, CapReached) for a in answers)
    dearest = max(e.output_tokens for e in res.journal.entries()) * 10 / 1e6
    assert 0.001 <= res.account.cost <= 0.001 + 4 * dearest
    await aclose(ctx)


async def test_a_cost_cap_without_a_price_is_refused(server: FakeServer) -> None:
    with pytest.raises(InputError, match="--price"):
        await opened(_at(server, max_cost=1.0))


async def test_a_wrong_key_is_bad_input(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
    server.key = "sk-right"
    ctx = _at(server)
    with pytest.raises(InputError, match="wrong key"):
        await (await opened(ctx)).model.text(slot("a"), ASK)
    await aclose(ctx)


@pytest.mark.slow
async def test_a_timeout_is_told_and_tried_again(server: FakeServer) -> None:
    server.faults = Faults(latency=5.0)
    ctx = _at(server, timeout=0.1)
    with pytest.raises(ProviderDown, match=r"timed out after 0.1 s \(4 attempts\)|timed out"):
        await (await opened(ctx)).model.text(slot("a"), ASK)
    await aclose(ctx)


async def test_any_chat_model_can_be_asked_for_a_shape() -> None:
    ctx = context()
    answer = await (await opened(ctx)).model.parsed(slot("a"), ASK, Choice)
    assert isinstance(answer.value, Choice)
    await aclose(ctx)


@pytest.mark.slow
async def test_a_provider_that_dies_under_a_long_queue_is_down_and_comes_back(
    server: FakeServer,
) -> None:
    server.faults = Faults(latency=0.01)
    ctx = _at(server, concurrency=8)
    res = await opened(ctx)
    waiting = asyncio.create_task(_many(res, 100))
    while server.requests["ok"] < 8:  # noqa: ASYNC110 (the server lives in a thread)
        await asyncio.sleep(0.005)
    server.faults = Faults(error=1.0)
    kinds = {type(a).__name__ for a in await waiting}
    assert kinds == {"Answer", "ProviderDown"}, "an outage is no failure of those who wait"
    server.faults = Faults()
    assert {type(a).__name__ for a in await _many(res, 100)} == {"Answer"}, (
        "the same context goes on"
    )
    await aclose(ctx)


async def test_an_answer_to_what_was_asked_before_an_outage_does_not_deny_it() -> None:
    """It may come late, on a busy machine, when others have already failed."""
    ctx = context()
    res = await opened(ctx)
    line, over = res.model._line, asyncio.Event()

    async def asked_before() -> str:
        await over.wait()
        return "late"

    async def fails() -> str:
        over.set()
        raise HttpError(503, "gone", {"retry-after": "0.02"})

    async def nobody() -> bool:
        return False

    early = asyncio.create_task(line.send("m", Request(slot("early")), asked_before, nobody))
    await asyncio.sleep(0.01)
    with pytest.raises(ProviderDown):
        await line.send("m", Request(slot("later")), fails, nobody)
    assert await early == "late"
    await aclose(ctx)


@pytest.mark.slow
async def test_a_request_that_always_fails_is_no_outage(server: FakeServer) -> None:
    random.seed(1)  # the words of a probe are drawn, and might be among those that fail
    server.faults = Faults(broken=0.05)
    ctx = _at(server, concurrency=1)
    res = await opened(ctx)
    failed = None
    for n in range(200):
        (answer,) = await asyncio.gather(
            res.model.text(slot(f"t-{n}"), [{"role": "user", "content": f"{n}"}]),
            return_exceptions=True,
        )
        if isinstance(answer, Exception):
            failed = answer
            break
    assert isinstance(failed, CallFailed), "one in twenty fails, and the provider is not down"
    assert (await res.model.text(slot("after"), ASK)).value
    assert sum(entry.requests for entry in res.journal.entries()) == server.requests.total(), (
        "the probe counts"
    )
    await aclose(ctx)


async def test_a_cancelled_call_still_reaches_the_journal(
    server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(latency=0.3)
    ctx = _at(server, journal=tmp_path / "j.sqlite")
    res = await opened(ctx)
    call = asyncio.create_task(res.model.text(slot("a"), ASK))
    await asyncio.sleep(0.1)
    call.cancel()
    await aclose(ctx)
    journal = Journal(tmp_path / "j.sqlite")
    assert [entry.slot for entry in journal.entries()] == ["persona/a#1"]
    journal.close()
    assert server.requests["ok"] == 1


async def test_half_a_character_does_not_stop_the_journal(server: FakeServer) -> None:
    ctx = context(model=FakeChat(replies={"Where": "over \ud83d there"}))
    res = await opened(ctx)
    assert (await res.model.text(slot("a"), ASK)).value == "over ? there"
    await aclose(ctx)


async def test_the_journal_says_what_a_call_took(server: FakeServer, tmp_path: Path) -> None:
    server.faults = Faults(throttle=0.6, retry_after=0.05, latency=0.05, seed=2)
    ctx = _at(server, journal=tmp_path / "j.sqlite")
    res = await opened(ctx)
    await _many(res, 20)
    used = res.account.total.requests
    assert used > 25
    assert sum(entry.requests for entry in res.journal.entries()) == used == server.requests.total()
    assert all(entry.seconds >= 0.05 * entry.requests for entry in res.journal.entries())
    await aclose(ctx)
    assert (await opened(ctx)).account.total.requests == used, (
        "failed requests count after a resume, too"
    )
    await aclose(ctx)


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_one_context_serves_several_event_loops(server: FakeServer) -> None:
    ctx = _at(server, embeddings="openai:fake")

    async def ask(n: int) -> str:
        res = await opened(ctx)
        await res.embedder.embed([f"text {n}"])
        return (await res.model.text(slot(f"loop-{n}"), ASK)).value

    for n in range(3):
        assert asyncio.run(ask(n))
    asyncio.run(aclose(ctx))
    gc.collect()  # connections of loops that are gone cannot be closed any more, and say so here
