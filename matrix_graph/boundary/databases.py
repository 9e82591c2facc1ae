"""SQLite files: opened only where they hold our tables and nothing that acts by itself, and looked
at without a trace.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from matrix_graph.boundary.files import check_entries
from matrix_graph.errors import InputError

LONGEST = 64 << 20
"""Bytes of one value."""
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What reading a damaged database raises: the second where SQLite quotes bytes that are no text."""
_SUPER_JOURNAL = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
"""The end of a rollback journal that names further files; SQLite would delete those."""
_SPACE = re.compile(r"\s++")
_WORD = re.compile(r"\w++")
_INDEX = re.compile(
    r"CREATE (?:UNIQUE )?INDEX (?:IF NOT EXISTS )?\S++ ON \S+? ?\([\w` \",]*+\)"
    r"(?: WHERE \w++ IS NOT NULL)?",
    re.I,
)
"""Of columns; one over expressions computes them."""
LOCK = ".lock"
"""The file in a folder that its one user holds."""
Tables = Callable[[str, str], bool]
"""Whether a database may hold a table of that name, defined so."""


def connect(path: Path | str | None, tables: Tables) -> sqlite3.Connection:
    """A connection to the database at `path` (made where there is none), or to one in memory.

    Raises:
        InputError: there is something else at `path`.
    """
    if path is not None:
        prepare(Path(path), tables)
    return _opened(str(path or ":memory:"))


def check_database(path: Path, tables: Tables) -> None:
    """See that others may open the database at `path`, if there is one; errors as `connect`."""
    if os.path.lexists(path):
        prepare(path, tables)


def defined(*definitions: str) -> Tables:
    """Tables that are defined by these words (`CREATE TABLE ...`), and no others."""
    known = {_words(definition) for definition in definitions}
    return lambda _, sql: _words(sql) in known


def plain(*names: str, full_text: str = "") -> Tables:
    """Tables with columns and keys and nothing that is computed or checked: that is an expression,
    which may take for ever.

    Args:
        names: They are called so; any will do if none is named.
        full_text: The one table that may be an index of FTS5.
    """

    def allowed(name: str, sql: str) -> bool:
        words = _WORD.findall(sql.upper())
        if "VIRTUAL" in words:
            return name == full_text and words[5:6] == ["FTS5"]
        return (not names or name in names) and not {"CHECK", "GENERATED", "AS"} & set(words)

    return allowed


@contextmanager
def looking(path: Path, tables: Tables) -> Iterator[sqlite3.Connection]:
    """A connection that reads the database at `path`, which may be in use, and changes nothing.

    Raises:
        InputError: it is none of ours.
    """
    _check_place(path)
    beside = [path.with_name(f"{path.name}-{end}") for end in ("wal", "journal")]
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if _in_use(path):
        with _read_only(path, "mode=ro", tables) as db:
            yield db
    elif any(file.is_file() and file.stat().st_size for file in beside):
        # What a kill left beside it belongs to it; SQLite would put it in.
        with tempfile.TemporaryDirectory(prefix="matrix-graph-") as folder:
            copy = Path(folder) / path.name
            for source in (path, *beside):
                if source.is_file() and not _names_others(source):
                    shutil.copyfile(source, copy.with_name(source.name))
            with _read_only(copy, "mode=rw", tables) as db:
                yield db
    else:
        with _read_only(path, "mode=ro&immutable=1", tables) as db:
            yield db


def copy_database(source: Path, target: Path, tables: Tables) -> None:
    """Copy a database, which may be in use; errors as `looking`."""
    with looking(source, tables) as old, closing(connect(target, tables)) as new:
        old.backup(new)


@contextmanager
def _read_only(path: Path, how: str, tables: Tables) -> Iterator[sqlite3.Connection]:
    with closing(_opened(f"{path.resolve().as_uri()}?{how}", uri=True)) as db:
        _check_tables(db, path, tables)
        yield db


def prepare(path: Path, tables: Tables) -> None:
    """Make the file of a database for its owner alone, or see that others may open the one that is
    there; errors as `connect`.
    """
    _check_place(path)
    if not path.exists():
        new_file(path)
        return
    if path.is_dir():
        raise InputError(f"{path} is a folder; it cannot be opened as a database.")
    if path.stat().st_nlink > 1:
        raise InputError(f"{path} is one file under several names; copy it, to write to the copy.")
    rollback = path.with_name(f"{path.name}-journal")
    if rollback.is_file() and _names_others(rollback):
        raise InputError(f"{rollback} names other files, which SQLite would delete; remove it.")
    # What a kill left half done is taken back here, as whoever opens it would.
    with closing(_opened(str(path))) as db:
        _check_tables(db, path, tables)


def new_file(path: Path) -> None:
    """An empty file, for its owner alone."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _opened(name: str, *, uri: bool = False) -> sqlite3.Connection:
    db = sqlite3.connect(name, uri=uri, check_same_thread=False)
    try:
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        db.execute("PRAGMA trusted_schema=OFF")
    except UNREADABLE:
        db.close()
        raise
    return db


def _check_place(path: Path) -> None:
    check_entries(path.parent, [f"{glob.escape(path.name)}{end}" for end in ("", "-*")])


def _check_tables(db: sqlite3.Connection, path: Path, tables: Tables) -> None:
    try:
        entries = db.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
    except UNREADABLE as error:
        raise InputError(f"{path} is no database of ours: {error}") from error
    for kind, name, sql in entries:
        text = sql if isinstance(sql, str) else ""
        plain_index = kind == "index" and (not text or _INDEX.fullmatch(_words(text)))
        if not (plain_index or (kind == "table" and tables(str(name), text))):
            raise InputError(
                f"{path} holds a {kind} {str(name)[:60]!r}, which no database of ours does. It was "
                "altered; look where it comes from."
            )


def _words(sql: str) -> str:
    return _SPACE.sub(" ", sql).strip()


def _names_others(rollback: Path) -> bool:
    with rollback.open("rb") as file:
        file.seek(max(0, rollback.stat().st_size - len(_SUPER_JOURNAL)))
        return file.read() == _SUPER_JOURNAL


def _in_use(path: Path) -> bool:
    """Whether somebody may have the database open.

    SQLite's own locks cannot be tested: closing the file after that would give up those which this
    process has on it.
    """
    places = (path.parent / LOCK, path.parent / "chroma" / LOCK)
    locks = [lock for lock in places if lock.is_file()]
    if locks:
        return any(map(is_held, locks))
    return path.with_name(f"{path.name}-shm").is_file()


def is_held(lock: Path) -> bool:
    """Whether some process holds this lock."""
    try:
        import fcntl
    except ImportError:
        return True
    try:
        with lock.open("rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False
