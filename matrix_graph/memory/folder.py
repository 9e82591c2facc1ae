"""Folders with a Chroma database: one process at a time holds one, and may open it many times."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from matrix_graph.errors import InputError

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

LOCK = ".lock"


@dataclass
class _Held:
    lock: FileLock
    users: int = 0
    shared: dict[str, Any] = field(default_factory=dict)


_held: dict[Path, _Held] = {}
_holding = threading.RLock()


def hold(path: Path | str) -> Path:
    """Claim a folder for this process; claims are counted.

    Raises:
        InputError: another process has it, or it cannot be made or written to.
    """
    with _holding:
        folder = Path(path).resolve()
        with _writable(path):
            folder.mkdir(parents=True, exist_ok=True)
            held = _held.get(folder) or _Held(FileLock(folder / LOCK))
            try:
                if not held.users:
                    held.lock.acquire(timeout=0)
            except Timeout as error:
                raise InputError(
                    f"{path} is open in another process. Close it there, name another folder, "
                    "or run a Chroma server and pass client=."
                ) from error
        held.users += 1
        _held[folder] = held
        return folder


def shared(folder: Path) -> dict[str, Any]:
    """What those who hold a folder share, for as long as anybody holds it."""
    return _held[folder].shared


def let_go(folder: Path) -> None:
    """Give back one claim."""
    with _holding:
        held = _held[folder]
        held.users -= 1
        if not held.users:
            del _held[folder]
            held.lock.release()


def open_client(folder: Path) -> ClientAPI:
    """A Chroma client on a folder that is held; it reports nothing to anybody.

    Raises:
        InputError: the folder cannot be written to.
    """
    import chromadb
    from chromadb.config import Settings

    # Chroma cannot be opened from two threads at once.
    with _holding, _writable(folder):
        return chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))


def client_at(url: str) -> ClientAPI:
    """A client of the Chroma server at `http://HOST:PORT`.

    Raises:
        InputError: no server answers there.
    """
    import chromadb

    parts = urlsplit(url)
    try:
        return chromadb.HttpClient(
            host=parts.hostname or "", port=parts.port or 8000, ssl=parts.scheme == "https"
        )
    except ValueError as error:
        raise InputError(f"No Chroma server answers at {url}: {error}") from error


def checked(client: ClientAPI) -> ClientAPI:
    """A client from elsewhere.

    Raises:
        InputError: it is asynchronous.
    """
    if inspect.iscoroutinefunction(getattr(client, "heartbeat", None)):
        raise InputError(
            "client= is asynchronous; pass chromadb.HttpClient(...): the store keeps the event "
            "loop free by itself."
        )
    return client


@contextmanager
def _writable(path: Path | str) -> Iterator[None]:
    from chromadb.errors import InternalError

    try:
        yield
    except (OSError, InternalError, ValueError) as error:
        raise InputError(f"No database can be kept in {path}: {error}") from error
