"""An OpenAI server on this machine, with faults as asked."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import threading
from collections import Counter
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import numpy as np

from matrix_graph.llm.usage import Usage
from matrix_graph.testing.answers import answer_to, seeded, vector_of


@dataclass
class Faults:
    """What goes wrong, as shares of the requests, and how long answers take.

    Attributes:
        error, throttle: HTTP 500, and HTTP 429 with `retry_after` seconds.
        malformed, truncated: Answers that are not what was asked for, or cut off (`finish_reason:
            length`).
        broken: HTTP 500 for this share of the requests, by their content: however often they are
            sent again.
        latency, sigma: Median seconds and the lognormal's sigma.
    """

    error: float = 0.0
    throttle: float = 0.0
    retry_after: float = 1.0
    malformed: float = 0.0
    truncated: float = 0.0
    broken: float = 0.0
    latency: float = 0.0
    sigma: float = 0.0
    seed: int = 0


@dataclass
class FakeServer:
    """An OpenAI server on loopback (chat completions, streamed or not, and embeddings), in a thread
    of its own.

        with FakeServer() as server:
            ChatOpenAI(base_url=server.url, api_key="x", model="fake")

    Attributes:
        faults: May be changed while it runs.
        replies: As for `FakeChat`, with strings only.
        key: If set, requests must carry it.
        unknown: Models that the server does not have.
        requests: Chat requests seen, by outcome (`ok`, `error`, `throttle`, `refused`).
        used: What each model was used for: all requests seen, and the tokens of the answered ones.
        peak: Most chat requests under way at once.
    """

    faults: Faults = field(default_factory=Faults)
    replies: dict[str, str] = field(default_factory=dict)
    key: str | None = None
    unknown: set[str] = field(default_factory=set)
    port: int = 0
    requests: Counter[str] = field(default_factory=Counter)
    used: dict[str, Usage] = field(default_factory=dict)
    peak: int = 0
    _active: int = 0

    @property
    def url(self) -> str:
        """The base URL, with `/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeServer:
        self._rng = random.Random(self.faults.seed)
        ready: Future[None] = Future()

        def serve() -> None:
            try:
                asyncio.run(self._serve(ready))
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        self._thread = threading.Thread(target=serve, name="fake server", daemon=True)
        self._thread.start()
        ready.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self, ready: Future[None]) -> None:
        from aiohttp import web

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/embeddings", self._embed)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, backlog=1024)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set_result(None)
        await self._stop.wait()
        await runner.cleanup()

    async def _chat(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        self._active += 1
        self.peak = max(self.peak, self._active)
        try:
            faults, rng = self.faults, self._rng
            if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
                self.requests["refused"] += 1
                return web.json_response(
                    {"error": {"message": "Incorrect API key provided"}}, status=401
                )
            if body["model"] in self.unknown:
                return web.json_response(
                    {"error": {"message": "the model does not exist"}}, status=404
                )
            if faults.latency:
                await asyncio.sleep(faults.latency * rng.lognormvariate(0.0, faults.sigma))
            draw = rng.random()
            self._count(body, Usage(requests=1))
            if draw < faults.error or _unlucky(body, faults.broken):
                self.requests["error"] += 1
                return web.json_response(
                    {"error": {"message": "the server had an error"}}, status=500
                )
            if draw < faults.error + faults.throttle:
                self.requests["throttle"] += 1
                headers = {"Retry-After": f"{faults.retry_after:g}"}
                return web.json_response(
                    {"error": {"message": "rate limit reached"}}, status=429, headers=headers
                )
            self.requests["ok"] += 1
            answer = self._completion(body, rng.random())
            usage = answer["usage"]
            self._count(body, Usage(0, usage["prompt_tokens"], usage["completion_tokens"]))
            if body.get("stream"):
                return await _streamed(request, answer, body.get("stream_options") or {})
            return web.json_response(answer)
        finally:
            self._active -= 1

    def _count(self, body: dict[str, Any], usage: Usage) -> None:
        self.used[body["model"]] = self.used.get(body["model"], Usage()) + usage

    def _completion(self, body: dict[str, Any], draw: float) -> dict[str, Any]:
        asked = str(body["messages"][-1]["content"])
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        text = next((reply for words, reply in self.replies.items() if words in asked), None)
        text = answer_to(body["messages"], schema, body.get("seed")) if text is None else text
        finish = "stop"
        if draw < self.faults.malformed:
            text = '{"oops": ' if schema else ""
        elif draw < self.faults.malformed + self.faults.truncated:
            text, finish = text[: len(text) // 2], "length"
        tokens_in, got = sum(len(str(m["content"])) for m in body["messages"]) // 4, len(text) // 4
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": text},
                    "finish_reason": finish,
                }
            ],
            "usage": {
                "prompt_tokens": tokens_in,
                "completion_tokens": got,
                "total_tokens": tokens_in + got,
            },
        }

    async def _embed(self, request: Any) -> Any:
        from aiohttp import web

        body = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        vectors = [vector_of(str(text)) for text in texts]
        if body.get("encoding_format") == "base64":
            data: list[Any] = [
                base64.b64encode(np.asarray(v, dtype="<f4").tobytes()).decode() for v in vectors
            ]
        else:
            data = vectors
        rows = [
            {"object": "embedding", "index": i, "embedding": vector}
            for i, vector in enumerate(data)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return web.json_response(
            {"object": "list", "data": rows, "model": body["model"], "usage": usage}
        )


async def _streamed(request: Any, answer: dict[str, Any], options: dict[str, Any]) -> Any:
    """The answer as server-sent events, a word in each; what was used comes last, if asked for."""
    from aiohttp import web

    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    (choice,) = answer["choices"]
    head = {key: answer[key] for key in ("id", "created", "model")}
    head["object"] = "chat.completion.chunk"
    words = re.findall(r"\S+\s*|\s+", choice["message"]["content"])
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"content": word}, None) for word in words]
    deltas.append(({}, choice["finish_reason"]))
    chunks = [
        head | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}
        for delta, finish in deltas
    ]
    if options.get("include_usage"):
        chunks.append(head | {"choices": [], "usage": answer["usage"]})
    for chunk in chunks:
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


def _unlucky(body: dict[str, Any], share: float) -> bool:
    return share > 0 and seeded(json.dumps(body["messages"])).random() < share
