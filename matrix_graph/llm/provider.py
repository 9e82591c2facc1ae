"""What an exception from a provider's client means, whichever client it is."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from matrix_graph.boundary.secrets import redacted

_REFUSALS = {
    401: "wrong key",
    402: "the balance is used up",
    403: "no access",
    404: "unknown model or wrong endpoint",
}
_TRANSPORT = (OSError, TimeoutError, EOFError, ValueError, RecursionError)
"""Of Python's own exceptions, those that a server or the way to it can cause (a body that is no
JSON is a `ValueError`); any other is a mistake in somebody's code."""
_UNREACHED = ("ConnectError", "ConnectTimeout", "ClientConnectorError", "PoolTimeout")


@dataclass(frozen=True)
class Fault:
    """A request that gave no answer.

    Attributes:
        kind: `passing`: the same request may succeed later (throttling, server faults, no answer at
            all). `refused`: the provider refuses us for good. `final`: it refuses this request.
        reason: One line for tables and records.
        status: The HTTP status, if there was one.
        retry_after: Seconds that the provider asked us to wait.
        reached: Whether it may have reached a server, which counts it then.
    """

    kind: Literal["passing", "refused", "final"]
    reason: str
    status: int | None = None
    retry_after: float | None = None
    reached: bool = True


class HttpError(Exception):
    """An answer with another status than 200 from something that is no chat model."""

    def __init__(self, status: int, text: str, headers: Any) -> None:
        super().__init__(f"HTTP {status}: {redacted(text[:2000])[:200]}")
        self.status_code = status
        self.headers = headers


def fault_of(error: Exception) -> Fault | None:
    """What `error` says of the request; None where it is a defect and shall travel up."""
    status = _status_of(error)
    if status is None and _is_defect(error):
        return None
    if status is not None and 300 <= status < 400:
        return Fault("refused", f"it redirects elsewhere ({status}); name that address", status)
    if status in _REFUSALS:
        return Fault("refused", f"{_REFUSALS[status]} ({reason_of(error)})", status)
    passing = status is None or status >= 500 or status in (408, 409, 429)
    return Fault(
        "passing" if passing else "final",
        reason_of(error),
        status,
        _retry_after(error),
        reached=not any(_is_unreached(cause) for cause in _causes(error)),
    )


def reason_of(error: Exception) -> str:
    """One line for tables and records: what the operating system reports, or else the client."""
    for cause in _causes(error):
        if isinstance(cause, OSError):
            error = cause
    text = redacted(" ".join(str(error)[:2000].split()))
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _status_of(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def _is_defect(error: Exception) -> bool:
    is_builtin = type(error).__module__ == builtins.__name__
    return is_builtin and not isinstance(error, _TRANSPORT)


def _is_unreached(cause: BaseException) -> bool:
    return isinstance(cause, ConnectionRefusedError) or type(cause).__name__ in _UNREACHED


def _retry_after(error: Exception) -> float | None:
    headers = getattr(getattr(error, "response", error), "headers", None) or {}
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except (AttributeError, ValueError):
        return None


def _causes(error: BaseException) -> Iterator[Exception]:
    """The error and what it came from, first to last."""
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, Exception):
            yield cause
        cause = cause.__cause__ or cause.__context__
