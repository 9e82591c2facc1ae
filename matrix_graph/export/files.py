"""Files of text and JSON, written whole or not at all, and read with errors that name the line."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from matrix_graph.errors import InputError, StoreFailed

_FAILING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, also where the machine goes down: through a temporary file
    beside it.

    Raises:
        InputError: the folder cannot be written.
        StoreFailed: the disk is full or fails; the file is as it was.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync(path.parent)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _refusal(path: Path, error: OSError) -> InputError | StoreFailed:
    """A disk that is full or fails pauses a run; what may not be written, the user must change."""
    words = f"Cannot write {path}: {error.strerror or error}."
    return StoreFailed(words) if error.errno in _FAILING else InputError(words)


def _sync(folder: Path) -> None:
    """Have the folder's entries on disk, where a system can do so."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to write into, which takes the place of `path` when the block has ended, whole or
    not at all.

    Raises:
        InputError: it cannot be written there.
        StoreFailed: the disk is full or fails.
    """
    path = path.resolve()
    beside, before = (path.with_name(f".{path.name}.{end}") for end in ("part", "before"))
    try:
        if before.exists() and not path.exists():
            os.rename(before, path)
        for left in (beside, before):
            if left.exists():
                shutil.rmtree(left)
        beside.mkdir(parents=True)
        yield beside
        if path.exists():
            os.rename(path, before)
        os.rename(beside, path)
        _sync(path.parent)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise _refusal(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `json_lines`, whole or not at all."""
    write_text(path, json_lines(rows))


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object a line, non-ASCII as it is, but for halves of a character, which no file can
    hold.
    """
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return text.encode("utf-8", "replace").decode()


def read_json_object(path: Path, objects: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON object in a file; members named in `objects` are objects, too, where they are there.

    Raises:
        InputError: it cannot be read as such.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"Cannot read {path} as JSON: {error}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is no JSON object.")
    for name in objects:
        if not isinstance(value.get(name, {}), dict):
            raise InputError(f"{path}: {name} is no JSON object.")
    return value


def read_json_lines(path: Path, needs: Collection[str] = ()) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file, each with what it `needs`; none if the file is missing.

    Raises:
        InputError: it is no text, or a line is no such JSON object.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n") if path.is_file() else []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read {path} as JSON Lines in UTF-8: {error}") from error
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line) if line.strip() else None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if isinstance(row, dict):
            if missing := [name for name in needs if name not in row]:
                raise InputError(f"{path}, line {number}: without {', '.join(missing)}")
            rows.append(row)
        elif line.strip():
            raise InputError(f"{path}, line {number}: not a JSON object")
    return rows
