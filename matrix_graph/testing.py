"""Stand-ins for models, for your tests as for ours: a chat model, embeddings, and an OpenAI server
with faults.

What they answer depends on the request alone, so concurrent calls cannot change each other's
answers. Where a schema is asked for, the answer fits it; otherwise it is prose that ends in a
question.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import blake2b
from types import TracebackType
from typing import Any

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from matrix_graph.llm.usage import Usage

DIMENSIONS = 64
_SUBJECTS = (
    "the baker",
    "my neighbour",
    "our foreman",
    "a customer",
    "the clinic",
    "my daughter",
    "the council",
)
_VERBS = (
    "repairs",
    "delays",
    "paints",
    "counts",
    "borrows",
    "returns",
    "measures",
    "sells",
    "records",
    "loses",
)
_THINGS = (
    "map",
    "blanket",
    "pump",
    "ladder",
    "camera",
    "invoice",
    "well",
    "boat",
    "scale",
    "curtain",
    "net",
    "oven",
    "ledger",
    "bicycle",
    "roof",
    "letter",
    "engine",
    "garden",
    "fence",
    "recipe",
    "permit",
    "violin",
)
_PLACES = (
    "market",
    "harbour",
    "school",
    "station",
    "field",
    "workshop",
    "library",
    "bridge",
    "kitchen",
    "depot",
)
_DAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "the holiday",
    "harvest",
    "the storm",
)
_WORD = re.compile(r"\w+")


def prose(rng: random.Random, sentences: int = 2) -> str:
    """Sentences and then a question, drawn from `rng`."""

    def clause() -> str:
        return (
            f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.randint(2, 99)} "
            f"{rng.choice(_THINGS)}s "
            f"near the {rng.choice(_PLACES)} before {rng.choice(_DAYS)}"
        )

    statements = [f"{text[0].upper()}{text[1:]}." for text in (clause() for _ in range(sentences))]
    return " ".join(
        [*statements, f"How should I plan for the {rng.choice(_THINGS)} if {clause()}?"]
    )


def code(rng: random.Random) -> str:
    """A solution and its tests, as two blocks of Python."""
    thing, a, b = rng.choice(_THINGS), rng.randint(2, 99), rng.randint(2, 99)
    name = f"{rng.choice(_VERBS)}_{thing}_{a}_{b}"
    docstring = f'"""The cost of so many {thing}s."""'
    solution = f"def {name}(count: int) -> int:\n    {docstring}\n    return count * {a} + {b}"
    tests = "\n".join(f"assert {name}({n}) == {n * a + b}" for n in range(4))
    return f"```python\n{solution}\n```\n\n```python\n{tests}\n```"


def instance(schema: dict[str, Any], rng: random.Random) -> Any:
    """A random value that fits a JSON schema (the keywords of pydantic's plain models)."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    if kind == "object":
        return {name: instance(sub, rng) for name, sub in schema.get("properties", {}).items()}
    if kind == "array":
        low, high = schema.get("minItems", 0), schema.get("maxItems", 3)
        return [instance(schema.get("items", {}), rng) for _ in range(rng.randint(low, high))]
    if kind == "integer":
        return rng.randint(schema.get("minimum", 0), schema.get("maximum", 10))
    if kind == "number":
        return rng.uniform(schema.get("minimum", 0), schema.get("maximum", 1))
    if kind == "boolean":
        return rng.random() < 0.5
    return prose(rng, 1)[: schema.get("maxLength", 200)]


def answer_to(
    messages: Sequence[dict[str, Any]],
    schema: dict[str, Any] | None = None,
    seed: int | None = None,
) -> str:
    """The answer to a request, fixed by its content and its seed."""
    rng = _seeded(
        json.dumps([messages, schema] if seed is None else [messages, schema, seed], sort_keys=True)
    )
    if schema:
        return json.dumps(instance(schema, rng))
    asked = f"{messages[0]['content']} {messages[-1]['content']}"
    if "```python" in asked:
        return code(rng)
    if "<think>" in asked:
        return f"<think>\n{prose(rng, 3)}\n</think>\n\n{prose(rng)}"
    if "===" in asked:
        return f"{prose(rng)}\n===\n{prose(rng)}"
    return prose(rng)


def vector_of(text: str) -> list[float]:
    """A bag of hashed words: texts with words in common are similar."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    for word in _WORD.findall(text.lower()):
        digest = blake2b(word.encode(), digest_size=4).digest()
        vector[digest[0] % DIMENSIONS] += 1 if digest[1] % 2 else -1
    return [float(x) for x in vector]


class FakeEmbeddings(Embeddings):
    """Embeddings by `vector_of`. `texts` counts how often each text was embedded."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text."""
        self.texts.update(texts)
        return [vector_of(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]


class FakeChat(BaseChatModel):
    """A chat model by `answer_to`, reading a schema out of the words that ask for one.

    `replies` maps a substring of the last message to a fixed answer, or to an exception to raise.
    `calls` counts the calls.
    """

    replies: dict[str, Any] = Field(default_factory=dict)
    calls: int = 0

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.calls += 1
        request = [{"role": m.type, "content": m.text} for m in messages]
        asked = str(messages[-1].text)
        for words, reply in self.replies.items():
            if words in asked:
                if isinstance(reply, BaseException):
                    raise reply
                return _result(str(reply))
        _, marker, schema = asked.rpartition("It must fit this JSON schema:\n")
        return _result(answer_to(request, _inlined(schema) if marker else None))


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
    """An OpenAI server on loopback (chat completions and embeddings), in a thread of its own.

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


def _unlucky(body: dict[str, Any], share: float) -> bool:
    return share > 0 and _seeded(json.dumps(body["messages"])).random() < share


def _result(text: str) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])


def _inlined(schema: str) -> dict[str, Any]:
    from langchain_core.utils.json_schema import dereference_refs

    inlined: dict[str, Any] = dereference_refs(json.loads(schema))
    return inlined


def _seeded(text: str) -> random.Random:
    return random.Random(blake2b(text.encode(), digest_size=8).digest())
