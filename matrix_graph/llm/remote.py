"""JSON over HTTP to something that is no chat model, by the same rules: journal, then the line."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from matrix_graph.boundary.bodies import PACKED, SCORES_LONGEST, read_body
from matrix_graph.boundary.secrets import redacted, remember, without_keys
from matrix_graph.boundary.values import read_json
from matrix_graph.errors import CallFailed
from matrix_graph.llm.journal import entry_for
from matrix_graph.llm.line import Line, Request
from matrix_graph.llm.provider import HttpError
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.usage import Usage

if TYPE_CHECKING:
    from aiohttp import ClientSession

T = TypeVar("T")
KEY = "REWARD_API_KEY"
"""In the environment: the key of reward servers that want one."""


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
            return read(read_json(recorded.answer))
        request = Request(slot)

        async def once() -> str:
            return await self._posted(url, body)

        async def alive() -> bool:
            return url in self._answered

        text = await self._line.send(url, request, once, alive)
        try:
            value = read(read_json(text))
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            form = f"{type(error).__name__}: {error}; {redacted(text[:200])[:80]!r}"
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

        self._session = self._session or ClientSession(auto_decompress=False, headers=_headers())
        async with self._session.post(url, json=body, allow_redirects=False) as response:
            chunks = response.content.iter_chunked(1 << 16)
            encoding = response.headers.get("content-encoding", "")
            content = await read_body(chunks, encoding, SCORES_LONGEST)
            text = without_keys(content.decode("utf-8", "replace"))
            if response.status != 200:
                raise HttpError(response.status, text, response.headers)
            return text


def _headers() -> dict[str, str]:
    key = remember(os.environ.get(KEY, ""))
    return {"accept-encoding": PACKED} | ({"authorization": f"Bearer {key}"} if key else {})
