"""The folder of a run: whose it is, what of it may change, how it begins and is cleared."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matrix_graph.errors import InputError
from matrix_graph.export.files import read_json_object, write_text
from matrix_graph.generation.requirements import Requirement, read_requirements
from matrix_graph.llm.models import ModelObject
from matrix_graph.memory.folder import LOCK, hold, let_go
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.given import (
    FILES,
    digest,
    in_folder,
    same_benchmark,
    tables_in,
    write_tables,
)
from matrix_graph.schema import Group
from matrix_graph.society.serialization import groups_from_json

FORMAT = 2
_claims: set[Path] = set()
MAY_CHANGE = {
    *(
        "out",
        "durability",
        "max_calls",
        "max_cost",
        "price",
        "concurrency",
        "timeout",
        "base_url",
        "strict",
    ),
    *("offline", "play"),
}
"""Options that a resumed run may be given anew; the others are those of its start."""
MODELS = {"model", "student", "embeddings", "judge"}
"""Options that a resumed run must be given again where they were objects."""

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
_DATABASES = ("journal.sqlite", "checkpoints.sqlite")


def resumed(config: RunConfig) -> RunConfig:
    """The configuration of the run in `config.folder`, with what a resumed run may be given anew.

    Raises:
        InputError: no run there, or one that began with other profiles.
    """
    path = config.folder / "run.json"
    try:
        before = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{config.folder} holds no run to resume ({error}).") from error
    tables = tables_in(config.folder)
    source = tables.get("profiles", before["config"]["profiles"])
    if before["profiles_digest"] != digest(source):
        raise InputError(
            f"The profiles of the run in {config.folder} have changed since it began; start anew "
            "with --overwrite."
        )
    options = {name: getattr(config, name) for name in config.model_fields_set}
    clashes = sorted(
        name for name in options.keys() - MAY_CHANGE if not _as_before(name, config, before)
    )
    if clashes:
        raise InputError(
            f"The run in {config.folder} began with another --{clashes[0].replace('_', '-')}, "
            "which cannot change."
        )
    began = before["config"] | {"offline": False} | tables
    if began.get("requirements"):
        began = {
            name: value
            for name, value in began.items()
            if name not in ("kind", "domain", "max_tokens")
        }
    fields = began | {n: value for n, value in options.items() if n in MAY_CHANGE | MODELS}
    config = RunConfig.load(None, fields)
    if missing := [] if config.offline else _objects(config):
        raise InputError(
            f"The run in {config.folder} began with objects for {', '.join(missing)}; give them "
            f"again, such as RunConfig({missing[0]}=..., out=...)."
        )
    return config


def _objects(config: RunConfig) -> list[str]:
    """The options whose objects are not here."""
    return [
        name
        for name in sorted(MODELS)
        if any(isinstance(model, ModelObject) for model in _several(getattr(config, name)))
    ]


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _as_before(name: str, config: RunConfig, before: Mapping[str, Any]) -> bool:
    """Whether an option of a resumed run says what it said at the run's beginning."""
    given: Any = getattr(config, name)
    if name == "profiles":
        return bool(digest(given) == before["profiles_digest"])
    began = before["config"].get(name)
    if name == "decontaminate":
        path = tables_in(config.folder).get(name, began)
        return same_benchmark(given, Path(path) if path else None)
    return bool(config.public()[name] == began)


def began_with(out: Path) -> list[Requirement]:
    """The requirements that the run in `out` began with, whatever has become of their file.

    Raises:
        InputError: no run there.
    """
    try:
        return read_requirements(json.loads((out / "run.json").read_text("utf-8"))["requirements"])
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{out} holds no run to resume ({error}).") from error


def check_folder(out: Path, overwrite: bool) -> None:
    """See that a run may begin in `out`.

    Raises:
        InputError: something else is there, or another run that is not to be overwritten.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / "run.json").is_file():
        raise InputError(f"--out {out} holds files that are no run; name an empty or a new folder.")
    if not overwrite:
        raise InputError(
            f"--out {out} holds another run; go on with it (--resume), replace it (--overwrite), "
            "or name a new folder."
        )


def read_summary(out: Path) -> dict[str, Any]:
    """The run.json of the run in `out`.

    Raises:
        InputError: there is none, or it is not what a run writes.
    """
    path = out / "run.json"
    if not path.is_file():
        raise InputError(f"{out} holds no run.")
    parts = ("config", "counts", "homophily", "used", "estimate", "models", "tokens")
    summary = read_json_object(path, parts)
    Ended.of(summary)
    if missing := [name for name in ("config", "seed", "requirements") if name not in summary]:
        raise InputError(f"{path} is without {', '.join(missing)}.")
    for name in ("seconds", "calls", "cost_usd"):
        if not isinstance(summary.get(name, 0), int | float):
            raise InputError(f"{path}: {name} is no number.")
    return summary


def read_society(path: Path) -> tuple[tuple[Group, ...], dict[str, float]]:
    """The groups of a run, and how alike their members are, from its society.json.

    Raises:
        InputError: it is not what a run writes.
    """
    saved = read_json_object(path, ("homophily",))
    try:
        return groups_from_json(saved["groups"]), saved["homophily"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not what a run writes ({error!r}).") from error


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
    held = hold(out / "chroma")
    try:
        databases = [path for name in _DATABASES for path in out.glob(f"{name}*")]
        inside = [path for path in (out / "chroma").iterdir() if path.name != LOCK]
        for path in [*databases, *inside, *(out / name for name in _OWN)]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
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
    config = given.model_copy(update=in_folder(given, given.folder))
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            begun = {
                "format": FORMAT,
                "config": config.public(),
                "profiles_digest": digest(given.profile_source),
                "seed": config.seed,
                "requirements": [wanted.model_dump(mode="json") for wanted in requirements],
                "estimate": dict(estimate),
                "calls": 0,
                "seconds": 0.0,
                "ended": Ended("running").public(),
            }
            write_text(path, json.dumps(begun, ensure_ascii=False))
            write_tables(given, given.folder)
        before: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"Cannot write to --out {config.folder}: {error}") from error
    return config, before


def versions() -> dict[str, str]:
    """Python and the packages that shape a run."""
    names = ("matrix-graph", "langgraph", "langchain-core", "langchain-openai", "chromadb")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
