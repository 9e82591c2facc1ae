"""Profiles come from a JSON Lines file of the user's or from the shipped synthetic ones, scrubbed
either way.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from matrix_graph.errors import InputError
from matrix_graph.schema import Profile
from matrix_graph.society.scrub import scrub

SHIPPED = Path(str(files("matrix_graph"))) / "data" / "profiles.jsonl"
_NOT_IN_IDS = re.compile(r"[^\w-]+")
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=8000)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    id: _Text | None = None
    name: _Text
    description: _Text
    posts: list[_Text] = []


@dataclass(frozen=True)
class BadRow:
    """A line that is not a profile: its number in the file, from 1, and why."""

    row: int
    reason: str


def load_profiles(
    path: Path | str | None = None, *, strict: bool = False
) -> tuple[list[Profile], list[BadRow]]:
    """Read the profiles of a file (the shipped ones if None), scrubbed.

    Returns:
        The profiles, and the rows that are none.

    Raises:
        InputError: no such file, no good row in it, or any bad row when `strict`.
    """
    path = Path(path or SHIPPED)
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the profiles in {path}: {error}") from error
    profiles: dict[str, Profile] = {}
    bad: list[BadRow] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            profile = _read(line, f"row{number}")
            if profile.id in profiles:
                raise ValueError(f"id {profile.id!r} stands in an earlier row")
            profiles[profile.id] = profile
        except ValueError as error:
            bad.append(BadRow(number, _why(error)))
    if strict and bad:
        raise InputError(f"{path}: {_listed(bad)} (--strict)")
    if not profiles:
        raise InputError(f"{path} holds no profile. {_listed(bad)}".rstrip())
    return list(profiles.values()), bad


def sample_profiles(profiles: Sequence[Profile], count: int, seed: int) -> list[Profile]:
    """`count` profiles in an order fixed by `seed`.

    Past the number given, they come round again with variation: another id and name, one post left
    out and the others in another order, so that no two agents are the same person.
    """
    rng = random.Random(seed)
    chosen: list[Profile] = []
    for turn in range(-(-count // len(profiles))):
        shuffled = rng.sample(profiles, len(profiles))
        chosen.extend(p if turn == 0 else _variation(p, turn + 1, rng) for p in shuffled)
    return chosen[:count]


def _variation(profile: Profile, turn: int, rng: random.Random) -> Profile:
    posts = rng.sample(profile.posts, max(len(profile.posts) - 1, min(1, len(profile.posts))))
    return replace(
        profile, id=f"{profile.id}-{turn}", name=f"{profile.name} {turn}", posts=tuple(posts)
    )


def _read(line: str, default_id: str) -> Profile:
    data: Any = json.loads(line)
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    try:
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("holds half a character (a lone surrogate)") from error
    row = _Line.model_validate(data)
    return Profile(
        id=_NOT_IN_IDS.sub("-", scrub(row.id or default_id))[:64],
        name=scrub(row.name),
        description=scrub(row.description),
        posts=tuple(scrub(post) for post in row.posts),
        extra=row.model_extra or {},
    )


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
