"""Tables that a run was given as objects go into its folder as files: it is resumed, filtered again
and shared without them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from matrix_graph.boundary.databases import LOCK
from matrix_graph.boundary.files import leftover, read_bytes, read_json_lines, write_json_lines
from matrix_graph.boundary.values import json_lines
from matrix_graph.filtering.steps.contamination import read_benchmark
from matrix_graph.runs.options import Options
from matrix_graph.society.profiles import SHIPPED

FILES = {"profiles": "profiles.jsonl", "decontaminate": "benchmark.jsonl"}
"""Where in the folder of a run the table of an option goes."""
_LEFT = {*FILES.values(), LOCK}
_BEGUN = {*FILES.values(), "run.json"}

C = TypeVar("C", bound=Options)


def in_folder(config: C) -> C:
    """The configuration with files in its folder in place of the tables that it holds."""
    held = {name: config.folder / FILES[name] for name in _tables(config)}
    return config.model_copy(update=held)


def write_tables(config: Options) -> None:
    """Write the tables that a configuration holds."""
    for name, table in _tables(config).items():
        write_json_lines(config.folder / FILES[name], table)


def tables_in(folder: Path) -> dict[str, Any]:
    """The options whose tables are in the folder of a run."""
    return {name: folder / file for name, file in FILES.items() if (folder / file).is_file()}


def others_in(folder: Path) -> list[Path]:
    """What is in a folder beside tables; these alone are what a run left that was killed as it
    began.
    """
    return [p for p in folder.iterdir() if p.name not in _LEFT and leftover(p.name) not in _BEGUN]


def in_memory(config: C) -> C:
    """The configuration with the tables of its folder where it names them: these will be gone."""
    named = {name: getattr(config, name, None) for name in FILES}
    held: dict[str, Any] = {}
    for name, path in named.items():
        if isinstance(path, Path) and path.resolve() == (config.folder / FILES[name]).resolve():
            read = read_json_lines(path)
            held[name] = tuple(read if name == "profiles" else [row["prompt"] for row in read])
    return config.model_copy(update=held)


def digest(source: Path | str | Sequence[Mapping[str, Any]] | None) -> str:
    """SHA-256 of profiles: of a file (the shipped one if None), or of a table as that file.

    Raises:
        InputError: it cannot be read.
    """
    if source is not None and not isinstance(source, str | Path):
        return hashlib.sha256(json_lines(source).encode()).hexdigest()
    return hashlib.sha256(read_bytes(Path(source or SHIPPED))).hexdigest()


def prompts_digest(folder: Path | None) -> str:
    """SHA-256 of the user's own versions of prompts; nothing where there are none."""
    if folder is None:
        return ""
    parts = [(path.name, digest(path)) for path in sorted(folder.glob("*.md"))]
    return hashlib.sha256(json_lines([dict(parts)]).encode()).hexdigest()


def same_benchmark(given: Path | Sequence[str] | None, before: Path | None) -> bool:
    """Whether a run that is resumed is given the benchmark prompts that it began with."""
    if before is None or given is None:
        return given is before
    here = read_benchmark(given) if isinstance(given, Path) else list(given)
    return here == read_benchmark(before)


def _tables(config: Options) -> dict[str, list[dict[str, Any]]]:
    held = {name: getattr(config, name, None) for name in FILES}
    return {
        name: [row if isinstance(row, dict) else {"prompt": row} for row in table]
        for name, table in held.items()
        if isinstance(table, tuple)
    }
