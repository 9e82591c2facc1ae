"""The failure model, stated once.

* `InputError`: what the user gave cannot work. Nothing was written; the message says what to do.
* `RunPaused`: the run stopped before its end and can be resumed without paying twice: a cap was
  reached (`CapReached`), the provider stays down (`ProviderDown`), the disk is full
  (`StoreFailed`), or people are asked something (`PersonAsked`). Its `status` is what run.json says
  of the run.
* `CallFailed`: one model call gave no usable answer. It never ends a run: whoever made the call
  turns it into data with a reason ("99 of 100 acted").

Everything else is a defect and travels up unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

Status = Literal[
    "running",
    "complete",
    "exhausted",
    "cap",
    "down",
    "asked",
    "offline",
    "refused",
    "interrupted",
    "failed",
]
"""How a run stands: `exhausted` has no source left for what is missing, `refused` met a provider
that refuses us for good, `offline` went as far as what is on record, `failed` met a defect."""


class MatrixError(Exception):
    """Base of all errors that this package raises on purpose."""


class InputError(MatrixError):
    """The user's input cannot work; the message says what to change."""


class RunPaused(MatrixError):
    """The run stopped early with everything saved; it can be resumed."""

    status: ClassVar[Status] = "interrupted"


class CapReached(RunPaused):
    """A cap on calls or cost was reached."""

    status: ClassVar[Status] = "cap"


class PersonAsked(RunPaused):
    """The run waits for people.

    Attributes:
        asked: What they are asked, by the id under which the answer is given.
    """

    status: ClassVar[Status] = "asked"

    def __init__(self, asked: Mapping[str, Any]) -> None:
        who = "person is" if len(asked) == 1 else "people are"
        super().__init__(f"{len(asked)} {who} asked something")
        self.asked = asked


class StoreFailed(RunPaused):
    """A disk that is full or fails, or a store's server, did not carry out what was asked."""


class ProviderDown(RunPaused):
    """The model provider answers nobody, after every attempt that is allowed."""

    status: ClassVar[Status] = "down"


class CallFailed(MatrixError):
    """One call gave no usable answer.

    Attributes:
        slot: The place of the call in the work, as in the journal (a `Slot`).
        reason: A short sentence for tables and records.
        attempts: How many answers or errors were seen.
    """

    def __init__(self, slot: object, reason: str, attempts: int) -> None:
        super().__init__(f"{slot}: {reason} (after {attempts} attempts)")
        self.slot = str(slot)
        self.reason = reason
        self.attempts = attempts
