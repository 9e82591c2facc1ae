"""Servers that lie: bodies without end, bombs, redirects, odd JSON, usage that cannot be, and keys
that come back.
"""

from __future__ import annotations

import asyncio
import gzip
import inspect
import json
import random
import resource
import subprocess
import sys
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from matrix_graph.boundary.bodies import BadBody, read_body
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed, InputError, MatrixError
from matrix_graph.filtering.steps.rewards import HttpReward, Rewards
from matrix_graph.llm.journal import entries_in
from matrix_graph.llm.slot import Slot
from matrix_graph.resources import opening

Handler = Callable[[web.Request], Any]
SLOT, HELLO = Slot(stage="persona", who="a"), [{"role": "user", "content": "Hello"}]
KEY = "sk-test-5f1c8a9e2b7d4c6f"


@contextmanager
def serving(handler: Handler) -> Iterator[str]:
    """A server on loopback that answers everything by `handler`."""
    ready = threading.Event()
    places: list[Any] = []

    async def answer(request: web.Request) -> Any:
        answered = handler(request)
        return await answered if inspect.isawaitable(answered) else answered

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        stop = asyncio.Event()
        places.extend([runner.addresses[0][1], asyncio.get_running_loop(), stop])
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert ready.wait(20)
    port, loop, stop = places
    try:
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def completion(text: object = "I mend the net.", **over: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    whole: dict[str, Any] = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return whole | {"choices": [choice], "usage": usage} | over


async def asked(url: str, tmp_path: Path, tokens: int = 200, **options: Any) -> Any:
    """One call to the server; the answer, or the failure."""
    journal = tmp_path / "journal.sqlite"
    context = Context(
        model="openai:m", embeddings="openai:m", base_url=url, journal=journal, **options
    )
    async with opening(context) as res:
        try:
            return await res.model.text(SLOT, HELLO, max_tokens=tokens)
        except MatrixError as error:
            return error
        finally:
            asked.account = res.account.total, res.account.cost  # type: ignore[attr-defined]


NOBODY = Context(model="none", embeddings="none")


async def scored(url: str) -> Any:
    """What a reward server says of one answer."""
    async with opening(NOBODY):
        return await HttpReward(f"{url}/score", NOBODY)({"id": "r", "prompt": "x"}, ["y"])


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


@pytest.mark.parametrize("encoding", ["", "identity", "gzip", "deflate"])
async def test_a_body_is_read_up_to_its_limit(encoding: str) -> None:
    packs: dict[str, Any] = {"gzip": gzip.compress, "deflate": zlib.compress}
    pack: Any = packs.get(encoding, bytes)
    for size in (0, 1, 1000):
        packed = pack(b"x" * size)
        parts = [packed[n : n + 7] for n in range(0, len(packed), 7)]
        assert await read_body(chunks(*parts), encoding, 1000) == b"x" * size
    with pytest.raises(BadBody, match="longer than 1,000"):
        await read_body(chunks(pack(b"x" * 1001)), encoding, 1000)
    with pytest.raises(BadBody, match="not asked for"):
        await read_body(chunks(b"x"), "br", 1000)
    with pytest.raises(BadBody, match="cannot be unpacked"):
        await read_body(chunks(b"no gzip"), "gzip", 1000)


PEAK = """
import asyncio, resource, sys
from pathlib import Path
from tests.llm.test_bodies import asked, serving
from matrix_graph.errors import CallFailed
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
async def main():
    return await asked(sys.argv[1], Path(sys.argv[2]), timeout=60)
print(repr(asyncio.run(main()))[:300])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, before // 1024)
"""


@pytest.mark.process
@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_a_body_of_300_mb_takes_no_memory(kind: str, tmp_path: Path) -> None:
    bomb = gzip.compress(b" " * (300 << 20), 9)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        if kind == "bomb":
            response.headers["content-encoding"] = "gzip"
        await response.prepare(request)
        try:
            for _ in range(300 if kind == "endless" else 0):
                await response.write(b" " * (1 << 20))
            await response.write(bomb if kind == "bomb" else b"{}")
        except ConnectionError:
            pass
        return response

    with serving(answer) as url:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, url, str(tmp_path)],
            capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2], check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    answered, memory = done.stdout.strip().split("\n")
    peak, before = map(int, memory.split())
    assert "longer than" in answered, answered
    assert peak - before < 150


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_is_followed(status: int, tmp_path: Path) -> None:
    seen: list[str] = []

    def record(request: web.Request) -> web.Response:
        seen.append(request.path)
        return web.json_response(completion())

    with serving(record) as elsewhere:

        def away(request: web.Request) -> web.Response:
            return web.Response(status=status, headers={"location": f"{elsewhere}{request.path}"})

        with serving(away) as url:
            assert isinstance(await asked(url, tmp_path), MatrixError)
            with pytest.raises(MatrixError):
                await scored(url)
    assert not seen


USAGES: list[Any] = [
    {"prompt_tokens": -(10**9), "completion_tokens": -5, "total_tokens": 0},
    {"prompt_tokens": 10**23, "completion_tokens": 1, "total_tokens": 1},
    {"prompt_tokens": 1.5, "completion_tokens": "7", "total_tokens": None},
    {"prompt_tokens": [1], "completion_tokens": {}, "total_tokens": True},
    {"prompt_tokens": 10, "completion_tokens": None},
    "many", [], None, {}, 7, True,
]  # fmt: skip


@pytest.mark.parametrize("usage", USAGES, ids=repr)
async def test_usage_that_cannot_be_is_no_usage(usage: Any, tmp_path: Path) -> None:
    with serving(lambda request: web.json_response(completion(usage=usage))) as url:
        answer = await asked(url, tmp_path, prices={"m": (1.0, 1.0)}, max_cost=0.01)
    assert isinstance(answer, MatrixError) or answer.text == "I mend the net."
    total, cost = asked.account  # type: ignore[attr-defined]
    assert 0 <= cost < 1e-3
    assert 0 <= total.input_tokens <= 15
    assert total.requests >= 1


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e400", "-1e400"])
async def test_a_number_that_is_none_in_usage(text: str, tmp_path: Path) -> None:
    body = json.dumps(completion()).replace('"prompt_tokens": 10', f'"prompt_tokens": {text}')
    with serving(lambda request: web.Response(text=body, content_type="application/json")) as url:
        await asked(url, tmp_path, prices={"m": (1.0, 1.0)}, max_cost=0.01)
    assert 0 <= asked.account[1] < 1e-3  # type: ignore[attr-defined]


async def test_an_answer_far_beyond_its_limit_is_cut(tmp_path: Path) -> None:
    with serving(lambda request: web.json_response(completion("a " * 500_000))) as url:
        answer = await asked(url, tmp_path)
    assert isinstance(answer, CallFailed)
    assert "cut off" in answer.reason
    assert max(len(e.answer) for e in entries_in(tmp_path / "journal.sqlite")) <= 200 * 32


async def test_a_key_that_comes_back_is_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("REWARD_API_KEY", KEY[::-1])

    def echo(request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "")
        status = 400 if request.path.endswith("score") else 200
        return web.json_response(completion(f"You sent {sent}.") | {"echo": sent}, status=status)

    with serving(echo) as url:
        answer = await asked(url, tmp_path)
        assert answer.text == "You sent Bearer [key]."
        with pytest.raises(MatrixError) as failed:
            await scored(url)
    assert KEY[::-1] not in str(failed.value)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())  # noqa: ASYNC240
    assert b"You sent" in kept
    assert KEY.encode() not in kept


@pytest.mark.parametrize("url", ["http://ana:secret@127.0.0.1:9/score", "http://h/score?token=x",
                                 "file:///etc/passwd", "score"])  # fmt: skip
def test_a_reward_address_holds_no_key(url: str) -> None:
    with pytest.raises(InputError, match="without key or password"):
        HttpReward(url, Context(model="none", embeddings="none"))


SCORES: list[Any] = [
    {"data": [{"index": 0, "score": 1e300}]},
    {"data": [{"index": 0, "score": 10**299}]},
    {"data": [{"index": "x", "score": 1}, {"index": 1, "score": 1}]},
    {"data": [{"index": 0, "score": "NaN"}]},
    {"data": [{"index": 0, "score": None}]},
    {"data": [{"probs": []}]},
    {"data": {"a": 1}},
    [],
    {"data": []},
]


@pytest.mark.parametrize(
    "scores", [*SCORES, *("NaN", "1" * 5_000, "[" * 100_000, "{", "")], ids=str
)
async def test_an_odd_score_costs_its_row_alone(scores: Any) -> None:
    text = scores if isinstance(scores, str) else json.dumps(scores)

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        good = {"data": [{"index": n, "score": 0.5} for n in range(len(body["text_2"]))]}
        odd = body["text_1"] == "odd"
        return web.Response(text=text if odd else json.dumps(good), content_type="application/json")

    with serving(answer) as url:
        rows = [{"id": name, "prompt": name, "responses": ["a"]} for name in ("odd", "even")]
        async with opening(NOBODY):
            odd, even = await Rewards((HttpReward(f"{url}/score", NOBODY),)).find(rows)
    assert (odd.id, even.id) == ("odd", "even")
    assert getattr(odd, "rule", "") == "no reward"
    assert even.columns["rewards"] == [0.5]  # type: ignore[union-attr]


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in a body something stands."""
    inner: Any = value.items() if isinstance(value, dict) else ()
    for name, part in enumerate(value) if isinstance(value, list) else inner:
        yield (*place, name)
        yield from _places(part, (*place, name))


ODD: list[Any] = ["\ud800", None, -1, 1e300, "", [], {}, [[]], {"a": 1}, True, "tool_calls"]


@pytest.mark.parametrize("status", [200, 400])
async def test_any_value_anywhere_in_a_body_costs_its_call_alone(
    status: int, tmp_path: Path
) -> None:
    whole = completion() if status == 200 else {"error": {"message": "no", "code": 7, "type": "x"}}
    bodies: list[bytes] = []
    for place in _places(whole):
        for odd in ODD:
            body: Any = json.loads(json.dumps(whole))
            inner = body
            for name in place[:-1]:
                inner = inner[name]
            inner[place[-1]] = odd
            bodies.append(json.dumps(body).encode())

    async def answer(request: web.Request) -> web.Response:
        (message,) = (await request.json())["messages"]
        if not message["content"].isdigit():
            # Whether anybody is there.
            return web.json_response(completion())
        body = bodies[int(message["content"])]
        return web.Response(body=body, status=status, content_type="application/json")

    with serving(answer) as url:
        context = Context(
            model="openai:m", embeddings="none", base_url=url, journal=tmp_path / "j.sqlite",
            concurrency=100,
        )  # fmt: skip
        async with opening(context) as res:
            asked = (
                res.model.text(
                    Slot(stage="persona", who=f"a{n}"), [{"role": "user", "content": str(n)}]
                )
                for n in range(len(bodies))
            )
            answers = await asyncio.gather(*asked, return_exceptions=True)
    failed = [a for a in answers if isinstance(a, BaseException)]
    assert [a for a in failed if not isinstance(a, MatrixError)] == []
    assert len(failed) < len(answers) or status != 200


def mutated(body: str, rng: random.Random) -> bytes:
    """A body with some of its bytes changed, moved, repeated, or with a value in place of one."""
    values = ["null", "NaN", "-1", "1e999", "9" * 5_000, "[]", "{}", '""', "true", '"\\ud800"',
              "[" * 2_000, '"' + "x" * 10_000 + '"', "[[]]", '[{"a":1}]']  # fmt: skip
    raw = bytearray(body.encode())
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(len(raw))
        match rng.randrange(5):
            case 0:
                raw[place] = rng.randrange(256)
            case 1:
                del raw[place : place + rng.randint(1, 40)]
            case 2:
                raw[place:place] = raw[: rng.randint(1, 60)]
            case 3:
                raw[place:place] = rng.choice(values).encode()
            case _:
                start = raw.find(b":", place)
                ends = [raw.find(sign, start) for sign in (b",", b"}")]
                end = min((e for e in ends if e > 0), default=-1)
                if 0 < start < end:
                    raw[start + 1 : end] = rng.choice(values).encode()
    return bytes(raw)


async def test_mutated_bodies_are_failures_of_their_calls(tmp_path: Path, request: Any) -> None:
    """Nothing but the package's own errors, whatever a server says."""
    rng = random.Random(15)
    count = int(request.config.getoption("--bodies"))
    whole = json.dumps(completion())

    def answer(_: web.Request) -> web.Response:
        status = rng.choice([200] * 8 + [400, 500, 429])
        headers = {"retry-after": rng.choice(["0", "-1", "x", "0.01"])} if status == 429 else {}
        headers["content-type"] = "application/json"
        return web.Response(body=mutated(whole, rng), status=status, headers=headers)

    with serving(answer) as url:
        context = Context(
            model="openai:m", embeddings="none", base_url=url, journal=tmp_path / "j.sqlite",
            prices={"m": (1.0, 1.0)}, timeout=20,
        )  # fmt: skip
        asked_so_far = 0
        while asked_so_far < count:
            async with opening(context) as res:
                slots = [Slot(stage="persona", who=f"a{asked_so_far + n}") for n in range(20)]
                ask = [{"role": "user", "content": "Hello"}]
                answers = await asyncio.gather(
                    *(res.model.text(slot, ask, max_tokens=50) for slot in slots),
                    return_exceptions=True,
                )
                assert 0 <= res.account.cost < 1e3
            asked_so_far += len(slots)
            failed = [a for a in answers if isinstance(a, BaseException)]
            assert [a for a in failed if not isinstance(a, MatrixError)] == []
    assert all(len(e.answer) <= 50 * 32 for e in entries_in(tmp_path / "j.sqlite"))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 << 20
