"""How a run ended, or that it goes on: what run.json and filter.json say of it under `ended`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast, get_args

from matrix_graph.errors import InputError, RunPaused, Status

_EXIT_CODES: dict[Status, int] = {
    "complete": 0,
    "exhausted": 3,
    "cap": 5,
    "asked": 6,
    "down": 4,
    "offline": 4,
    "refused": 4,
    "failed": 1,
    "running": 4,
    "interrupted": 4,
}


class Ended(NamedTuple):
    """Status and, in words, why."""

    status: Status
    reason: str = ""

    @classmethod
    def of(cls, summary: Mapping[str, Any]) -> Ended:
        """What a run.json or filter.json says.

        Raises:
            InputError: it says nothing that is known.
        """
        ended = summary.get("ended")
        status = ended.get("status") if isinstance(ended, Mapping) else None
        if status not in get_args(Status):
            raise InputError(f"The folder is of no run of this version: it ended {ended!r}.")
        return cls(cast("Status", status), str(ended.get("reason", "")))  # type: ignore[union-attr]

    @classmethod
    def by(cls, error: RunPaused | InputError) -> Ended:
        """How a run ends that is stopped by `error`."""
        return cls(error.status if isinstance(error, RunPaused) else "refused", str(error))

    def public(self) -> dict[str, str]:
        """JSON-ready."""
        return self._asdict()

    @property
    def over(self) -> bool:
        """Whether there is nothing to go on with."""
        return self.status in ("complete", "exhausted")

    @property
    def exit_code(self) -> int:
        """Of the command line; a signal has its own."""
        return _EXIT_CODES[self.status]

    def __str__(self) -> str:
        return f"{self.status}: {self.reason}" if self.reason else self.status
