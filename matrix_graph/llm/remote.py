"""JSON over HTTP to something that is no chat model, by the same rules: journal first, then limiter
and retries.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from matrix_graph.errors import CallFailed, InputError, ProviderDown
from matrix_graph.llm.caller import ATTEMPTS, Line
from matrix_graph.llm.journal import entry_for
from matrix_graph.llm.offline import NotOnRecord
from matrix_graph.llm.provider import is_passing, reason_of

T = TypeVar("T")


class Remote:
    """Posts for one run; an answer that is on record is not asked for again."""

    def __init__(self, line: Line, *, timeout: float) -> None:
        self._line = line
        self._timeout = timeout
        self._answered: set[str] = set()

    async def post(
        self, slot: str, url: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]
    ) -> T:
        """What `read` makes of the JSON object that `url` answers to `body`.

        Only an answer that could be read goes on record.

        Raises:
            NotOnRecord: we are offline.
            CallFailed: it refuses this request, or answers something that `read` cannot read.
            ProviderDown: it has answered nobody yet, and does not.
            InputError: it refuses us for good.
        """
        entry = entry_for(slot, url, {"url": url, "body": body})
        if found := await self._line.journal.find(slot, entry.digest):
            return read(json.loads(found.answer))
        if self._line.offline:
            raise NotOnRecord(slot)
        begun = time.monotonic()
        text, requests = await self._send(slot, url, body)
        try:
            value = read(json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            reason = (
                f"{url} answers in another form ({type(error).__name__}: {error}; {text[:80]!r})"
            )
            raise CallFailed(slot, reason, requests) from error
        self._answered.add(url)
        seconds = time.monotonic() - begun
        await self._line.journal.record(
            replace(entry, answer=text, finish="stop", requests=requests, seconds=seconds)
        )
        return value

    async def _send(self, slot: str, url: str, body: dict[str, Any]) -> tuple[str, int]:
        import aiohttp

        problem = ""
        for attempt in range(1, ATTEMPTS + 1):
            async with self._line.limiter.slot(0):
                self._line.budget.start()
                try:
                    limit = aiohttp.ClientTimeout(total=self._timeout)
                    async with (
                        aiohttp.ClientSession(timeout=limit) as session,
                        session.post(url, json=body) as response,
                    ):
                        text, status = (
                            (await response.read()).decode("utf-8", "replace"),
                            response.status,
                        )
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    problem, status, text = reason_of(error), None, ""
                else:
                    problem = f"HTTP {status}: {text[:200]}"
            if status == 200:
                return text, attempt
            if status in (401, 403, 404):
                raise InputError(f"{url} refuses us ({problem}).")
            if not is_passing(status):
                raise CallFailed(slot, problem, attempt)
            if attempt < ATTEMPTS:
                await asyncio.sleep(0.5 * 2 ** (attempt - 1))
        if url not in self._answered:
            raise ProviderDown(f"{url} answers nobody: {problem} ({ATTEMPTS} attempts)")
        raise CallFailed(slot, problem, ATTEMPTS)
