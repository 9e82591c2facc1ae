"""Folders have one user at a time: a process holds one by a lock in it, as often as it needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from matrix_graph.boundary.databases import LOCK
from matrix_graph.boundary.files import check_entries, make_folder
from matrix_graph.errors import InputError


@dataclass
class _Held:
    lock: FileLock
    users: int = 0
    shared: dict[str, Any] = field(default_factory=dict)


_held: dict[Path, _Held] = {}
holding = threading.RLock()
"""Held by whoever claims a folder or gives it back."""


def hold(path: Path | str) -> Path:
    """Claim a folder for this process; claims are counted.

    Raises:
        InputError: another process has it, or it cannot be made or written to.
    """
    with holding:
        folder = Path(path).resolve()
        try:
            make_folder(folder)
            check_entries(folder, [LOCK])
            held = _held.get(folder) or _Held(FileLock(folder / LOCK, mode=0o600))
            if not held.users:
                held.lock.acquire(timeout=0)
        except Timeout as error:
            raise InputError(
                f"{path} is open in another process. Wait for its end, close it there, or name "
                "another folder."
            ) from error
        except OSError as error:
            raise InputError(f"Cannot write to {path}: {error.strerror or error}") from error
        held.users += 1
        _held[folder] = held
        return folder


def is_held_here(path: Path | str) -> bool:
    """Whether this process has a folder."""
    return Path(path).resolve() in _held


def shared(folder: Path) -> dict[str, Any]:
    """What those who hold a folder share, for as long as anybody holds it."""
    return _held[folder].shared


def let_go(folder: Path) -> None:
    """Give back one claim."""
    with holding:
        held = _held[folder]
        held.users -= 1
        if not held.users:
            del _held[folder]
            held.lock.release()


@contextmanager
def held(path: Path | str) -> Iterator[None]:
    """Hold a folder for the length of a block; errors as `hold`."""
    folder = hold(path)
    try:
        yield
    finally:
        let_go(folder)
