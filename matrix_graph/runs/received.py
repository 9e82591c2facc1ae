"""A run's folder, which may come from anybody: what it may hold, what its run.json says, and
whether this user began the run.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from matrix_graph.boundary.databases import LOCK
from matrix_graph.boundary.files import (
    check_entries,
    read_bytes,
    read_json_lines,
    read_json_object,
    write_text,
)
from matrix_graph.errors import InputError, StoreFailed
from matrix_graph.generation.requirements import read_requirements
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.ended import Ended
from matrix_graph.schema import Group, Rejection, Scenario

FORMAT = 3
_OURS = (
    *("run.json", "society.json", "filter.json", "README.md", "report.html", "funnel.svg"),
    *("profiles.jsonl", "benchmark.jsonl", "scenarios.jsonl", "rejected.jsonl", "rows.jsonl"),
    *("ledger.jsonl", "pairs.jsonl", "journal.sqlite*", "checkpoints.sqlite*", LOCK),
    *("dataset", "controls", "chroma", "export"),
)
"""The entries of a run's folder, and of a filter run's."""

_Count = Annotated[int, Field(ge=0, lt=10**15)]
_Number = Annotated[float, Field(ge=0, lt=10**15)]
_Name = Annotated[str, Field(max_length=300)]


def opened(folder: str | Path) -> Path:
    """The folder, looked at: what it holds of a run lies in it.

    Raises:
        InputError: there are links or special files among it.
    """
    folder = Path(folder)
    if folder.is_dir():
        check_entries(folder, _OURS)
    return folder


class _Read(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)


class _Tokens(_Read):
    input: _Count = 0
    output: _Count = 0


class _Estimate(_Read):
    calls: _Count = 0
    tokens: _Tokens = _Tokens()


class _Counts(_Read):
    profiles: _Count = 0
    bad_profiles: _Count = 0
    agents: _Count
    groups: _Count
    scenarios: _Count
    actions: _Count
    turns: _Count
    asked_again: _Count = 0
    messages: _Count
    generated: dict[_Name, _Count]
    coverage: dict[_Name, _Number]
    rejected: dict[_Name, _Count]
    failed: dict[str, _Count]
    wanted: dict[_Name, _Count]
    kept: dict[_Name, _Count]


class _Used(_Read):
    requests: Annotated[int, Field(ge=-1, lt=10**15)]
    input_tokens: _Count
    output_tokens: _Count
    cost_usd: _Number


class _Summary(_Read):
    format: int
    config: dict[str, Any]
    profiles_digest: str
    seed: int
    requirements: list[dict[str, Any]]
    counts: _Counts | Annotated[dict[str, Any], Field(max_length=0)] = Field(default_factory=dict)
    homophily: dict[str, Annotated[float, Field(ge=-1.1, le=1.1)]] = Field(default_factory=dict)
    models: dict[str, _Name] = Field(default_factory=dict)
    used: dict[_Name, _Used] = Field(default_factory=dict)
    tokens: _Tokens = _Tokens()
    estimate: _Estimate = _Estimate()
    calls: Annotated[int, Field(ge=-1, lt=10**15)]
    cost_usd: _Number = 0.0
    seconds: _Number
    ended: dict[str, str]
    asked: dict[str, dict[str, Any]] = Field(default_factory=dict)
    forked: dict[str, Any] = Field(default_factory=dict)
    seal: str = ""


def read_summary(out: Path) -> dict[str, Any]:
    """The run.json of the run in `out`.

    Raises:
        InputError: there is none, it is of another format, or it is not what a run writes.
    """
    path = opened(out) / "run.json"
    if not path.is_file():
        raise InputError(f"{out} holds no run.")
    summary = read_json_object(path)
    if summary.get("format") != FORMAT:
        raise InputError(
            f"{path} is of format {str(summary.get('format'))[:40]}; this version reads {FORMAT}. "
            "Use the version that made it, or make the run anew; its rows in dataset/ can be "
            "filtered as they are."
        )
    try:
        _Summary.model_validate(summary)
    except ValidationError as error:
        raise InputError(f"{path} is not what a run writes: {problems(error)}") from None
    fields = {n: value for n, value in summary["config"].items() if n in RunConfig.model_fields}
    config = RunConfig.model_validate(fields)
    read_requirements(summary["requirements"])
    Ended.of(summary)
    return summary | {"config": config.public() | {"out": str(summary["config"].get("out"))}}


def problems(error: ValidationError) -> str:
    """The first of the problems, in a line each."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc']))[:120]}: {e['msg']}"
        for e in error.errors(include_url=False, include_input=False)[:3]
    )


T = TypeVar("T")
_SCENARIO, _REJECTION = TypeAdapter(Scenario), TypeAdapter(Rejection)
_GROUPS = TypeAdapter(tuple[Group, ...])


def read_scenarios(path: Path) -> list[Scenario]:
    """The scenarios of a run; none if the file is missing.

    Raises:
        InputError: a line is none.
    """
    return _typed(path, _SCENARIO)


def read_rejections(path: Path) -> list[Rejection]:
    """The dropped rows of a run or a filter run; as `read_scenarios`."""
    return _typed(path, _REJECTION)


def read_society(path: Path) -> tuple[tuple[Group, ...], dict[str, float]]:
    """The groups of a run, and how alike their members are, from its society.json.

    Raises:
        InputError: it is not what a run writes.
    """
    saved = read_json_object(path, ("homophily",))
    try:
        return _GROUPS.validate_python(saved.get("groups")), _HOMOPHILY(saved.get("homophily"))
    except ValidationError as error:
        raise InputError(f"{path} is not what a run writes: {problems(error)}") from None


_HOMOPHILY: Callable[[Any], dict[str, float]] = TypeAdapter(dict[str, float]).validate_python


def _typed(path: Path, adapter: TypeAdapter[T]) -> list[T]:
    rows: list[Any] = read_json_lines(path)
    for number, row in enumerate(rows, 1):
        try:
            adapter.validate_python(row, strict=True)
        except ValidationError as error:
            raise InputError(f"{path}, row {number}: {problems(error)}") from None
    return rows


class Untrusted(InputError):
    """A run that this user did not begin would ask models that only its folder names."""


_ASKING = (
    *("model", "student", "judge", "embeddings", "base_url", "reward", "prompts"),
    *("max_calls", "max_cost"),
)
"""Options that say who is asked, with what, and how often."""


def check_trust(out: Path, summary: Mapping[str, Any], given: RunConfig) -> None:
    """See that whoever goes on with a run has begun it, or says that they trust its addresses.

    Raises:
        Untrusted: neither; the message shows what the folder names.
    """
    if given.offline or given.trust or sealed(summary):
        return
    default = RunConfig().public()
    named = {n: summary["config"][n] for n in _ASKING if summary["config"][n] != default[n]}
    if missing := {n: v for n, v in named.items() if n not in given.model_fields_set}:
        shown = ", ".join(f"--{n.replace('_', '-')} {_short(v)}" for n, v in missing.items())
        raise Untrusted(
            f"The run in {out} was begun elsewhere, or was altered. It names {shown}: your key and "
            "your money would go there. Name these options again, with values of your own, or "
            "agree with --trust."
        )


def _short(value: Any) -> str:
    return " ".join(map(_short, value)) if isinstance(value, list) else str(value)[:200]


def sealed(summary: Mapping[str, Any]) -> bool:
    """Whether this user began the run, and its run.json names what it named then."""
    return bool(summary.get("seal")) and hmac.compare_digest(seal_of(summary), summary["seal"])


def seal_of(summary: Mapping[str, Any]) -> str:
    """A mark that only this user can make, of what a run asks and whom; nothing where there is no
    home to keep the secret in.
    """
    secret = _secret()
    config = {n: v for n, v in summary["config"].items() if n not in ("out", "offline", "trust")}
    text = json.dumps([config, summary["requirements"]], sort_keys=True)
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest() if secret else ""


def _secret() -> bytes:
    """Of this user on this machine; it signs runs and opens nothing."""
    try:
        home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        path = Path(home) / "matrix-graph" / "runs.key"
        if not path.is_file():
            write_text(path, secrets.token_hex(32))
        return read_bytes(path, 1024)
    except (InputError, StoreFailed, RuntimeError, OSError):
        return b""
