"""SQLite files of strangers: tables of ours and nothing that acts, and looking leaves no trace."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from matrix_graph.boundary.databases import connect, copy_database, defined, looking, plain, prepare
from matrix_graph.boundary.locks import held
from matrix_graph.errors import InputError

TABLE = "CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT)"
OURS = defined(TABLE)
ALTERED: dict[str, Callable[[sqlite3.Connection], object]] = {
    "view": lambda db: db.execute("CREATE VIEW v AS SELECT 1"),
    "trigger": lambda db: db.execute(
        "CREATE TRIGGER t AFTER INSERT ON items BEGIN DELETE FROM items; END"
    ),
    "table": lambda db: db.execute("CREATE TABLE other (a)"),
    "check": lambda db: db.executescript(
        "DROP TABLE items; CREATE TABLE items (id INTEGER PRIMARY KEY, text TEXT CHECK (text > 1))"
    ),
    "generated": lambda db: db.execute("CREATE TABLE g (a, b AS (a + 1))"),
    "index": lambda db: db.execute("CREATE INDEX i ON items (length(text))"),
    "partial": lambda db: db.execute("CREATE INDEX i ON items (text) WHERE length(text) > 1"),
    "full text": lambda db: db.execute("CREATE VIRTUAL TABLE f USING fts5(a)"),
}


def made(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with closing(connect(path, OURS)) as db, db:
        db.execute(TABLE)
        db.execute("INSERT INTO items (text) VALUES ('one')")


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


@pytest.mark.parametrize("how", ALTERED)
@pytest.mark.parametrize("allowed", ["ours", "plain"])
def test_what_was_altered_is_refused(how: str, allowed: str, tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    made(path)
    with closing(sqlite3.connect(path)) as db, db:
        ALTERED[how](db)
    tables = OURS if allowed == "ours" else plain("items")
    for use in (lambda: connect(path, tables), lambda: prepare(path, tables)):
        with pytest.raises(InputError, match=r"a\.sqlite holds a"):
            use()
    with pytest.raises(InputError, match=r"a\.sqlite holds a"), looking(path, tables):
        pass


@pytest.mark.parametrize("part", [b"items", b"sqlite_autoindex_items_1"])
def test_names_that_are_no_text_are_refused(part: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE items (id TEXT PRIMARY KEY, text TEXT)")
    raw = path.read_bytes()
    assert part in raw
    path.write_bytes(raw.replace(part, part[:-1] + b"\x94"))
    tables = defined("CREATE TABLE items (id TEXT PRIMARY KEY, text TEXT)")
    for use in (lambda: connect(path, tables), lambda: prepare(path, tables)):
        with pytest.raises(InputError):
            use()


def test_a_file_under_two_names_is_not_written_to(tmp_path: Path) -> None:
    made(tmp_path / "precious.sqlite")
    os.link(tmp_path / "precious.sqlite", tmp_path / "a.sqlite")
    with pytest.raises(InputError, match="several names"):
        connect(tmp_path / "a.sqlite", OURS)


def test_a_link_is_not_opened(tmp_path: Path) -> None:
    made(tmp_path / "precious.sqlite")
    (tmp_path / "a.sqlite").symlink_to(tmp_path / "precious.sqlite")
    (tmp_path / "c.sqlite").symlink_to(tmp_path / "nowhere")
    (tmp_path / "b.sqlite-wal").symlink_to(tmp_path / "precious.sqlite")
    for name in ("a.sqlite", "b.sqlite", "c.sqlite"):
        with pytest.raises(InputError, match="is a link"):
            connect(tmp_path / name, OURS)
    assert not (tmp_path / "nowhere").exists()


def test_a_rollback_journal_that_names_other_files_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "a.sqlite")
    magic = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    (tmp_path / "a.sqlite-journal").write_bytes(b"/precious\0" + magic)
    with pytest.raises(InputError, match="names other files"):
        connect(tmp_path / "a.sqlite", OURS)


@pytest.mark.parametrize("mode", ["wal", "delete"])
@pytest.mark.parametrize("shared_memory", [True, False])
def test_looking_leaves_no_trace_after_a_kill(
    mode: str, shared_memory: bool, tmp_path: Path
) -> None:
    """What a killed process left beside the database is read, and is as it was."""
    live = tmp_path / "live" / "a.sqlite"
    made(live)
    with closing(sqlite3.connect(live, isolation_level=None)) as db:
        db.execute(f"PRAGMA journal_mode={mode}")
        db.execute("PRAGMA cache_size=1")
        db.execute("INSERT INTO items (text) VALUES ('two')")
        db.execute("BEGIN")
        db.executemany("INSERT INTO items (text) VALUES (?)", [("x" * 5_000,)] * 50)
        (tmp_path / "killed").mkdir()
        for path in live.parent.iterdir():
            if shared_memory or not path.name.endswith("-shm"):
                shutil.copyfile(path, tmp_path / "killed" / path.name)
        db.execute("ROLLBACK")
    (tmp_path / "killed" / ".lock").touch()
    before = digests(tmp_path / "killed")
    with looking(tmp_path / "killed" / "a.sqlite", OURS) as db:
        assert [text for (text,) in db.execute("SELECT text FROM items")] == ["one", "two"]
    copy_database(tmp_path / "killed" / "a.sqlite", tmp_path / "copy.sqlite", OURS)
    assert digests(tmp_path / "killed") == before


def test_a_database_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with closing(connect(tmp_path / "a.sqlite", OURS)) as db, db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute(TABLE)
            assert {path.stat().st_mode & 0o077 for path in tmp_path.iterdir()} == {0}
    finally:
        os.umask(before)


def test_what_a_kill_left_half_done_is_no_hindrance(tmp_path: Path) -> None:
    """Also where its folder is held by whoever opens it."""
    live = tmp_path / "live" / "a.sqlite"
    made(live)
    with closing(sqlite3.connect(live, isolation_level=None)) as db:
        db.execute("PRAGMA cache_size=1")
        db.execute("BEGIN")
        db.executemany("INSERT INTO items (text) VALUES (?)", [("x" * 5_000,)] * 50)
        shutil.copytree(live.parent, tmp_path / "killed")
        db.execute("ROLLBACK")
    assert (tmp_path / "killed" / "a.sqlite-journal").stat().st_size
    with held(tmp_path / "killed"):
        prepare(tmp_path / "killed" / "a.sqlite", OURS)
        with closing(connect(tmp_path / "killed" / "a.sqlite", OURS)) as db:
            assert db.execute("SELECT text FROM items").fetchall() == [("one",)]
