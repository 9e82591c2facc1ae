"""JSON over HTTP to something that is no chat model, by the same rules: journal first, then limiter and retries."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from typing import Any

from matrix_graph.errors import CallFailed, InputError, ProviderDown
from matrix_graph.llm.caller import ATTEMPTS, Line
from matrix_graph.llm.journal import entry_for
from matrix_graph.llm.provider import is_passing, reason_of


class Remote:
    """Posts for one run; an answer that is on record is not asked for again."""

    def __init__(self, line: Line, *, timeout: float) -> None:
        self._line = line
        self._timeout = timeout

    async def post(self, slot: str, url: str, body: dict[str, Any]) -> dict[str, Any]:
        """The JSON object that `url` answers to `body`.

        Raises:
            CallFailed: it refuses this request, or answers something else.
            ProviderDown: it answers nobody.
            InputError: it refuses us for good.
        """
        entry = entry_for(slot, url, {"url": url, "body": body})
        found = await self._line.journal.find(slot, entry.digest)
        if not found:
            begun = time.monotonic()
            text, requests = await self._send(slot, url, body)
            found = replace(entry, answer=text, finish="stop", requests=requests, seconds=time.monotonic() - begun)
            await self._line.journal.record(found)
        answer = json.loads(found.answer)
        if not isinstance(answer, dict):
            raise CallFailed(slot, f"{url} answers no JSON object", found.requests)
        return answer

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
                        text, status = await response.text(), response.status
                except (aiohttp.ClientError, TimeoutError, OSError) as error:
                    problem, status, text = reason_of(error), None, ""
                else:
                    problem = f"HTTP {status}: {text[:200]}"
            if status == 200:
                try:
                    return json.dumps(json.loads(text)), attempt
                except ValueError as error:
                    raise CallFailed(slot, f"{url} answers no JSON ({error})", attempt) from error
            if status in (401, 403, 404):
                raise InputError(f"{url} refuses us ({problem}).")
            if not is_passing(status):
                raise CallFailed(slot, problem, attempt)
            if attempt < ATTEMPTS:
                await asyncio.sleep(0.5 * 2 ** (attempt - 1))
        if status is None:
            raise ProviderDown(f"{url} answers nobody: {problem} ({ATTEMPTS} attempts)")
        raise CallFailed(slot, problem, ATTEMPTS)
