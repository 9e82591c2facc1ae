"""JSON over HTTP to something that is no chat model, by the same rules: journal, then the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from matrix_graph.errors import CallFailed
from matrix_graph.llm.journal import entry_for
from matrix_graph.llm.line import Line, Request
from matrix_graph.llm.provider import HttpError
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.usage import Usage

if TYPE_CHECKING:
    from aiohttp import ClientSession

T = TypeVar("T")


class Remote:
    """Posts for one context, over one session; what is on record is not asked for again."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._answered: set[str] = set()
        self._session: ClientSession | None = None

    async def post(
        self, slot: Slot, url: str, body: dict[str, Any], read: Callable[[dict[str, Any]], T]
    ) -> T:
        """What `read` makes of the JSON object that `url` answers to `body`.

        Only an answer that could be read goes on record.

        Raises:
            CallFailed: `read` cannot read the answer.
            MatrixError: as `Line.send`; down is a server that has not answered anything yet.
        """
        entry = entry_for(slot.at(1), url, {"url": url, "body": body})
        if recorded := await self._line.journal.find(slot.at(1), entry.digest):
            return read(json.loads(recorded.answer))
        request = Request(slot)

        async def once() -> str:
            return await self._posted(url, body)

        async def alive() -> bool:
            return url in self._answered

        text = await self._line.send(url, request, once, alive)
        try:
            value = read(json.loads(text))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            form = f"{type(error).__name__}: {error}; {text[:80]!r}"
            raise CallFailed(slot, f"{url} answers in another form ({form})", 1) from error
        self._answered.add(url)
        taken = {"requests": request.sent, "seconds": round(request.seconds, 4)}
        entry = replace(entry, answer=text, finish="stop", **taken)  # type: ignore[arg-type]
        await self._line.journal.answered(entry, Usage())
        return value

    async def aclose(self) -> None:
        """Close the session."""
        if self._session:
            await self._session.close()
            self._session = None

    def forget(self) -> None:
        """Begin anew in another event loop; the session of the last one is gone with it."""
        self._session = None

    async def _posted(self, url: str, body: dict[str, Any]) -> str:
        from aiohttp import ClientSession

        self._session = self._session or ClientSession()
        async with self._session.post(url, json=body) as response:
            text = (await response.read()).decode("utf-8", "replace")
            if response.status != 200:
                raise HttpError(response.status, text, response.headers)
            return text
