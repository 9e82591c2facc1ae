"""Run many calls to their end together: what is in flight when one of them stops the run still lands in the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def settled(calls: Iterable[Awaitable[T]]) -> list[T]:
    """All results in order; the first exception is raised after every call has ended."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
