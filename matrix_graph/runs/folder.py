"""The folder of a run: whose it is, what of it may change, how it begins and is cleared."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matrix_graph.boundary.databases import LOCK
from matrix_graph.boundary.files import (
    make_folder,
    read_json_object,
    remove,
    write_json,
)
from matrix_graph.boundary.locks import hold, let_go
from matrix_graph.errors import InputError
from matrix_graph.generation.requirements import Requirement
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.given import (
    FILES,
    digest,
    in_folder,
    others_in,
    prompts_digest,
    write_tables,
)
from matrix_graph.runs.received import FORMAT, opened, seal_of
from matrix_graph.runs.stretches import Stretch

_claims: set[Path] = set()
_OWN = (
    *FILES.values(),
    "export",
    "society.json",
    "scenarios.jsonl",
    "rejected.jsonl",
    "README.md",
    "report.html",
    "dataset",
    "run.json",
)
CHECKPOINTS = "checkpoints.sqlite"
_DATABASES = ("journal.sqlite", CHECKPOINTS)


def check_folder(out: Path, overwrite: bool) -> None:
    """See that a run may begin in `out`.

    Raises:
        InputError: something else is there, or another run that is not to be overwritten.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder.")
    if not opened(out).is_dir() or not others_in(out):
        return
    if not (out / "run.json").is_file():
        raise InputError(f"--out {out} holds files that are no run; name an empty or a new folder.")
    if not overwrite:
        raise InputError(
            f"--out {out} holds another run; go on with it (--resume), replace it (--overwrite), "
            "or name a new folder."
        )


@contextmanager
def claimed(out: Path) -> Iterator[None]:
    """Be the only one in this process who works on the folder of a run.

    Raises:
        InputError: somebody else does.
    """
    folder = out.resolve()
    if folder in _claims:
        raise InputError(f"Another run works on {out} at the moment; wait for its end.")
    _claims.add(folder)
    try:
        yield
    finally:
        _claims.discard(folder)


def clear_folder(out: Path) -> None:
    """Delete the run in `out`, `run.json` last, unless another process works on it."""
    if not (out / "run.json").is_file():
        return
    _remove(out, _DATABASES, _OWN)


def mend_folder(out: Path) -> None:
    """Checkpoints say how far a run has come, the store what came of it: where one of them is gone,
    so goes the other, and the journal tells all of it again.

    Raises:
        InputError: another process works on it.
    """
    store = (out / "chroma" / "chroma.sqlite3").is_file()
    if store != (out / CHECKPOINTS).is_file():
        _remove(out, (CHECKPOINTS,))


def _remove(out: Path, databases: Sequence[str], others: Sequence[str] = ()) -> None:
    """Remove the store, and what is named, unless another process works on the run."""
    held = hold(out / "chroma")
    try:
        files = [path for name in databases for path in out.glob(f"{name}*")]
        inside = [path for path in (out / "chroma").iterdir() if path.name != LOCK]
        for path in [*files, *inside, *(out / name for name in others)]:
            remove(path)
    finally:
        let_go(held)


def begin_folder(
    config: RunConfig, requirements: Sequence[Requirement], estimate: Mapping[str, Any]
) -> tuple[RunConfig, dict[str, Any]]:
    """Make the folder with a first run.json and the tables that the run is given.

    Args:
        requirements, estimate: Of a run that begins now.

    Returns:
        The configuration, its tables in files; and the run.json of the run's beginning.

    Raises:
        InputError: the folder cannot be written.
    """
    path, given = config.folder / "run.json", config
    config = in_folder(given)
    try:
        make_folder(config.folder)
        if not path.is_file():
            begun = {
                "format": FORMAT,
                "config": config.public(),
                "profiles_digest": digest(given.profile_source),
                "prompts_digest": prompts_digest(given.prompt_folder),
                "seed": config.seed,
                "requirements": [wanted.model_dump(mode="json") for wanted in requirements],
                "stretches": [Stretch.to(config.scenarios, requirements)._asdict()],
                "estimate": dict(estimate),
                "calls": 0,
                "seconds": 0.0,
                "ended": Ended("running").public(),
            }
            begun["seal"] = seal_of(begun)
            write_tables(given)
            write_json(path, begun)
        before = read_json_object(path)
    except OSError as error:
        raise InputError(f"Cannot write to --out {config.folder}: {error}") from error
    return config, before


def versions() -> dict[str, str]:
    """Python and the packages that shape a run."""
    names = ("matrix-graph", "langgraph", "langchain-core", "langchain-openai", "chromadb")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
