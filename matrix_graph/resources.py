"""What is opened from a context: models, journal, memory; who holds it, and when it ends.

    async with opening(context) as resources:
        ...

closes it at the end of the block. Nodes of a graph take what is open; where nobody holds it, it
is opened for as long as the context object lives, and is closed when that is collected. A journal
in memory lives as long as its context, too.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary, WeakValueDictionary, finalize

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable
from langgraph.config import get_config
from langgraph.store.base import BaseStore

from matrix_graph.amendments import PREFIX, Amendments
from matrix_graph.boundary.files import make_folder
from matrix_graph.boundary.quoting import listed
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed, InputError
from matrix_graph.llm.budget import Account, Budget, Price, checked_caps, list_price
from matrix_graph.llm.caller import Caller
from matrix_graph.llm.embedder import Embedder
from matrix_graph.llm.journal import Journal, digest_of
from matrix_graph.llm.limiter import Limiter
from matrix_graph.llm.line import Line
from matrix_graph.llm.models import NONE, chat_model, close_model, embedding_model, is_local
from matrix_graph.llm.prompts import Prompts
from matrix_graph.llm.remote import Remote
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.tasks import acquired, to_end
from matrix_graph.memory.buffer import Buffer
from matrix_graph.memory.episodic import EpisodicMemory
from matrix_graph.memory.records import RUN, Records

_MEMORIES = 1_000
"""Threads whose memories are kept in the process; those of others are read from the store again."""

GRACE, SHORT_GRACE = 10.0, 1.0
"""Seconds that calls under way are given when a run is closed, and when it is interrupted."""


class Resources:
    """The live parts of one context.

    Attributes:
        account: What the run has used, shared with the other contexts on its journal.

    Raises:
        InputError: a spec, a key, a prompt folder, a journal or a price is refused.
    """

    def __init__(self, context: Context, journal: Journal, account: Account) -> None:
        # A copy: what is opened must not keep its context alive.
        self.context = replace(context)
        checked_caps(context.max_calls, context.max_cost)
        self.prompts = Prompts(context.prompts, small=is_local(context.model))
        self._models = model, student, embeddings = _models(context)
        self.journal = journal
        self.account = account
        self.amendments = Amendments(journal.entries(PREFIX))
        self.embedder = Embedder(embeddings, journal=journal, offline=context.offline)
        self._line = line = Line(
            journal,
            Limiter(context.concurrency),
            Budget(account, context.max_calls, context.max_cost),
            context.timeout,
            context.offline,
        )
        self.model = Caller(model, line)
        self.student = Caller(student, line)
        self.remote = Remote(line)
        _set_prices(context, account, {self.model.name, self.student.name})
        self.loop: asyncio.AbstractEventLoop | None = None
        self._buffers: WeakKeyDictionary[BaseStore, Buffer] = WeakKeyDictionary()
        # Nodes at work keep theirs alive: two of one run would write over each other.
        self._memories: WeakKeyDictionary[BaseStore, WeakValueDictionary[str, EpisodicMemory]]
        self._memories = WeakKeyDictionary()
        self._recent: dict[EpisodicMemory, None] = {}

    def serves(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether nobody in another event loop uses it."""
        return self.loop in (None, loop) or not self.loop.is_running()

    def belong(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to that event loop: connections and waiting calls of another one are of no use in
        it.
        """
        if self.loop not in (None, loop):
            self._models = _models(self.context)
            self.model.model, self.student.model, self.embedder.model = self._models
            self.embedder.forget()
            self.remote.forget()
            self._line.forget(Limiter(self.context.concurrency))
        self.loop = loop

    @property
    def named(self) -> bool:
        """Whether the context names the run, on purpose."""
        return self.context.run is not None

    @property
    def run(self) -> str:
        """The name of the run in the store, for a node of a graph."""
        return run_name(self.context)

    @property
    def threaded(self) -> bool:
        """Whether the run is that of the graph's thread."""
        return not self.named and bool(_thread_id())

    @property
    def apart(self) -> dict[str, str]:
        """What tells questions to people and to the user's own agents apart by thread: what one was
        answered is no answer to another's.
        """
        thread = self.context.branch_of or (None if self.named else self.run)
        return {"run": thread} if thread else {}

    def memory(self, store: BaseStore | None) -> EpisodicMemory:
        """The episodic memory of this run over the graph's store.

        Raises:
            InputError: the graph was compiled without a store.
        """
        store = _needed(store)
        memories, run = self._memories.setdefault(store, WeakValueDictionary()), self.run
        memory = memories.get(run)
        if memory is None:
            memory = memories[run] = EpisodicMemory(
                store,
                self.embedder,
                run=run,
                buffer=self._buffer(store),
                limit=self.context.memory_limit,
                consolidate=self._consolidated,
            )
        # The one used last comes last.
        self._recent.pop(memory, None)
        self._recent[memory] = None
        while len(self._recent) > _MEMORIES and not self._buffer(store).waiting:
            del self._recent[next(iter(self._recent))]
        return memory

    def records(self, store: BaseStore | None) -> Records:
        """The records of this run in the graph's store. Errors as `memory`."""
        store = _needed(store)
        return Records(store, self.run, self._buffer(store))

    async def written(self, store: BaseStore | None) -> None:
        """Return when all memories and records that are waiting are in the store."""
        await self._buffer(_needed(store)).flush()

    async def settle(self, grace: float = GRACE) -> None:
        """Start no more calls, and let those under way reach the journal within `grace` seconds:
        what was used is known then.
        """
        await self._line.settle(grace)

    async def aclose(self) -> None:
        """Settle, and close the connections of what was opened here; the journal stays open."""
        await self.settle()
        self._line.close()
        await self.embedder.aclose()
        await self.remote.aclose()
        lent = (self.context.model, self.context.student, self.context.embeddings)
        models: Sequence[Runnable[Any, Any] | Embeddings] = self._models
        for model in models:
            if not any(model is one for one in lent):
                await close_model(model)

    async def _consolidated(self, slot: Slot, texts: Sequence[str]) -> str:
        messages = self.prompts.render("consolidate", memories=listed(texts))
        try:
            return (await self.model.text(slot, messages, max_tokens=400, paragraph=True)).value
        except CallFailed:
            return ""

    def _buffer(self, store: BaseStore) -> Buffer:
        return self._buffers.setdefault(store, Buffer(store))


@asynccontextmanager
async def opening(context: Context | None) -> AsyncIterator[Resources]:
    """Hold what is opened from `context`; when its last holder leaves, it is closed, unless nodes
    of a graph had it before.

    Raises:
        InputError: no context was passed, or it cannot be opened.
    """
    loop = asyncio.get_running_loop()
    held = asyncio.to_thread(_place_of, context, _thread_of(context), loop, holding=True)
    async with acquired(held, _Place.leave) as place:
        yield place.resources


async def opened(context: Context | None) -> Resources:
    """What is open for `context`, for a node of a graph; it is opened if nobody holds it.

    Raises:
        InputError: no context was passed, or it cannot be opened.
    """
    thread, loop = _thread_of(context), asyncio.get_running_loop()
    opened = _open.get(context) if isinstance(context, Context) else None
    for place in opened.places if opened else ():
        if place.thread == thread and place.resources.loop is loop:
            return place.resources
    return (await asyncio.to_thread(_place_of, context, thread, loop)).resources


async def aclose(context: Context) -> None:
    """Close now what nodes of graphs have opened from `context`; what is held stays open."""
    opened = _open.get(context)
    for place in list(opened.places) if opened else ():
        place.kept = False
        await to_end(place.close())


class _Shared:
    """A journal with its account, and how many contexts write to it."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.journal = Journal(path)
        try:
            self.account = Account(self.journal)
        except InputError:
            self.journal.close()
            raise
        self.users = 0


@dataclass
class _Opened:
    """All that is open of one context.

    Attributes:
        memory: Its journal, where that is in no file.
    """

    places: list[_Place] = field(default_factory=list)
    memory: _Shared | None = None


@dataclass(eq=False)
class _Place:
    """What is open for one context in one event loop, and in one thread of a graph where each has
    a journal.

    Attributes:
        kept: Nodes have it, and may come again as long as the context lives.
    """

    resources: Resources
    shared: _Shared
    places: list[_Place]
    thread: str
    holders: int = 0
    kept: bool = False

    async def leave(self) -> None:
        """One holder less; the last one closes it, in the event loop that it belongs to."""
        with _opening:
            self.holders -= 1
        await self.close()

    async def close(self) -> None:
        """Close it now, unless somebody has it."""
        with _opening:
            if self.holders or self.kept or not self._taken_out():
                return
        try:
            await self.resources.aclose()
        finally:
            await asyncio.to_thread(_leave, self.shared)

    def abandon(self) -> None:
        """Close what nobody holds any more, from wherever the collector came by."""
        if not self._taken_out():
            return
        loop = self.resources.loop
        if loop and loop.is_running():
            closing = asyncio.run_coroutine_threadsafe(self.resources.aclose(), loop)
            closing.add_done_callback(lambda _: _leave(self.shared))
            return

        def close() -> None:
            with suppress(Exception):
                asyncio.run(self.resources.aclose())
            _leave(self.shared)

        try:
            threading.Thread(target=close, name="closing").start()
        except RuntimeError:  # the interpreter is going down
            _leave(self.shared)

    def _taken_out(self) -> bool:
        with _opening:
            if self not in self.places:
                return False
            self.places.remove(self)
            return True


_open: WeakKeyDictionary[Context, _Opened] = WeakKeyDictionary()
_journals: dict[Path, _Shared] = {}
_opening = threading.RLock()


def _place_of(
    context: Context | None, thread: str, loop: asyncio.AbstractEventLoop, holding: bool = False
) -> _Place:
    """The place that is open for that event loop, opened now if need be (which blocks)."""
    if not isinstance(context, Context):
        raise InputError(
            "Pass a context to the graph: graph.ainvoke(..., context=Context(model=...))"
            + ("." if context is None else f", not {type(context).__name__}.")
        )
    with _opening:
        opened = _open.get(context)
        if opened is None:
            opened = _open[context] = _Opened()
            finalize(context, _abandon, opened)
        for place in opened.places:
            if place.thread == thread and place.resources.serves(loop):
                break
        else:
            place = _made(context, thread, opened)
        place.resources.belong(loop)
        if holding:
            place.holders += 1
        elif not place.holders:
            place.kept = True
        return place


def _made(context: Context, thread: str, opened: _Opened) -> _Place:
    path = _journal_of(context, thread)
    shared = _join(path) if path else _in_memory(opened)
    try:
        resources = Resources(context, shared.journal, shared.account)
    except BaseException:
        _leave(shared)
        raise
    place = _Place(resources, shared, opened.places, thread)
    opened.places.append(place)
    return place


def _abandon(opened: _Opened) -> None:
    for place in list(opened.places):
        place.abandon()
    if opened.memory:
        _leave(opened.memory)


def _join(path: Path) -> _Shared:
    shared = _journals.get(path)
    if shared is None:
        shared = _journals[path] = _Shared(path)
    shared.users += 1
    return shared


def _in_memory(opened: _Opened) -> _Shared:
    if opened.memory is None:
        opened.memory = _Shared(None)
        opened.memory.users = 1
    opened.memory.users += 1
    return opened.memory


def _leave(shared: _Shared) -> None:
    with _opening:
        shared.users -= 1
        if shared.users:
            return
        if shared.path:
            del _journals[shared.path]
    shared.journal.close()


def _thread_of(context: Context | None) -> str:
    """The thread of the graph that runs, where each has a journal of its own."""
    if not isinstance(context, Context) or context.journal or not context.journals:
        return ""
    return _thread_id()


def run_name(context: Context) -> str:
    """The name of the run in the store: the context's, that of the thread of the graph that runs,
    or `run`.
    """
    return context.run or _thread_id() or RUN


def _thread_id() -> str:
    try:
        return str(get_config().get("configurable", {}).get("thread_id") or "")
    except RuntimeError:  # outside a graph
        return ""


def _journal_of(context: Context, thread: str) -> Path | None:
    if context.journal:
        return Path(context.journal).resolve()
    if not (context.journals and thread):
        return None
    folder = Path(context.journals).resolve()
    try:
        make_folder(folder)
    except OSError as error:
        raise InputError(f"Cannot make the folder {folder} for journals: {error}") from error
    # Ids that a file name cannot tell apart are told apart by a digest.
    name = thread
    if not re.fullmatch(r"[a-z0-9_-]{1,100}", thread):
        name = f"{quote(thread, safe='')[:80]}-{digest_of(thread)}"
    return folder / f"{name}.sqlite"


def _models(context: Context) -> tuple[Runnable[Any, Any], Runnable[Any, Any], Embeddings]:
    """The model, the student and the embeddings: made from their specs, or as they were given."""

    def chat(spec: str | Runnable[Any, Any]) -> Runnable[Any, Any]:
        return chat_model(spec, context.base_url, context.temperature, offline=context.offline)

    model = chat(context.model)
    student = chat(context.student) if context.student else model
    embeddings = embedding_model(context.embeddings, context.base_url, offline=context.offline)
    return model, student, embeddings


def _set_prices(context: Context, account: Account, names: set[str]) -> None:
    account.prices |= {name: Price(*price) for name, price in context.prices.items()}
    if context.max_cost is None:
        return
    for name in sorted(names - {NONE}):
        if name not in account.prices and list_price(name) is None:
            raise InputError(
                f"--max-cost needs a price, and none is known for {name}: "
                f"give --price {name}=IN,OUT (USD per million tokens)."
            )


def _needed(store: BaseStore | None) -> BaseStore:
    if store is None:
        raise InputError(
            "Compile the graph with a store: .compile(store=ChromaStore(...)) or any BaseStore. "
            "Inside another graph, or a tool of one, it is the outer graph's store that counts."
        )
    return store
