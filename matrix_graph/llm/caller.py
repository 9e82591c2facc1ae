"""Ask a chat model at a slot: journal first, then the line; the answer read or the failure typed.

An answer that is empty, cut off or malformed is asked for again, and the model is shown the reason.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel

from matrix_graph.boundary.secrets import without_keys
from matrix_graph.errors import CallFailed, InputError, RunPaused
from matrix_graph.llm import structured
from matrix_graph.llm.journal import Entry, clean, entry_for
from matrix_graph.llm.line import ATTEMPTS, Line, Request
from matrix_graph.llm.local import CHAT_MODEL
from matrix_graph.llm.models import inner_model, name_of, remember_keys, takes_schema
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.structured import Malformed
from matrix_graph.llm.usage import Usage

FAILED = "failed"
LONGEST_TOKEN, LONGEST_ANSWER = 32, 16_384
"""Characters of a token and tokens of an answer, at most: what a server sends beyond them was not
asked for.
"""
MOST_TOKENS = 10**8
"""Of one call; a server that counts more does not count."""
_PROBES, _PROBE_SECONDS = 2, 8.0
"""What a provider is given to show that it answers at all."""

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
ChatMessage = dict[str, str]


@dataclass(frozen=True)
class Answer(Generic[T]):
    """What a call gave: the value read, the raw text, and the journal slot it stands in."""

    value: T
    text: str
    call: str


class Caller:
    """One chat model behind journal, limiter and budget.

    Args:
        model: Any LangChain chat model, or a Runnable around one.
        line: What is shared with the other callers of the context.

    A shape is asked for by the OpenAI `response_format` where the model takes it, otherwise in
    words.
    """

    def __init__(self, model: Runnable[Any, Any], line: Line) -> None:
        self.model, self.name = model, name_of(model)
        self._line = line
        self._small = self.name == CHAT_MODEL
        self._native_schema = takes_schema(model)
        remember_keys(inner_model(model))
        self._extra_body: dict[str, Any] = getattr(inner_model(model), "extra_body", None) or {}

    async def text(
        self,
        slot: Slot,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        check: Callable[[str], str] = str.strip,
        paragraph: bool = False,
        grammar: str | None = None,
        seed: int | None = None,
        whole: bool = True,
        rank: int = 0,
    ) -> Answer[str]:
        """Plain text. `check` cleans the answer, or raises `Malformed` to have it asked for again.

        Of calls that wait, those of the lowest `rank` go first. `paragraph` says that one paragraph
        is wanted: the embedded model, which seldom stops by itself, is then stopped at the end of
        its first line. `grammar` holds it to a form, as llama.cpp reads one. `seed` is passed on to
        servers of OpenAI's kind. Unless a `whole` answer is wanted, one that was cut off at its
        length limit will do.

        Raises:
            CallFailed: no usable answer after the attempts.
            CapReached, ProviderDown: the run should pause.
            InputError: the provider refuses us for good.
        """
        params: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
        if paragraph and self._small:
            params["stop"] = ["\n"]
        if seed is not None and self._native_schema:
            params["seed"] = seed
        if grammar:
            params["extra_body"] = self._extra_body | {"grammar": grammar}
        return await self._ask(slot, messages, check, params, rank, whole)

    async def parsed(
        self,
        slot: Slot,
        messages: Sequence[ChatMessage],
        schema: type[M],
        *,
        max_tokens: int | None = None,
        check: Callable[[M], M] = lambda value: value,
        rank: int = 0,
    ) -> Answer[M]:
        """An answer in the shape of `schema`. Same errors as `text`."""
        params: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
        if self._native_schema:
            # As a plain field of the body: the client's own way costs a third more CPU and raises
            # on a cut answer.
            params["extra_body"] = self._extra_body | {
                "response_format": structured.response_format(schema)
            }
        else:
            messages = [*messages[:-1], _extended(messages[-1], structured.schema_in_words(schema))]
        return await self._ask(
            slot, messages, lambda text: check(structured.parse(schema, text)), params, rank
        )

    async def _ask(
        self,
        slot: Slot,
        messages: Sequence[ChatMessage],
        read: Callable[[str], T],
        params: Mapping[str, Any],
        rank: int,
        whole: bool = True,
    ) -> Answer[T]:
        asked = list(messages)
        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            entry = await self._answer(slot.at(attempt), asked, params, rank)
            if entry.finish == FAILED:
                raise CallFailed(slot, entry.answer, ATTEMPTS)
            try:
                if whole and entry.finish == "length":
                    raise Malformed("the answer was cut off at its length limit; be much shorter")
                if not entry.answer.strip():
                    raise Malformed("the answer was empty")
                return Answer(read(entry.answer), entry.answer, entry.slot)
            except Malformed as error:
                problem = str(error)
                note = f"(Your last answer could not be used: {problem}. Answer again.)"
                asked = [*messages[:-1], _extended(messages[-1], note)]
        raise CallFailed(slot, problem, ATTEMPTS)

    async def _answer(
        self, slot: Slot, messages: list[ChatMessage], params: Mapping[str, Any], rank: int
    ) -> Entry:
        entry = entry_for(slot, self.name, {"messages": messages, **params})
        if recorded := await self._line.journal.find(slot, entry.digest):
            return recorded
        call = self._fill(entry, Request(slot, rank), messages, params)
        return await asyncio.shield(self._line.begin(call))

    async def _fill(
        self,
        entry: Entry,
        request: Request,
        messages: list[ChatMessage],
        params: Mapping[str, Any],
    ) -> Entry:
        tags = ["matrix-graph", request.slot.stage]
        traced = RunnableConfig(run_name=entry.slot, tags=tags)

        async def once() -> AIMessage:
            message: AIMessage = await self.model.ainvoke(messages, traced, **params)
            return message

        async def alive() -> bool:
            return await self._answers_anything(request)

        used = Usage()
        try:
            message = await self._line.send(self.name, request, once, alive)
        except (RunPaused, InputError) as error:
            self._line.halted = error
            raise
        except CallFailed as error:
            entry = replace(entry, answer=clean(error.reason), finish=FAILED)
        else:
            used = _usage_of(message)
            text, finish = clean(without_keys(str(message.text))), _finish_reason(message)
            longest = LONGEST_TOKEN * params.get("max_tokens", LONGEST_ANSWER)
            entry = replace(
                entry,
                answer=text[:longest],
                finish="length" if len(text) > longest else finish,
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
            )
        entry = replace(entry, requests=request.sent, seconds=round(request.seconds, 4))
        self._line.budget.account.note(self.name, used)
        await self._line.journal.answered(entry, used)
        return entry

    async def _answers_anything(self, request: Request) -> bool:
        """Whether a call of a few words gets through, where those made lately all failed."""
        for _ in range(_PROBES):
            # Other words each time: some servers fail by what is asked.
            words = f"Answer with the word: ready ({random.randrange(10**6)})"

            async def once(words: str = words) -> None:
                message = await self.model.ainvoke([{"role": "user", "content": words}])
                self._line.budget.account.add(self.name, _usage_of(message))

            if await self._line.answers(self.name, request, once, _PROBE_SECONDS):
                return True
        return False


def _extended(message: ChatMessage, note: str) -> ChatMessage:
    return {**message, "content": f"{message['content']}\n\n{note}"}


def _finish_reason(message: AIMessage) -> str:
    meta = message.response_metadata
    reason = str(meta.get("finish_reason") or meta.get("stop_reason") or "stop")
    cut = reason in ("length", "max_tokens", "MAX_TOKENS")
    return "length" if cut else clean(without_keys(reason[:40]))


def _usage_of(message: AIMessage) -> Usage:
    """What the server says that it took; nothing where that cannot be."""
    usage: Mapping[str, Any] = message.usage_metadata or {}
    tokens = [usage.get(name, 0) for name in ("input_tokens", "output_tokens")]
    if not all(type(n) is int and 0 <= n <= MOST_TOKENS for n in tokens):
        return Usage()
    return Usage(0, *tokens)
