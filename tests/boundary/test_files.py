"""Files: ordinary ones only, no further than a limit, whole, private, and never through a link."""

from __future__ import annotations

import os
import stat
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from matrix_graph.boundary import files
from matrix_graph.boundary.files import (
    append_to,
    check_entries,
    read_json_lines,
    read_text,
    read_yaml_file,
    remove,
    whole_folder,
    write_text,
)
from matrix_graph.boundary.locks import held, hold, let_go
from matrix_graph.errors import InputError


def modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in folder.rglob("*")}


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=r"no ordinary file|Cannot read"):
            read_text(path)


def test_no_more_is_read_than_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="longer than"):
        read_text(path)
    path.write_bytes(b"a" * 11)
    with pytest.raises(InputError, match="longer than 10 bytes"):
        read_text(path, 10)


def test_all_that_is_written_is_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_text(tmp_path / "a" / "b" / "c.json", "{}")
        with whole_folder(tmp_path / "d" / "e") as folder:
            write_text(folder / "f", "x")
        with append_to(tmp_path / "log") as log:
            log.write(b"x")
        with held(tmp_path / "held"):
            pass
    finally:
        os.umask(before)
    assert modes(tmp_path) == {0}


@pytest.mark.parametrize("name", [".report.html.part", "report.html"])
def test_writing_follows_no_link(name: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("thesis")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(precious)
    write_text(tmp_path / "run" / "report.html", "page")
    assert precious.read_text() == "thesis"
    assert (tmp_path / "run" / "report.html").read_text() == "page"


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis").write_text("")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "dataset").symlink_to(tmp_path / "precious")
    remove(tmp_path / "run")
    (tmp_path / "link").symlink_to(tmp_path / "precious")
    remove(tmp_path / "link")
    assert (tmp_path / "precious" / "thesis").exists()
    assert not (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("where", ["dataset", "dataset/a", "export/trl/x", "chroma/y"])
def test_an_entry_that_leads_elsewhere_is_refused(where: str, tmp_path: Path) -> None:
    path = tmp_path / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/etc")
    with pytest.raises(InputError, match="is a link"):
        check_entries(tmp_path, ["dataset", "export", "chroma"])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match="no ordinary file"):
        check_entries(tmp_path, ["dataset", "export", "chroma"])
    # Of what is none of ours, nothing is said.
    check_entries(tmp_path, ["other"])


def test_a_folder_that_was_begun_and_killed_leaves_nothing(tmp_path: Path) -> None:
    for end in ("part", "before"):
        left = tmp_path / f".out.0123456789ab.{end}"
        left.mkdir()
        (left / "a").write_text(end)
    (tmp_path / ".outer.0123456789ab.part").mkdir()
    with whole_folder(tmp_path / "out") as folder:
        write_text(folder / "a", "new")
    assert (tmp_path / "out" / "a").read_text() == "new"
    assert {p.name for p in tmp_path.iterdir()} == {"out", ".outer.0123456789ab.part"}


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [1, 2]\nb: *x\n",
        "a: !!python/object/apply:os.system [id]\n",
        "[" * 5_000,
        "- " * 5_000 + "x",
        "a: " + "x" * 300_000,
        "x: [" + "1:" * 50_000 + "1]",
        "a: " + "9" * 5_000,
        "\x00",
        "? " * 3_000,
        "a: 2024-99-99",
    ],
)
def test_yaml_that_multiplies_or_nests_is_refused_or_text(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with suppress(InputError):
        read = read_yaml_file(tmp_path / "c.yaml")
        assert all(isinstance(value, str | list) for value in read.values())


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    large = '{"a": ' + "9" * 5_000 + "}"
    for line in ("NaN", "[" * 100_000, '{"a": 1e999}', large, '{"a": -Infinity}'):
        (tmp_path / "rows.jsonl").write_text('{"a": 1}\n' + line + "\n")
        with pytest.raises(InputError, match="line 2"):
            read_json_lines(tmp_path / "rows.jsonl")


def test_a_folder_is_held_by_one_process_and_by_it_often(tmp_path: Path) -> None:
    one = hold(tmp_path / "a")
    assert hold(tmp_path / "a") == one
    let_go(one)
    let_go(one)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        hold(tmp_path / "b")
    assert not (tmp_path / "elsewhere").exists()


def test_a_reader_sees_the_old_file_or_the_new(tmp_path: Path) -> None:
    path, texts = tmp_path / "f", {"a" * 100_000, "b" * 90_000}
    write_text(path, min(texts))
    seen, over = set(), threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.add(files.read_text(path))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(30):
        for text in texts:
            write_text(path, text)
    over.set()
    reader.join()
    assert seen <= texts
