"""Clients of Chroma: on a folder that is held, and on a server."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from matrix_graph.boundary.databases import check_database, copy_database, plain
from matrix_graph.boundary.files import check_entries, make_folder
from matrix_graph.boundary.locks import holding, shared
from matrix_graph.errors import InputError

if TYPE_CHECKING:
    from chromadb.api import ClientAPI

DATABASE = "chroma.sqlite3"
TABLES = plain(full_text="embedding_fulltext_search")
"""What is in a database of Chroma's."""


def open_client(folder: Path) -> ClientAPI:
    """A Chroma client on a folder that is held; it reports nothing to anybody.

    Raises:
        InputError: the folder cannot be written to, or holds what no store has written.
    """
    import chromadb
    from chromadb.config import Settings

    if "checked" not in shared(folder):
        check_entries(folder, ["*"])
        check_database(folder / DATABASE, TABLES)
        shared(folder)["checked"] = True
    # Chroma cannot be opened from two threads at once.
    with holding, _writable(folder):
        return chromadb.PersistentClient(str(folder), Settings(anonymized_telemetry=False))


def copy_folder(folder: Path, target: Path) -> None:
    """Copy a Chroma folder that nobody has open.

    Raises:
        InputError: it holds what no store has written.
    """
    check_entries(folder, ["*"])
    for path in sorted(folder.rglob("*")):
        copy = target / path.relative_to(folder)
        if path.is_dir():
            make_folder(copy)
        elif path.parent != folder:
            shutil.copyfile(path, copy)
    make_folder(target)
    copy_database(folder / DATABASE, target / DATABASE, TABLES)


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


def is_panic(error: BaseException) -> bool:
    """Whether Chroma's core gave up; what it raises then is no `Exception`."""
    return type(error).__name__ == "PanicException"


@contextmanager
def _writable(path: Path | str) -> Iterator[None]:
    from chromadb.errors import InternalError

    try:
        yield
    # Chroma's client trips over its own half-made self where its core could not open the folder.
    except (OSError, InternalError, ValueError, AttributeError) as error:
        raise InputError(f"No database can be kept in {path}: {error}") from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise InputError(f"The database in {path} is damaged: {error}") from None
