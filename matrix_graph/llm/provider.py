"""What an exception from a provider's client means, whichever client it is."""

from __future__ import annotations

from matrix_graph.errors import InputError

_REFUSALS = {
    401: "wrong key",
    402: "the balance is used up",
    403: "no access",
    404: "unknown model or wrong endpoint",
}


def status_of(error: Exception) -> int | None:
    """The HTTP status behind `error`, if there was one."""
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    return status if isinstance(status, int) else None


def is_passing(status: int | None) -> bool:
    """Whether the same request may succeed later: throttling, server faults, no answer at all."""
    return status is None or status >= 500 or status in (408, 409, 429)


def check_refusal(error: Exception, name: str) -> None:
    """Raise `InputError` if the provider refuses us for good."""
    status = status_of(error)
    if status in _REFUSALS:
        raise InputError(
            f"The provider refuses {name}: {_REFUSALS[status]} ({reason_of(error)})"
        ) from error


def retry_after(error: Exception) -> float | None:
    """Seconds that the provider asked us to wait."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    try:
        return max(0.0, float(headers.get("retry-after", "")))
    except ValueError:
        return None


def reason_of(error: Exception) -> str:
    """One line for tables and records: what the operating system said, if it did, else the client."""
    cause: BaseException | None = error
    while cause:
        error = cause if isinstance(cause, OSError) else error
        cause = cause.__cause__ or cause.__context__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
