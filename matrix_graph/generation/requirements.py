"""What is wanted, as data: the kind of row, how many, and about what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matrix_graph.errors import InputError

KindName = Literal["sft", "dpo"]
KINDS: tuple[KindName, ...] = get_args(KindName)

STYLES = (
    "Ask plainly.",
    "Ask for steps that can be followed today.",
    "Ask for an explanation of why something is as it is.",
    "Ask for a comparison before a decision.",
    "Ask for a text that they need, such as a letter, notice, list or plan.",
    "Ask for a check of what they did, and what could go wrong.",
    "Ask for numbers: amounts, times or costs.",
)
"""Questioning styles, given in turn so that the instructions do not all ask in one way."""


class Requirement(BaseModel):
    """Rows of one kind. `domain` says in the user's words what they should be about; None takes all evenly."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: KindName
    count: int = Field(ge=1)
    domain: str | None = None
    max_tokens: int = Field(default=1024, ge=16, description="Length limit of an answer; a cut answer is no answer.")


def read_requirements(given: Sequence[Mapping[str, Any]]) -> list[Requirement]:
    """Requirements from their fields, one a kind.

    Raises:
        InputError: a field is wrong, or a kind comes twice.
    """
    try:
        read = [Requirement.model_validate(fields) for fields in given]
    except ValidationError as error:
        raise InputError(f"A requirement does not do: {error}") from error
    if len({requirement.kind for requirement in read}) < len(read):
        raise InputError("One requirement per kind: a kind is named twice.")
    return read
