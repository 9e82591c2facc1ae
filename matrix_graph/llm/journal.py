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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matrix_graph.errors import InputError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    slot TEXT NOT NULL, digest TEXT NOT NULL, model TEXT NOT NULL,
    request TEXT NOT NULL, answer TEXT NOT NULL, finish TEXT NOT NULL,
    input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    requests INTEGER NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (slot, digest)
);
CREATE TABLE IF NOT EXISTS vectors (digest TEXT PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
"""
_COLUMNS = "slot, digest, model, request, answer, finish, input_tokens, output_tokens, requests, seconds, at"
_CALL = f"INSERT OR REPLACE INTO calls ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)"
_VECTOR = "INSERT OR REPLACE INTO vectors (digest, vector) VALUES (?,?)"
_Write = tuple[tuple[Any, ...], asyncio.Future[None]]


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
    """A log of calls in the file at `path`, or in memory when `path` is None.

    `record` returns once the row is committed (WAL, synchronous=FULL). Safe to use from several
    tasks and threads of one process.

    Raises:
        InputError: the file is not a journal.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        self.path = path
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            # Hashes only: what they promise wrongly is then not found in the file.
            self._keys = set(map(hash, self._db.execute("SELECT slot, digest FROM calls")))
            self._digests = {
                hash(digest) for (digest,) in self._db.execute("SELECT digest FROM vectors")
            }
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise InputError(f"{path} is not a journal of model calls: {error}") from error
        self._lock = threading.Lock()
        self._vectors: deque[tuple[str, bytes]] = deque()
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    def __contains__(self, key: tuple[str, str]) -> bool:
        return hash(key) in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    async def find(self, slot: str, digest: str) -> Entry | None:
        """The answer on record for this request in this slot, if there is one."""
        if hash((slot, digest)) not in self._keys:
            return None
        return await asyncio.to_thread(self._read, slot, digest)

    async def record(self, entry: Entry) -> None:
        """Append one call; returns when it is durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="journal", daemon=True)
            self._writer.start()
        self._queue.put((tuple(vars(entry).values()), done))
        await done
        self._keys.add(hash((entry.slot, entry.digest)))

    async def vectors(self, digests: Sequence[str]) -> dict[str, bytes]:
        """The embeddings on record under these digests."""
        known = [digest for digest in digests if hash(digest) in self._digests]
        return await asyncio.to_thread(self._read_vectors, known) if known else {}

    async def kept(
        self, slot: str, by: str, asked: str, answer: Callable[[], Awaitable[str]]
    ) -> str:
        """What somebody who is no model of ours answered here, asked now unless it is on record.
        Counts as no call.
        """
        entry = entry_for(slot, by, {"messages": [{"role": "user", "content": clean(asked)}]})
        if found := await self.find(slot, entry.digest):
            return found.answer
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
        with self._lock:
            return _entries(self._db, slot)

    def copy_to(self, path: Path) -> None:
        """Write all that is on record to a new journal at `path`."""
        self._commit([])
        with self._lock, closing(sqlite3.connect(path)) as copy:
            self._db.backup(copy)

    def totals(self) -> dict[str, tuple[int, int, int]]:
        """Per model: requests, input tokens, output tokens."""
        with self._lock:
            rows = self._db.execute(
                "SELECT model, SUM(requests), SUM(input_tokens), SUM(output_tokens) FROM calls "
                "GROUP BY model"
            ).fetchall()
        return {model: (calls, given, got) for model, calls, given, got in rows}

    def close(self) -> None:
        """Write what is waiting and close the file.

        Raises:
            sqlite3.Error: what waited could not be written.
        """
        if self._writer:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        error = self._commit([])
        self._db.close()
        if error:
            raise error

    def _read(self, slot: str, digest: str) -> Entry | None:
        with self._lock:
            row = self._db.execute(
                f"SELECT {_COLUMNS} FROM calls WHERE slot = ? AND digest = ?", (slot, digest)
            ).fetchone()
        return Entry(*row) if row else None

    def _read_vectors(self, digests: list[str]) -> dict[str, bytes]:
        with self._lock:
            found = self._db.execute(
                "SELECT digest, vector FROM vectors WHERE digest IN (SELECT value FROM "
                "json_each(?))",
                (json.dumps(digests),),
            ).fetchall()
        return dict(found)

    def _write(self) -> None:
        while first := self._queue.get():
            batch, last = [first], False
            while not self._queue.empty() and not last:
                item = self._queue.get()
                if item is None:
                    last = True
                else:
                    batch.append(item)
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[_Write]) -> Exception | None:
        error: Exception | None = None
        vectors = [self._vectors.popleft() for _ in range(len(self._vectors))]
        try:
            with self._lock, self._db:
                self._db.executemany(_VECTOR, vectors)
                self._db.executemany(_CALL, [row for row, _ in batch])
        except Exception as caught:  # noqa: BLE001 (whoever waits gets it, and the writer lives on)
            error = caught
            self._vectors.extendleft(reversed(vectors))
        # One wake-up per loop and commit: each costs as much as the row itself.
        for loop in {done.get_loop() for _, done in batch}:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(
                    _tell, [done for _, done in batch if done.get_loop() is loop], error
                )
        return error


def entries_in(path: Path, slot: str = "") -> list[Entry]:
    """The calls in the journal at `path`, as `Journal.entries`; the journal may be in use, also
    elsewhere.
    """
    with closing(_to_read(path)) as db:
        return _entries(db, slot)


def last_at(slot: str, entries: Sequence[Entry]) -> Entry | None:
    """The last call in that place; of a place without its attempt (`#1`), the last attempt."""
    return next((e for e in reversed(entries) if slot in (e.slot, e.slot.rpartition("#")[0])), None)


def copy_journal(source: Path, target: Path) -> None:
    """Copy a journal, which may be in use, also elsewhere."""
    with closing(_to_read(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def _to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def _entries(db: sqlite3.Connection, slot: str) -> list[Entry]:
    order = f"SELECT {_COLUMNS} FROM calls WHERE slot >= ? AND slot < ? ORDER BY at"
    return [Entry(*row) for row in db.execute(order, (slot, slot + chr(0x10FFFF)))]


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


def entry_for(slot: str, model: str, request: dict[str, Any]) -> Entry:
    """An entry for a request whose answer is still to come."""
    text = json.dumps(request, ensure_ascii=False, sort_keys=True)
    return Entry(slot, digest_of(text), model, text, "", "", 0, 0, 0, 0.0, time.time())
