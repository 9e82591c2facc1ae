"""Profiles come from a file or a table of the user's, or are the shipped synthetic ones; scrubbed
in any case.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from matrix_graph.boundary.files import read_text
from matrix_graph.boundary.quoting import one_line
from matrix_graph.boundary.values import read_json
from matrix_graph.errors import InputError
from matrix_graph.schema import Profile
from matrix_graph.society.scrub import scrub
from matrix_graph.tables import Table, rows_of

SHIPPED = Path(str(files("matrix_graph"))) / "data" / "profiles.jsonl"
_NOT_IN_IDS = re.compile(r"[^\w-]+")
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    id: _Text | None = None
    name: _Text
    description: _Text
    posts: list[_Text] = []
    clone_of: str = ""


@dataclass(frozen=True)
class BadRow:
    """A line that is not a profile: its number in the file, from 1, and why."""

    row: int
    reason: str


def load_profiles(
    source: Path | str | Table | None = None, *, strict: bool = False
) -> tuple[list[Profile], list[BadRow]]:
    """Read profiles, scrubbed.

    Args:
        source: A file of JSON Lines; or a list of `Profile` or mappings, a data frame, a data set,
            with `name`, `description` and, if there are any, `id` and `posts`. The shipped
            synthetic profiles if None.
        strict: Refuse any row that is no profile.

    Returns:
        The profiles, and the rows that are none.

    Raises:
        InputError: no such file, no good row in it, or any bad row when `strict`.
    """
    if source is None or isinstance(source, str | Path):
        where = str(source or SHIPPED)
        rows: Iterable[tuple[int, str | dict[str, Any]]] = _lines(Path(where).expanduser())
    else:
        where, rows = "The table", enumerate(_table(source), 1)
    profiles: dict[str, Profile] = {}
    bad: list[BadRow] = []
    for number, row in rows:
        try:
            profile = _read(row, f"row{number}")
            if profile.id in profiles:
                raise ValueError(f"id {profile.id!r} stands in an earlier row")
            profiles[profile.id] = profile
        except ValueError as error:
            bad.append(BadRow(number, _why(error)))
    if strict and bad:
        raise InputError(f"{where}: {_listed(bad)} (--strict)")
    if not profiles:
        raise InputError(f"{where} holds no profile. {_listed(bad)}".rstrip())
    return list(profiles.values()), bad


def profile_rows(table: Table) -> list[dict[str, Any]]:
    """The rows of a table of profiles as they may be written to a file: all text in them scrubbed.

    Raises:
        InputError: it is no table.
    """
    return [_scrubbed(row) for row in _table(table)]


def _table(table: Table) -> list[dict[str, Any]]:
    """The rows of a table in which a profile may also be a `Profile`."""
    if isinstance(table, list | tuple):
        table = [_fields(p) if isinstance(p, Profile) else p for p in table]
    return rows_of(table, "profiles")


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {name: _scrubbed(part) for name, part in value.items()}
    return [_scrubbed(part) for part in value] if isinstance(value, list) else value


def _fields(profile: Profile) -> dict[str, Any]:
    names = ("id", "name", "description", "posts", "clone_of")
    fields = {name: getattr(profile, name) for name in names}
    return {**profile.extra, **fields}


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    lines = read_text(path).split("\n")
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def check_enough(profiles: Sequence[Profile], count: int) -> None:
    """See that so many different people are there.

    Raises:
        InputError: they are not.
    """
    if count > len(profiles):
        raise InputError(
            f"{len(profiles)} profiles for {count} agents: give more people (--profiles), or take "
            f"--agents {len(profiles)}. For a load test, --clone lets people come round again."
        )


def sample_profiles(
    profiles: Sequence[Profile], count: int, seed: int, *, clone: bool = False
) -> list[Profile]:
    """`count` profiles in an order fixed by `seed`.

    Args:
        clone: Past the number given, let them come round again: under another id, without one of
            their posts, the others in another order.

    Raises:
        InputError: there are fewer, and they are not to be cloned.
    """
    if not clone:
        check_enough(profiles, count)
    rng = random.Random(seed)
    chosen: list[Profile] = []
    ids = {profile.id for profile in profiles}
    for turn in range(-(-count // len(profiles))):
        shuffled = rng.sample(profiles, len(profiles))
        chosen.extend(p if turn == 0 else _clone(p, turn + 1, rng, ids) for p in shuffled)
    return chosen[:count]


def _clone(profile: Profile, turn: int, rng: random.Random, ids: set[str]) -> Profile:
    """The same person under an id that is none of `ids`."""
    posts = rng.sample(profile.posts, max(len(profile.posts) - 1, min(1, len(profile.posts))))
    name = f"{profile.id}-{turn}"
    while name in ids:
        name += "x"
    ids.add(name)
    return replace(profile, id=name, posts=tuple(posts), clone_of=profile.clone_of or profile.id)


def _read(row: str | dict[str, Any], default_id: str) -> Profile:
    data: Any = read_json(row) if isinstance(row, str) else row
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half a character (a lone surrogate)") from error
    except TypeError as error:
        raise ValueError(f"holds what is no JSON ({error})") from error
    line = _Line.model_validate(data)
    return Profile(
        id=_id(line.id or default_id),
        name=one_line(scrub(line.name)),
        description=scrub(line.description),
        posts=tuple(scrub(post) for post in line.posts),
        extra=_scrubbed(line.model_extra or {}),
        clone_of=_id(line.clone_of),
    )


def _id(text: str) -> str:
    return _NOT_IN_IDS.sub("-", scrub(text))[:64]


def _why(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
    if isinstance(error, json.JSONDecodeError):
        return f"not JSON ({error.msg} at column {error.colno})"
    return str(error)


def _listed(bad: Sequence[BadRow]) -> str:
    shown = "; ".join(f"row {b.row}: {b.reason}" for b in bad[:5])
    return shown + (f"; and {len(bad) - 5} more" if len(bad) > 5 else "")
