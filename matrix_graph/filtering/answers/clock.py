"""Clock times in a text."""

from __future__ import annotations

import re

_HALF = r"\s*([ap])\.?m\b\.?"
TIME = re.compile(rf"(?<![\d:])([01]?\d|2[0-3])[:.h]([0-5]\d)(?![\d:])(?:{_HALF})?", re.I)
_HOUR = re.compile(rf"(?<![\d:.])(1[0-2]|0?\d){_HALF}", re.I)
IS_TIME = re.compile(rf"(?:at\s+)?(?:\d?\d[:h]\d\d(?:{_HALF})?|\d?\d(?:\.\d\d)?{_HALF})", re.I)
"""What a clock time looks like that is nothing else: `2.50` is a number."""


def times_in(text: str) -> list[tuple[int, int]]:
    """The clock times in a text, in hours and minutes."""
    times = []
    for hour, minute, half in TIME.findall(text):
        times.append((_hour(int(hour), half), int(minute)))
    return times or [(_hour(int(hour), half), 0) for hour, half in _HOUR.findall(text)]


def _hour(hour: int, half: str) -> int:
    if not half:
        return hour
    return hour % 12 + (12 if half.lower() == "p" else 0)
