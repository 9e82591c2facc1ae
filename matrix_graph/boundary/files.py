"""Files: opened only where they are files, read no further than a limit, written whole or not at
all and for their owner alone.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from matrix_graph.boundary.values import json_lines, json_text, read_json, read_yaml
from matrix_graph.errors import InputError, StoreFailed

LONGEST = 1 << 30
"""Bytes of a file of rows, or of whatever says no other limit."""
LONGEST_TEXT = 1 << 20
"""Bytes of a file that a person wrote: a prompt, a configuration."""
_FAILING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
_BESIDE = getattr(os, "O_NOFOLLOW", 0) | os.O_CREAT | os.O_EXCL | os.O_WRONLY
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | os.O_RDONLY
_LEVELS = 8


def read_bytes(path: Path, longest: int = LONGEST) -> bytes:
    """The content of an ordinary file.

    Raises:
        InputError: it is none (a pipe, a device, a folder), is longer than that, or cannot be read.
    """
    try:
        with _opened(path) as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode):
                raise InputError(f"{path} is no ordinary file.")
            content = file.read(longest + 1) if info.st_size <= longest else b""
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}") from error
    if max(len(content), info.st_size) > longest:
        raise InputError(f"{path} is longer than {longest:,} bytes.")
    return content


def _opened(path: Path) -> BufferedReader:
    # A pipe that nobody writes to would be waited for.
    return os.fdopen(os.open(path, _AT_ONCE), "rb")


def digest_of_file(path: Path) -> str:
    """SHA-256 of an ordinary file, hex; OSError where it cannot be read."""
    with _opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: Path, longest: int = LONGEST) -> str:
    """The text of an ordinary file in UTF-8, with line ends as "\\n"; errors as `read_bytes`."""
    content = read_bytes(path, longest)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"Cannot read {path} as UTF-8: {error}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_yaml_file(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        InputError: it cannot be read as such.
    """
    try:
        return read_yaml(read_text(path, LONGEST_TEXT))
    except ValueError as error:
        raise InputError(f"Cannot read {path} as YAML: {error}") from error


def read_json_object(path: Path, objects: Iterable[str] = ()) -> dict[str, Any]:
    """The JSON object in a file; members named in `objects` are objects, too, where they are there.

    Raises:
        InputError: it cannot be read as such.
    """
    try:
        value = read_json(read_text(path))
    except ValueError as error:
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
    lines = read_text(path).split("\n") if os.path.lexists(path) else []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = read_json(line) if line.strip() else None
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not JSON ({error})") from error
        if isinstance(row, dict):
            if missing := [name for name in needs if name not in row]:
                raise InputError(f"{path}, line {number}: without {', '.join(missing)}")
            rows.append(row)
        elif line.strip():
            raise InputError(f"{path}, line {number}: not a JSON object")
    return rows


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, also where the machine goes down: through a temporary file
    beside it. Links are replaced, not followed.

    Raises:
        InputError: the folder cannot be written.
        StoreFailed: the disk is full or fails; the file is as it was.
    """
    beside = _beside(path)
    try:
        make_folder(path.parent)
        with os.fdopen(
            os.open(beside, _BESIDE, 0o600), "w", encoding="utf-8", newline="\n"
        ) as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync(path.parent)
    except OSError as error:
        raise refusal(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write `json_lines`, whole or not at all."""
    write_text(path, json_lines(rows))


def write_json(path: Path, value: object, *, indent: int | None = None) -> None:
    """Write a JSON value and a line's end, whole or not at all."""
    write_text(path, f"{json_text(value, indent=indent)}\n")


def copy_file(source: Path, target: Path) -> None:
    """Copy an ordinary file; errors as `read_bytes` and `write_text`."""
    write_text(target, read_text(source))


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, for their owner alone; OSError where that
    cannot be.
    """
    missing = []
    while not folder.is_dir():
        if os.path.lexists(folder):
            raise NotADirectoryError(errno.ENOTDIR, f"{folder.name} is no folder")
        missing.append(folder)
        if folder == folder.parent:
            break
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)


def append_to(path: Path) -> BinaryIO:
    """A file that lines can be added to, unbuffered; OSError where it is none."""
    flags = os.O_APPEND | os.O_CREAT | os.O_WRONLY | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags, 0o600)
    return os.fdopen(descriptor, "ab", buffering=0)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, or nothing; a link is removed itself."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def leftover(name: str) -> str:
    """Of what a temporary file of that name is the beginning; nothing where it is none."""
    if not (name.startswith(".") and name.endswith((_PART, _BEFORE))):
        return ""
    return name[1:].rpartition(".")[0].rpartition(".")[0]


_PART, _BEFORE = ".part", ".before"


def _beside(path: Path, end: str = _PART) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{end}")


def refusal(path: Path, error: OSError) -> InputError | StoreFailed:
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
    beside, before = _beside(path), _beside(path, _BEFORE)
    try:
        _take_back(path)
        make_folder(path.parent)
        beside.mkdir(mode=0o700)
        yield beside
        if path.exists():
            os.rename(path, before)
        os.rename(beside, path)
        _sync(path.parent)
        shutil.rmtree(before, ignore_errors=True)
    except OSError as error:
        raise refusal(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _take_back(path: Path) -> None:
    """After a kill: the folder that was there before, if the new one had not come yet, and nothing
    else that was begun.
    """
    for entry in path.parent.glob(f".{glob.escape(path.name)}.*") if path.parent.is_dir() else ():
        if leftover(entry.name) != path.name or entry.is_symlink():
            continue
        if entry.name.endswith(_BEFORE) and not path.exists():
            os.rename(entry, path)
        else:
            shutil.rmtree(entry)


def check_entries(folder: Path, names: Iterable[str]) -> None:
    """See that what a folder holds under `names` (patterns) lies in it: files and folders.

    Raises:
        InputError: there is a link or something else among them, through which reading or writing
            would reach elsewhere.
    """
    patterns = tuple(names)
    try:
        entries = sorted(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        raise InputError(f"Cannot read {folder}: {error.strerror or error}") from error
    for path in entries:
        if any(fnmatchcase(path.name, pattern) for pattern in patterns):
            _check_entry(path, 0)


def _check_entry(path: Path, level: int) -> None:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and level < _LEVELS:
            for entry in path.iterdir():
                _check_entry(entry, level + 1)
        elif not stat.S_ISREG(mode):
            what = "a link" if stat.S_ISLNK(mode) else "no ordinary file"
            raise InputError(
                f"{path} is {what}; a run's folder holds files and folders only. Look where it "
                "comes from, and copy it without."
            )
    except FileNotFoundError:  # a file of somebody who works on it is gone again
        return
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}") from error
