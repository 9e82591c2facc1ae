"""The calendar of a society: each step stands for a number of days from a first one."""

from __future__ import annotations

from datetime import date, timedelta

from matrix_graph.context import Context

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September",
           "October", "November", "December")  # fmt: skip
"""Spelt here, since `strftime` speaks the language of the machine."""


def day_of(context: Context, time: int) -> date:
    """The day of a step that counts from the run's beginning; past year 9999 it stays the last."""
    try:
        return context.start + timedelta(days=context.step_days * time)
    except OverflowError:
        return date.max


def spelt(day: date) -> str:
    """As in `Tuesday, 7 January 2025`."""
    return f"{_DAYS[day.weekday()]}, {brief(day)} {day.year}"


def brief(day: date) -> str:
    """As in `7 January`."""
    return f"{day.day} {_MONTHS[day.month - 1]}"
