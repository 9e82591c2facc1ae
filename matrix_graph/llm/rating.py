"""How good an answer is, as a judge says it: one shape for whoever asks."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Rating(BaseModel):
    """How good an answer is, from 1 to 10, with the reason first."""

    reason: str = Field(max_length=120)
    score: int = Field(ge=1, le=10)


class Preference(BaseModel):
    """Which of two answers is better, with the reason first."""

    reason: str = Field(max_length=120)
    better: Literal["first", "second", "tie"]
