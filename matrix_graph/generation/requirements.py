"""What is wanted, as data: the kind of row, how many, and about what."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

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
