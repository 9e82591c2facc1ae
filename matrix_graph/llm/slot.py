"""A slot: the place of a call in the work, which is its address in the journal.

    STAGE[/rROUND.sSTEP]/WHO[/WHAT[/PART]][#ATTEMPT]

such as `persona/p001#1`, `society/r0.s2/p001/act#1`, `generate/group-001-r0-p001-0/sft/response#2`.
`/`, `#` and `%` inside a field are percent-encoded, so that what is written can be read again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

Stage = Literal["probe", "persona", "society", "memory", "modulated", "generate", "filter", "amend"]
STAGES: tuple[Stage, ...] = get_args(Stage)
_TIMED = ("society", "memory", "modulated", "amend")
_TIME = re.compile(r"(?:r(\d+))?\.?(?:s(\d+))?")
_CODES = {"%": "%25", "/": "%2F", "#": "%23"}


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One place in the work.

    Attributes:
        stage: The part of the pipeline.
        who: Id of the agent, group, source or row that the call is for.
        what: What is done there, such as `act`, `deliver` or `judge`; for rows, their requirement.
        part: Tells several calls of one kind apart.
        round, step: When, in stages that have a time.
        attempt: The answer's number from 1; 0 names the place whatever the attempt.
    """

    stage: Stage
    who: str
    what: str = ""
    part: str = ""
    round: int | None = None
    step: int | None = None
    attempt: int = 0

    def __str__(self) -> str:
        time = [f"{mark}{n}" for mark, n in (("r", self.round), ("s", self.step)) if n is not None]
        fields = [_encoded(self.who), _encoded(self.what), _encoded(self.part)]
        while not fields[-1]:
            fields.pop()
        timed = [".".join(time)] if self.stage in _TIMED else []
        attempt = f"#{self.attempt}" if self.attempt else ""
        return "/".join([self.stage, *timed, *fields]) + attempt

    @classmethod
    def parse(cls, text: str) -> Slot:
        """The slot that `text` writes.

        Raises:
            ValueError: it is none.
        """
        place, _, attempt = text.partition("#")
        stage, *fields = place.split("/")
        time = _TIME.fullmatch(fields.pop(0)) if stage in _TIMED and fields else None
        wanted = 1 <= len(fields) <= 3 and stage in STAGES and (time or stage not in _TIMED)
        if not wanted or not (attempt.isdecimal() or not attempt):
            raise ValueError(f"{text!r} is no slot; one looks like persona/p001#1")
        who, what, part = (*map(_decoded, fields), "", "")[:3]
        round, step = (int(n) if n else None for n in (time.groups() if time else ("", "")))
        return cls(
            stage=cast("Stage", stage),
            who=who,
            what=what,
            part=part,
            round=round,
            step=step,
            attempt=int(attempt or 0),
        )

    def at(self, attempt: int) -> Slot:
        """The same place at an attempt; 0 for whichever."""
        return replace(self, attempt=attempt)


def _encoded(field: str) -> str:
    if field.isalnum():
        return field
    return "".join(_CODES.get(character, character) for character in field)


def _decoded(field: str) -> str:
    for character, code in reversed(_CODES.items()):
        field = field.replace(code, character)
    return field
