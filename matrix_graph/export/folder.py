"""Export: a run's data set in a trainer's layout, with the list of what did not fit and a recipe to
begin with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix_graph.boundary.files import (
    check_entries,
    make_folder,
    read_bytes,
    read_json_lines,
    read_json_object,
    read_text,
    whole_folder,
    write_json,
    write_json_lines,
    write_text,
)
from matrix_graph.boundary.locks import held
from matrix_graph.errors import InputError
from matrix_graph.export.formats import VIEWS, Unfit, View
from matrix_graph.export.recipes import dataset_info, recipes

PREFERENCE = "dpo"
_MARK = "refused.jsonl"
"""In every export, also an empty one: a folder without it is not ours."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote: rows by file, and the rows that the layout cannot hold."""

    folder: Path
    rows: dict[str, int]
    refused: list[dict[str, str]]


def export(run: str | Path, target: str, out: str | Path | None = None) -> Exported:
    """Write the data set in `run` for `target` into `out` (by default `run/export/target`).

    Args:
        target: One of `VIEWS`.

    Raises:
        InputError: no such target, no data set, or a package that the target needs is missing.
    """
    if target not in VIEWS:
        raise InputError(f"There is no export for {target!r}; there are {', '.join(VIEWS)}.")
    run = Path(run)
    check_entries(run, ["dataset", "export", "*.json", "*.jsonl", "README.md"])
    sources = sorted((run / "dataset").glob("*.jsonl"))
    if not sources:
        raise InputError(f"{run} holds no data set; make one with: matrix-graph run --out {run}")
    out = Path(out) if out else run / "export" / target
    _check(out, run)
    # Only what is written to is held: a run that may only be read can be exported elsewhere.
    inside = run.resolve() in out.resolve().parents
    with held(run) if inside else nullcontext(), whole_folder(out) as folder:
        rows, refused = _written(run, sources, target, folder)
    return Exported(out, rows, refused)


def _written(
    run: Path, sources: Sequence[Path], target: str, out: Path
) -> tuple[dict[str, int], list[dict[str, str]]]:
    """Write the export into `out`; returns its rows by file, and what was refused."""
    rows: dict[str, int] = {}
    sorts: dict[str, str] = {}
    taken = {_MARK.removesuffix(".jsonl")}
    refused: list[dict[str, str]] = []
    for source in sources:
        rows_of_file = read_json_lines(source)
        parts: dict[str, list[View]] = {}
        for number, row in enumerate(rows_of_file, 1):
            try:
                view = VIEWS[target](row)
            except Unfit as error:
                refused.append(
                    {
                        "id": str(row.get("id", f"line {number}")),
                        "file": source.name,
                        "reason": str(error),
                    }
                )
                continue
            parts.setdefault(_sort_of(target, view), []).append(view)
        for sort, views in parts.items():
            name = _file_of(source.stem + sort, target, taken)
            _write(out / name, views, target)
            rows[name] = len(views)
            sorts[name] = PREFERENCE if "chosen" in views[0] else "sft"
    for name, text in recipes(target, sorts).items():
        write_text(out / name, text)
    if target == "llama-factory":
        write_json(out / "dataset_info.json", dataset_info(sorts), indent=2)
    if target == "hf":
        rows |= _hub(run, out)
    write_json_lines(out / _MARK, refused)
    return rows, refused


def _check(out: Path, run: Path) -> None:
    """See that an export may take the place of what is in `out`: nothing, or an earlier one."""
    if out.resolve() == run.resolve() or (run / "dataset").resolve() in (
        out.resolve(),
        *out.resolve().parents,
    ):
        raise InputError(f"--out {out} is where the run's own files are; name another folder.")
    here = Path.cwd().resolve()
    if (out.exists() and not out.is_dir()) or os.path.ismount(out):
        raise InputError(f"--out {out} is no folder that an export could replace; name a new one.")
    if out.resolve() in (here, *here.parents):
        raise InputError(f"--out {out} is where you are working; name a folder in it.")
    if out.is_dir() and any(out.iterdir()) and not (out / _MARK).is_file():
        raise InputError(
            f"--out {out} holds files that are no export; name an empty or a new folder."
        )


def _sort_of(target: str, view: View) -> str:
    """What tells the files of one data file apart."""
    return "-rl" if target == "verl" and "reward_model" in view else ""


def _file_of(stem: str, target: str, taken: set[str]) -> str:
    """A file name that is not `taken` yet, and is then."""
    if target == "hf":
        return f"data/{stem}.jsonl"
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name)
    return f"{name}.parquet" if target == "verl" else f"{name}.jsonl"


def _write(path: Path, views: Sequence[View], target: str) -> None:
    if target != "verl":
        write_json_lines(path, views)
        return
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError("verl reads Parquet: pip install 'matrix-graph[export]'") from error
    make_folder(path.parent)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(views)), path)


_ADDRESSES = ("out", "profiles", "requirements", "rules", "prompts", "decontaminate", "base_url")


def published(summary: dict[str, Any]) -> dict[str, Any]:
    """A run.json without places of this machine and network: of a path its last part is left, of an
    address nothing.
    """
    config = dict(summary.get("config", {}))
    for name in _ADDRESSES:
        if isinstance(config.get(name), str):
            config[name] = None if "://" in config[name] else Path(config[name]).name
    if isinstance(config.get("reward"), list):
        config["reward"] = [Path(str(spec)).name for spec in config["reward"]]
    left_out = ("seal", "forked", "asked")
    return {n: v for n, v in summary.items() if n not in left_out} | {"config": config}


def _hub(run: Path, out: Path) -> dict[str, int]:
    """The folder of a Hugging Face data set: card, dropped rows, checksums."""
    rejected = read_json_lines(run / "rejected.jsonl")
    write_json_lines(out / "rejected.jsonl", rejected)
    card = read_text(run / "README.md") if (run / "README.md").is_file() else "# Data set\n"
    write_text(out / "README.md", card.replace("data_files: dataset/", "data_files: data/"))
    if (run / "run.json").is_file():
        write_json(out / "run.json", published(read_json_object(run / "run.json", ("config",))))
    sums = [
        f"{hashlib.sha256(read_bytes(path)).hexdigest()}  {path.relative_to(out).as_posix()}"
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in ("SHA256SUMS", _MARK)
    ]
    write_text(out / "SHA256SUMS", "\n".join(sums) + "\n")
    return {"rejected.jsonl": len(rejected)}
