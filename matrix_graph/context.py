"""What a run is given from outside: the `Context` that travels through the graphs, and what is
opened from it.

`Context` holds settings and specs only, so it can be written by hand, sent over an API, and passed
again on resume. The live parts (models, journal, memory) are opened once per context, at first use.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langgraph.store.base import BaseStore

from matrix_graph.amendments import PREFIX, Amendments
from matrix_graph.errors import CallFailed, InputError
from matrix_graph.llm.budget import Budget, Price, price_of
from matrix_graph.llm.caller import Caller, Line
from matrix_graph.llm.embedder import Embedder
from matrix_graph.llm.journal import Journal
from matrix_graph.llm.limiter import Limiter
from matrix_graph.llm.local import CHAT_MODEL
from matrix_graph.llm.models import LOCAL, NONE, chat_model, close_model, embedding_model
from matrix_graph.llm.prompts import Prompts
from matrix_graph.llm.remote import Remote
from matrix_graph.memory.buffer import Buffer
from matrix_graph.memory.episodic import EpisodicMemory
from matrix_graph.memory.records import Records
from matrix_graph.schema import Communication, Routing

_GRACE = 10.0
"""Seconds that calls under way are given when a run is closed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """Settings of one run; pass it as `context=` to the compiled graph, and again on resume.

    Attributes:
        model: Who plays, routes and writes: `local`, `openai:NAME`, a LangChain chat model, or
            `none`.
        student: The model about to be tuned, which writes DPO's rejected answers; `model` if None.
        embeddings: `local`, `openai:NAME`, LangChain embeddings, or `none`.
        base_url: The server behind `openai:` specs, with its `/v1`; OpenAI's own if None.
        temperature: Sampling temperature; the provider's default if None.
        run: Name of the run in the store.
        seed: Seeds grouping, sampling and the random control arm; not the models.
        communication: `structured`, or the control arms `random` and `none`.
        modulator: `batched` (one call routes all actions of a group's step), `per_action`, or
            `human`: a person is asked through `interrupt()`, which needs a checkpointer.
        concurrency: Model calls in flight at most.
        timeout: Seconds per attempt of a model call.
        memory_limit: Memories of an agent past which the older half is consolidated into one.
        max_calls, max_cost: Caps (requests; US dollars) that pause the run.
        price: US dollars per million tokens (in, out) where the price list does not know the model.
        journal: File of the call journal; in memory if None.
        prompts: Folder with the user's own versions of prompts.
        offline: Ask no model: a call that the journal has no answer to interrupts the graph.
    """

    model: str | BaseChatModel = "local"
    student: str | BaseChatModel | None = None
    embeddings: str | Embeddings = "local"
    base_url: str | None = None
    temperature: float | None = None
    run: str = "run"
    seed: int = 0
    communication: Communication = "structured"
    modulator: Routing = "batched"
    concurrency: int = 8
    timeout: float = 120.0
    memory_limit: int = 500
    max_calls: int | None = None
    max_cost: float | None = None
    price: tuple[float, float] | None = None
    journal: str | Path | None = None
    prompts: str | Path | None = None
    offline: bool = False


class Resources:
    """The live parts of one context.

    Raises:
        InputError: a spec, a key, a prompt folder or a price that does not do.
    """

    def __init__(self, context: Context) -> None:
        self.prompts = Prompts(context.prompts, small=context.model == LOCAL)
        model, student, embeddings = self._own = _models(context)
        self.budget = Budget(max_calls=context.max_calls, max_cost=context.max_cost)
        self.journal = Journal(context.journal)
        self.amendments = Amendments(self.journal.entries(PREFIX))
        self.embedder = Embedder(embeddings, journal=self.journal, offline=context.offline)
        self._line = line = Line(
            self.journal, Limiter(context.concurrency), self.budget, context.offline
        )
        self.model = Caller(model, line, timeout=context.timeout)
        self.student = Caller(student, line, timeout=context.timeout)
        self.remote = Remote(line, timeout=context.timeout)
        self.budget.prices = _prices(context, {self.model.name, self.student.name})
        self.budget.carry_over(self.journal.totals())
        self._context = context
        self._loop: asyncio.AbstractEventLoop | None = None
        self._run = context.run
        self._memory_limit = context.memory_limit
        self._buffers: WeakKeyDictionary[BaseStore, Buffer] = WeakKeyDictionary()
        self._memories: WeakKeyDictionary[BaseStore, EpisodicMemory] = WeakKeyDictionary()

    def settle(self) -> None:
        """Belong to the running event loop: connections and waiting calls of another one are of no
        use in it.
        """
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            self.model.model, self.student.model, self.embedder.model = self._own = _models(
                self._context
            )
            self.embedder.forget()
            self._line.forget(Limiter(self._context.concurrency))
        self._loop = loop

    def memory(self, store: BaseStore | None) -> EpisodicMemory:
        """The episodic memory of this run over the graph's store.

        Raises:
            InputError: the graph was compiled without a store.
        """
        store = _needed(store)
        if store not in self._memories:
            self._memories[store] = EpisodicMemory(
                store,
                self.embedder,
                run=self._run,
                buffer=self._buffer(store),
                limit=self._memory_limit,
                consolidate=self._consolidated,
            )
        return self._memories[store]

    async def _consolidated(self, slot: str, texts: Sequence[str]) -> str:
        messages = self.prompts.render(
            "consolidate", memories="\n".join(f"- {text}" for text in texts)
        )
        try:
            return (await self.model.text(slot, messages, max_tokens=400, paragraph=True)).value
        except CallFailed:
            return ""

    def records(self, store: BaseStore | None) -> Records:
        """The records of this run in the graph's store. Errors as `memory`."""
        store = _needed(store)
        return Records(store, self._run, self._buffer(store))

    async def written(self, store: BaseStore | None) -> None:
        """Return when all memories and records that are waiting are in the store."""
        await self._buffer(_needed(store)).flush()

    def _buffer(self, store: BaseStore) -> Buffer:
        return self._buffers.setdefault(store, Buffer(store))

    async def aclose(self) -> None:
        """Let calls under way reach the journal; close it, and the connections of models opened
        here.
        """
        await self._line.ended(_GRACE)
        await self.embedder.aclose()
        await asyncio.to_thread(self.journal.close)
        lent = (self._context.model, self._context.student, self._context.embeddings)
        models: tuple[BaseChatModel | Embeddings, ...] = self._own
        for model in models:
            if not any(model is given for given in lent):
                await close_model(model)


def _models(context: Context) -> tuple[BaseChatModel, BaseChatModel, Embeddings]:
    """The model, the student and the embeddings: made from their specs, or as they were given."""

    def chat(spec: str | BaseChatModel) -> BaseChatModel:
        return chat_model(spec, context.base_url, context.temperature, offline=context.offline)

    model = chat(context.model)
    student = chat(context.student) if context.student else model
    return (
        model,
        student,
        embedding_model(context.embeddings, context.base_url, offline=context.offline),
    )


def _needed(store: BaseStore | None) -> BaseStore:
    if store is None:
        raise InputError(
            "Compile the graph with a store: .compile(store=ChromaStore(...)) or any BaseStore. "
            "Inside another graph, or a tool of one, it is the outer graph's store that counts."
        )
    return store


_opened: WeakKeyDictionary[Context, Resources] = WeakKeyDictionary()
_opening = threading.Lock()


def resources(context: Context | None) -> Resources:
    """What is open for `context`, opened now if need be (which blocks).

    Raises:
        InputError: no context was passed, or it cannot be opened.
    """
    if context is None:
        raise InputError(
            "Pass a context to the graph: graph.ainvoke(..., context=Context(model=...))."
        )
    with _opening:
        if context not in _opened:
            _opened[context] = Resources(context)
        return _opened[context]


async def opened(context: Context | None) -> Resources:
    """`resources` for coroutines: opening happens in a thread, and what is open belongs to the
    running event loop.
    """
    found = _opened.get(context) if context is not None else None
    if found is None:
        found = await asyncio.to_thread(resources, context)
    found.settle()
    return found


def open_now(context: Context) -> Resources | None:
    """What is open for `context`, if anything is."""
    return _opened.get(context)


async def close(context: Context) -> None:
    """Close what was opened for `context`; it may be used again and is then opened anew."""
    if found := _opened.pop(context, None):
        await found.aclose()


def _prices(context: Context, names: set[str]) -> dict[str, Price]:
    own = Price(*context.price) if context.price else None
    prices: dict[str, Price] = {}
    for name in names - {CHAT_MODEL, NONE}:
        price = own or price_of(name)
        if price:
            prices[name] = price
        elif context.max_cost is not None:
            raise InputError(
                f"--max-cost needs a price, and none is known for {name}: give --price IN,OUT "
                "(USD per million tokens)."
            )
    return prices
