"""Files and folders are there whole, or as they were: killed at any moment, on a full disk, where
nobody may write.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from matrix_graph.boundary.files import whole_folder, write_text
from matrix_graph.errors import InputError, StoreFailed
from matrix_graph.export.folder import export

WORK = """
import sys
from matrix_graph.export.folder import export
for target in ("hf", "trl", "verl") * 100:
    export(sys.argv[1], target)
    print(target, flush=True)
"""


def run_of(folder: Path, version: str, rows: int = 3_000) -> None:
    lines = [
        json.dumps({"id": str(n), "kind": "sft", "messages": [
            {"role": "user", "content": f"{version} question {n}"},
            {"role": "assistant", "content": f"{version} answer {n}"}]}) + "\n"
        for n in range(rows)
    ]  # fmt: skip
    (folder / "dataset").mkdir(parents=True, exist_ok=True)
    (folder / "dataset" / "sft.jsonl").write_text("".join(lines), "utf-8")
    (folder / "rejected.jsonl").write_text("", "utf-8")


def digest(folder: Path) -> str:
    parts = [
        f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return "\n".join(parts)


@pytest.mark.process
@pytest.mark.slow
def test_an_export_that_is_killed_is_the_old_one_or_the_new_one(tmp_path: Path, kills: int) -> None:
    pytest.importorskip("pyarrow")
    run, rng = tmp_path / "run", random.Random(1)
    whole: dict[str, set[str]] = {"hf": set(), "trl": set(), "verl": set()}
    for version in ("old", "new"):
        run_of(tmp_path / version, version)
        for target in whole:
            whole[target].add(digest(export(tmp_path / version, target).folder))
    for _ in range(kills):
        run_of(run, rng.choice(("old", "new")))
        child = subprocess.Popen(
            [sys.executable, "-c", WORK, str(run)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout
        child.stdout.readline()
        time.sleep(rng.uniform(0, 0.6))
        child.kill()
        child.communicate()
        for target, versions in whole.items():
            there = run / "export" / target
            if there.exists():
                assert digest(there) in versions
    for target in whole:
        assert digest(export(run, target).folder) in whole[target]
    assert not list((run / "export").glob(".*"))


def test_what_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with whole_folder(path) as folder:
        (folder / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), whole_folder(path) as folder:
        (folder / "a").write_text(str(1 / 0))
    assert [file.name for file in tmp_path.iterdir()] == ["out"]
    assert (path / "a").read_text() == "1"


def test_an_earlier_export_that_was_moved_aside_comes_back(tmp_path: Path) -> None:
    before = tmp_path / ".out.0123456789ab.before"
    before.mkdir()
    (before / "a").write_text("kept")
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "out"):
        print(1 / 0)
    assert (tmp_path / "out" / "a").read_text() == "kept"


def test_a_file_that_cannot_be_written_says_so_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("before")
    with pytest.raises(InputError, match="Cannot write"):
        write_text(tmp_path / "file" / "b", "x")
    (tmp_path / "x").write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreFailed, match="No space left"):
        write_text(tmp_path / "x", "after")
    assert (tmp_path / "x").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("out", ["notes.txt", ".", ".."])
def test_an_export_takes_the_place_of_no_file_and_not_of_where_one_works(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_of(tmp_path / "run", "old", 3)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("notes.txt").write_text("thesis")
    with pytest.raises(InputError, match="name a"):
        export(tmp_path / "run", "trl", out)
    assert Path("notes.txt").read_text() == "thesis"
