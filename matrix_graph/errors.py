"""The failure model, stated once.

* `InputError`: what the user gave cannot work. Nothing was written; the message says what to do.
* `RunPaused`: the run stopped before its end and can be resumed without paying twice: a cap was
  reached (`CapReached`) or the provider stays down (`ProviderDown`).
* `CallFailed`: one model call gave no usable answer. It never ends a run: whoever made the call
  turns it into data with a reason ("99 of 100 acted").

Everything else is a defect and travels up unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MatrixError(Exception):
    """Base of all errors that this package raises on purpose."""

    exit_code = 1


class InputError(MatrixError):
    """The user's input cannot work; the message says what to change."""

    exit_code = 2


class RunPaused(MatrixError):
    """The run stopped early with everything saved; it can be resumed."""

    exit_code = 4


class CapReached(RunPaused):
    """A cap on calls or cost was reached."""

    exit_code = 3


class PersonAsked(RunPaused):
    """The run waits for people.

    Attributes:
        asked: What they are asked, by the id under which the answer is given.
    """

    exit_code = 3

    def __init__(self, asked: Mapping[str, Any]) -> None:
        super().__init__(
            f"{len(asked)} {'person is' if len(asked) == 1 else 'people are'} asked something"
        )
        self.asked = asked


class ProviderDown(RunPaused):
    """The model provider answers nobody, after every attempt that is allowed."""


class CallFailed(MatrixError):
    """One call gave no usable answer.

    Attributes:
        slot: The place of the call in the work, as in the journal.
        reason: A short sentence for tables and records.
        attempts: How many answers or errors were seen.
    """

    def __init__(self, slot: str, reason: str, attempts: int) -> None:
        super().__init__(f"{slot}: {reason} (after {attempts} attempts)")
        self.slot = slot
        self.reason = reason
        self.attempts = attempts
