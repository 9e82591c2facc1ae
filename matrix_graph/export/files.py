"""Write JSON Lines so that a reader never sees half a file."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from matrix_graph.errors import InputError


def write_text(path: Path, text: str) -> None:
    """Write through a temporary file beside it, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(text, "utf-8")
    os.replace(beside, path)


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON object a line, non-ASCII as it is, but for halves of a character, which no file can
    hold.
    """
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write_text(path, text.encode("utf-8", "replace").decode())


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
