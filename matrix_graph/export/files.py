"""Write JSON Lines so that a reader never sees half a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
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


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON Lines file; none if it is missing.

    Raises:
        InputError: it is no text, or a line is no JSON object.
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
            rows.append(row)
        elif line.strip():
            raise InputError(f"{path}, line {number}: not a JSON object")
    return rows
