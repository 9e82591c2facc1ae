"""The journal: an append-only SQLite log in which every model answer and embedding is on disk
before it is used.

A row's key is the slot (the place of the call in the work) with a digest of the request. The same
prompt in two places gets two answers; the same place asking the same thing again gets the answer
that was paid for. One writer thread commits whatever is waiting in one transaction.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from matrix_graph.boundary.databases import UNREADABLE, connect, copy_database, defined, looking
from matrix_graph.errors import InputError, StoreFailed
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.usage import Usage

_DEFINITIONS = (
    """CREATE TABLE calls (
    slot TEXT NOT NULL, digest TEXT NOT NULL, model TEXT NOT NULL,
    request TEXT NOT NULL, answer TEXT NOT NULL, finish TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (slot, digest)
)""",
    "CREATE TABLE vectors (digest TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE spending (
    model TEXT PRIMARY KEY, requests INTEGER NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL
) WITHOUT ROWID""",
)
_TABLES = defined(*_DEFINITIONS)
_FORMAT = 2
_COLUMNS = (
    "slot, digest, model, request, answer, finish, input_tokens, output_tokens, requests, "
    "seconds, at"
)
_CALL = f"INSERT OR REPLACE INTO calls ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
_VECTOR = "INSERT OR REPLACE INTO vectors (digest, vector) VALUES (?,?)"
_SPENT = """
INSERT INTO spending (model, requests, input_tokens, output_tokens) VALUES (?,?,?,?)
ON CONFLICT (model) DO UPDATE SET requests = requests + excluded.requests,
    input_tokens = input_tokens + excluded.input_tokens,
    output_tokens = output_tokens + excluded.output_tokens
"""


_SOON = 0.003
"""Seconds within which a request that was sent is on record."""


class _Write(NamedTuple):
    """Something for the writer: an entry, or just a wish that what waits be written."""

    row: tuple[Any, ...] | None = None
    done: asyncio.Future[None] | None = None
    last: bool = False


@dataclass(frozen=True)
class Entry:
    """One answered call.

    `finish` is the provider's finish reason; tokens are 0 where unknown. `requests` counts those
    that failed with the one that did not, and `seconds` is the time for which they were in flight.
    """

    slot: str
    digest: str
    model: str
    request: str
    answer: str
    finish: str
    input_tokens: int
    output_tokens: int
    requests: int
    seconds: float
    at: float


def digest_of(request: str) -> str:
    """The digest under which a request is filed (128 bits, hex)."""
    return hashlib.blake2b(request.encode(), digest_size=16).hexdigest()


class Journal:
    """A log of calls in the file at `path`, or in memory when `path` is None; `read_only` leaves
    the file as it is.

    `record` returns once the row is committed (WAL, synchronous=FULL). Safe to use from several
    tasks and threads of one process.

    Raises:
        InputError: the file is not a journal.
    """

    def __init__(self, path: Path | str | None = None, *, read_only: bool = False) -> None:
        self.path = path
        if path is not None and not Path(path).parent.is_dir():
            raise InputError(
                f"There is no folder {Path(path).parent} for the journal; make it first."
            )
        self._opened = ExitStack()
        try:
            if path and read_only:
                self._db = self._opened.enter_context(looking(Path(path), _TABLES))
            else:
                self._db = connect(path, _TABLES)
                self._opened.callback(self._db.close)
        except (sqlite3.Error, OSError) as error:
            raise InputError(f"{path} cannot be opened as a journal: {error}") from error
        try:
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version not in (0, _FORMAT):
                raise InputError(f"{path} is a journal of format {version}; this is {_FORMAT}.")
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                for definition in _DEFINITIONS:
                    self._db.execute(definition.replace("TABLE", "TABLE IF NOT EXISTS", 1))
                self._db.execute(f"PRAGMA user_version = {_FORMAT}")
            # Hashes only: what they promise wrongly is then not found in the file.
            self._keys = set(map(hash, self._db.execute("SELECT slot, digest FROM calls")))
            digests = self._db.execute("SELECT digest FROM vectors")
            self._digests = {hash(digest) for (digest,) in digests}
        except UNREADABLE as error:
            self._opened.close()
            raise InputError(f"{path} is not a journal of model calls: {error}") from error
        except InputError:
            self._opened.close()
            raise
        self._lock = threading.Lock()
        self._vectors: deque[tuple[str, bytes]] = deque()
        self._spending: deque[tuple[str, int, int, int]] = deque()
        self._queue: queue.SimpleQueue[_Write] = queue.SimpleQueue()
        self._wished = False
        self._writer: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def __contains__(self, key: tuple[str, str]) -> bool:
        return hash(key) in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    async def find(self, slot: Slot, digest: str) -> Entry | None:
        """The answer on record for this request in this slot, if there is one."""
        name = str(slot)
        if hash((name, digest)) not in self._keys:
            return None
        return await asyncio.to_thread(self._read, name, digest)

    async def record(self, entry: Entry) -> None:
        """Append one call; returns when it is durable. What it used is not counted here."""
        await self._recorded(entry)

    async def answered(self, entry: Entry, used: Usage) -> None:
        """Append one call and what its model was used for, both or neither."""
        self._spending.append(_spent(entry.model, used))
        await self._recorded(entry)

    def spend(self, model: str, used: Usage) -> None:
        """Add to what a model was used for; written soon, by the time the journal is closed."""
        self._spending.append(_spent(model, used))
        if not self._wished:
            self._wished = True
            self._put(_Write())

    def usage(self) -> dict[str, Usage]:
        """What each model was used for."""
        with self._lock, self._reading():
            rows = self._db.execute("SELECT * FROM spending").fetchall()
        if not all(_is_usage(row) for row in rows):
            raise InputError(f"{self.path} holds an account that no run has written.")
        return {model: Usage(*used) for model, *used in rows}

    async def vectors(self, digests: Sequence[str]) -> dict[str, bytes]:
        """The embeddings on record under these digests."""
        known = [digest for digest in digests if hash(digest) in self._digests]
        return await asyncio.to_thread(self._read_vectors, known) if known else {}

    async def kept(
        self, slot: Slot, by: str, asked: str, answer: Callable[[], Awaitable[str]]
    ) -> str:
        """The answer of somebody who is no model of ours, asked now unless it is on record.

        Counts as no call.
        """
        content = {"messages": [{"role": "user", "content": clean(asked)}]}
        entry = entry_for(slot.at(1), by, content)
        if recorded := await self.find(slot.at(1), entry.digest):
            return recorded.answer
        text = clean(await answer())
        await self.record(replace(entry, answer=text, finish="stop"))
        return text

    def record_vectors(self, vectors: Mapping[str, bytes]) -> None:
        """Append embeddings by digest, together with the next call: no later than any that they had
        a part in.
        """
        self._vectors.extend(vectors.items())
        self._digests.update(map(hash, vectors))

    def entries(self, slot: str = "") -> list[Entry]:
        """All calls in slots that start with `slot`, oldest first."""
        with self._lock, self._reading():
            return _entries(self._db, slot)

    def copy_to(self, path: Path) -> None:
        """Write all that is on record to a new journal at `path`."""
        self._commit([])
        with self._lock, closing(connect(path, _TABLES)) as copy:
            self._db.backup(copy)

    def forget_spending(self) -> None:
        """Count from zero again, as a branch of a run does; the calls stay on record."""
        with self._lock, self._db:
            self._db.execute("DELETE FROM spending")

    def close(self) -> None:
        """Write what is waiting and close the file; a second call does nothing.

        Raises:
            StoreFailed: what waited could not be written.
        """
        with self._starting:
            if self._closed:
                return
            self._closed = True
        if self._writer:
            self._queue.put(_Write(last=True))
            self._writer.join()
        error = self._commit([])
        with self._lock:
            self._opened.close()
        if error:
            raise error

    async def _recorded(self, entry: Entry) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_Write(tuple(vars(entry).values()), done))
        await done
        self._keys.add(hash((entry.slot, entry.digest)))

    def _put(self, write: _Write) -> None:
        with self._starting:
            self._check_open()
            if self._writer is None:
                self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
                self._writer.start()
            self._queue.put(write)

    def _check_open(self) -> None:
        if self._closed:
            raise InputError("The journal is closed; open its context again.")

    def _read(self, slot: str, digest: str) -> Entry | None:
        with self._lock, self._reading():
            self._check_open()
            row = self._db.execute(
                f"SELECT {_COLUMNS} FROM calls WHERE slot = ? AND digest = ?", (slot, digest)
            ).fetchone()
            return _entry(row) if row else None

    def _read_vectors(self, digests: list[str]) -> dict[str, bytes]:
        with self._lock, self._reading():
            self._check_open()
            rows = self._db.execute(
                "SELECT digest, vector FROM vectors WHERE digest IN (SELECT value FROM "
                "json_each(?))",
                (json.dumps(digests),),
            ).fetchall()
        return {digest: vector for digest, vector in rows if isinstance(vector, bytes)}

    def _reading(self) -> AbstractContextManager[None]:
        return _as_journal(self.path)

    def _write(self) -> None:
        last = False
        while not last:
            batch = [self._queue.get()]
            if not (batch[0].row or batch[0].last):
                # What was used goes with the next answer, if that comes at once.
                with suppress(queue.Empty):
                    batch.append(self._queue.get(timeout=_SOON))
            while not self._queue.empty():
                batch.append(self._queue.get())
            self._wished = False
            last = any(write.last for write in batch)
            self._commit(batch)

    def _commit(self, batch: list[_Write]) -> Exception | None:
        error: Exception | None = None
        vectors = [self._vectors.popleft() for _ in range(len(self._vectors))]
        spending = _summed([self._spending.popleft() for _ in range(len(self._spending))])
        rows = [write.row for write in batch if write.row]
        if not (vectors or spending or rows):
            return None
        try:
            with self._lock, self._db:
                self._db.executemany(_VECTOR, vectors)
                self._db.executemany(_SPENT, spending)
                self._db.executemany(_CALL, rows)
        except Exception as caught:  # noqa: BLE001 (whoever waits gets it, and the writer lives on)
            failed = isinstance(caught, sqlite3.Error)
            error = StoreFailed(f"The journal cannot be written: {caught}") if failed else caught
            self._vectors.extendleft(reversed(vectors))
            self._spending.extendleft(reversed(spending))
        # One wake-up per loop and commit: each costs as much as the row itself.
        waiting = [write.done for write in batch if write.done]
        for loop in {done.get_loop() for done in waiting}:
            with suppress(RuntimeError):
                of_loop = [done for done in waiting if done.get_loop() is loop]
                loop.call_soon_threadsafe(_tell, of_loop, error)
        return error


def entries_in(path: Path, slot: str = "") -> list[Entry]:
    """The calls in the journal at `path`, as `Journal.entries`; the journal may be in use, also
    elsewhere.

    Raises:
        InputError: it is none.
    """
    with _as_journal(path), looking(path, _TABLES) as db:
        return _entries(db, slot)


def last_at(place: str, entries: Sequence[Entry]) -> Entry | None:
    """The last call in that place; of a place without its attempt (`#1`), the last attempt."""
    for entry in reversed(entries):
        if place in (entry.slot, entry.slot.rpartition("#")[0]):
            return entry
    return None


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal, which may be in use, also elsewhere."""
    with _as_journal(source):
        copy_database(source, target, _TABLES)


@contextmanager
def _as_journal(path: object) -> Iterator[None]:
    """Whatever SQLite cannot read is no journal."""
    try:
        yield
    except UNREADABLE as error:
        raise InputError(f"{path} is not a journal of model calls: {error}") from error


def _entries(db: sqlite3.Connection, slot: str) -> list[Entry]:
    order = f"SELECT {_COLUMNS} FROM calls WHERE slot >= ? AND slot < ? ORDER BY at"
    return [_entry(row) for row in db.execute(order, (slot, slot + chr(0x10FFFF)))]


def _entry(row: Sequence[Any]) -> Entry:
    """A row as an entry; SQLite keeps values of any type in any column."""
    if [type(value) for value in row] != _TYPES or not _is_usage(row[5:9]):
        raise InputError(f"The journal holds a call that no run has written ({str(row[0])[:80]}).")
    return Entry(*row)


_TYPES = [*[str] * 6, *[int] * 3, *[float] * 2]


def _is_usage(row: Sequence[Any]) -> bool:
    """A name, and counts that can be: the account of a model may be taken back a request."""
    return isinstance(row[0], str) and all(type(n) is int and -1 <= n < _MOST for n in row[1:])


_MOST = 10**15


def _tell(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if error:
            done.set_exception(error)
        else:
            done.set_result(None)


def clean(text: str) -> str:
    """The text without halves of characters, which no file takes."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def entry_for(slot: Slot, model: str, request: dict[str, Any]) -> Entry:
    """An entry for a request to `model` whose answer is still to come."""
    text = json.dumps(request, ensure_ascii=False, sort_keys=True)
    digest = digest_of(f"{model}\0{text}")
    return Entry(str(slot), digest, model, text, "", "", 0, 0, 0, 0.0, time.time())


def _summed(spending: list[tuple[str, int, int, int]]) -> list[tuple[str, int, int, int]]:
    """By model."""
    by_model: dict[str, Usage] = {}
    for model, *used in spending:
        by_model[model] = by_model.get(model, Usage()) + Usage(*used)
    return [_spent(model, used) for model, used in by_model.items()]


def _spent(model: str, used: Usage) -> tuple[str, int, int, int]:
    return model, used.requests, used.input_tokens, used.output_tokens
