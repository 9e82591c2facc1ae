"""Ask a chat model at a slot: journal first, then budget, limiter, retries; the answer read or the
failure typed.

Up to `ATTEMPTS` answers or errors per call. Throttling, server errors and time-outs are waited out;
an answer that is empty, cut off or malformed is asked for again with the reason told to the model.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from matrix_graph.errors import CallFailed, InputError, MatrixError, ProviderDown, RunPaused
from matrix_graph.llm import structured
from matrix_graph.llm.budget import Budget
from matrix_graph.llm.journal import Entry, Journal, clean, entry_for
from matrix_graph.llm.limiter import Limiter
from matrix_graph.llm.local import CHAT_MODEL
from matrix_graph.llm.offline import NotOnRecord
from matrix_graph.llm.provider import check_refusal, is_passing, reason_of, retry_after, status_of
from matrix_graph.llm.structured import Malformed

ATTEMPTS = 4
LONGEST_WAIT = 60.0
FAILED = "failed"
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


@dataclass
class Line:
    """What all callers of a run share.

    `offline`, nobody is asked. Once one of them has `halted` the run, no call starts until those
    that were under way have ended.
    """

    journal: Journal
    limiter: Limiter
    budget: Budget
    offline: bool = False
    last_success: float = 0.0
    halted: MatrixError | None = None
    under_way: set[asyncio.Task[Entry]] = field(default_factory=set)

    def forget(self, limiter: Limiter) -> None:
        """Begin anew in another event loop; whoever waited in the last one is gone with it."""
        self.limiter, self.halted = limiter, None
        self.under_way.clear()

    async def ended(self, grace: float) -> None:
        """Start no more calls, and give those under way `grace` seconds to reach the journal."""
        self.halted = self.halted or RunPaused("the run is being closed")
        if self.under_way:
            _, late = await asyncio.wait(self.under_way, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def begin(self, call: Coroutine[Any, Any, Entry]) -> asyncio.Task[Entry]:
        """Run a call that goes on when whoever asked for it is cancelled: its answer is paid for."""
        task = asyncio.create_task(call)
        self.under_way.add(task)
        task.add_done_callback(self._left)
        return task

    def _left(self, task: asyncio.Task[Entry]) -> None:
        self.under_way.discard(task)
        if not task.cancelled():
            task.exception()
        if not self.under_way:
            self.halted = None


class Caller:
    """One chat model behind journal, limiter and budget.

    Args:
        model: Any LangChain chat model.
        line: What is shared with the other callers of the run.
        timeout: Seconds allowed per attempt.

    A shape is asked for by the OpenAI `response_format` where the model takes it, otherwise in
    words.
    """

    def __init__(self, model: BaseChatModel, line: Line, *, timeout: float = 120.0) -> None:
        from langchain_openai.chat_models.base import BaseChatOpenAI

        self.model = model
        self.name: str = getattr(model, "model_name", None) or model.__class__.__name__
        self._line = line
        self._timeout = timeout
        self._small = self.name == CHAT_MODEL
        self._native_schema = isinstance(model, BaseChatOpenAI)
        self._extra_body: dict[str, Any] = getattr(model, "extra_body", None) or {}

    async def text(
        self,
        slot: str,
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
        is wanted: the embedded model, which seldom stops by itself, is then stopped at the end of its
        first line. `grammar` holds it to a form, as llama.cpp reads one. `seed` is passed on to
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
        slot: str,
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
        slot: str,
        messages: Sequence[ChatMessage],
        read: Callable[[str], T],
        params: Mapping[str, Any],
        rank: int,
        whole: bool = True,
    ) -> Answer[T]:
        asked = list(messages)
        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            entry = await self._answer(f"{slot}#{attempt}", asked, params, rank)
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
        self, slot: str, messages: list[ChatMessage], params: Mapping[str, Any], rank: int
    ) -> Entry:
        entry = entry_for(slot, self.name, {"messages": messages, **params})
        if found := await self._line.journal.find(slot, entry.digest):
            return found
        return await asyncio.shield(self._line.begin(self._fill(entry, messages, params, rank)))

    async def _fill(
        self, entry: Entry, messages: list[ChatMessage], params: Mapping[str, Any], rank: int
    ) -> Entry:
        spent = _Spent()
        try:
            message = await self._send(entry.slot, messages, params, rank, spent)
        except (RunPaused, InputError) as error:
            self._line.halted = error
            raise
        except CallFailed as error:
            entry = replace(entry, answer=error.reason, finish=FAILED)
        else:
            usage = message.usage_metadata
            entry = replace(
                entry,
                answer=clean(str(message.text)),
                finish=_finish_reason(message),
                input_tokens=usage["input_tokens"] if usage else 0,
                output_tokens=usage["output_tokens"] if usage else 0,
            )
            self._line.budget.charge(self.name, entry.input_tokens, entry.output_tokens)
        entry = replace(entry, requests=spent.requests, seconds=round(spent.seconds, 4))
        await self._line.journal.record(entry)
        return entry

    async def _answers_anything(self, spent: _Spent) -> bool:
        """Whether a call of a few words gets through, where those that were made lately all failed."""
        for _ in range(_PROBES):
            # Other words each time: some servers fail by what is asked.
            words = f"Answer with the word: ready ({random.randrange(10**6)})"
            async with self._line.limiter.slot(-1):
                if self._line.halted:
                    return False
                self._line.budget.start()
                spent.requests += 1
                try:
                    async with asyncio.timeout(min(self._timeout, _PROBE_SECONDS)):
                        await self.model.ainvoke([{"role": "user", "content": words}])
                except Exception:  # noqa: BLE001 (whatever it is, this did not get through)
                    continue
            self._line.last_success = time.monotonic()
            return True
        return False

    async def _send(
        self,
        slot: str,
        messages: list[ChatMessage],
        params: Mapping[str, Any],
        rank: int,
        spent: _Spent,
    ) -> AIMessage:
        line, problem, first_error = self._line, "", 0.0
        if line.offline:
            raise NotOnRecord(slot)
        traced = RunnableConfig(run_name=slot, tags=["matrix-graph", slot.partition("/")[0]])
        for attempt in range(1, ATTEMPTS + 1):
            async with line.limiter.slot(rank if attempt == 1 else -1):
                if line.halted:
                    raise line.halted
                line.budget.start()
                begun = time.monotonic()
                try:
                    async with asyncio.timeout(self._timeout):
                        message = await self.model.ainvoke(messages, traced, **params)
                    line.last_success = time.monotonic()
                    line.limiter.succeeded()
                    return message
                except Exception as error:
                    first_error = first_error or time.monotonic()
                    check_refusal(error, self.name)
                    timed_out = isinstance(error, TimeoutError)
                    problem = (
                        f"timed out after {self._timeout:g} s" if timed_out else reason_of(error)
                    )
                    if not is_passing(status_of(error)):
                        raise CallFailed(slot, problem, attempt) from error
                    if status_of(error) == 429:
                        line.limiter.throttled()
                    wait = retry_after(error) or 0.5 * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)
                finally:
                    spent.requests += 1
                    spent.seconds += time.monotonic() - begun
            if attempt < ATTEMPTS:
                await asyncio.sleep(min(wait, LONGEST_WAIT))
        if line.last_success < first_error and not await self._answers_anything(spent):
            raise ProviderDown(f"{self.name} answers nobody: {problem} ({ATTEMPTS} attempts)")
        raise CallFailed(slot, problem, ATTEMPTS)


@dataclass
class _Spent:
    """Requests that a call took, and the seconds for which they were in flight."""

    requests: int = 0
    seconds: float = 0.0


def _extended(message: ChatMessage, note: str) -> ChatMessage:
    return {**message, "content": f"{message['content']}\n\n{note}"}


def _finish_reason(message: AIMessage) -> str:
    meta = message.response_metadata
    reason = str(meta.get("finish_reason") or meta.get("stop_reason") or "stop")
    return "length" if reason in ("length", "max_tokens", "MAX_TOKENS") else reason
