"""Answers of servers: read up to a limit, however they are packed, and from no other address than
the one that was named.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from functools import cache
from typing import Any

CHAT_LONGEST = 4 << 20
"""Bytes of a chat answer; a million tokens, nearly."""
EMBEDDINGS_LONGEST = 64 << 20
"""Bytes of a batch of vectors."""
SCORES_LONGEST = 1 << 20
"""Bytes of what a reward server says of one row."""
PACKED = "gzip"
"""The one packing that is asked for."""


class BadBody(OSError):
    """A server's answer that is not read to its end."""


def client_options(longest: int) -> dict[str, Any]:
    """Options of an `httpx` client by which it follows no redirect and reads no more than so many
    bytes of an answer.
    """

    async def bound(response: Any) -> None:
        encoding = response.headers.pop("content-encoding", "")
        response.headers.pop("content-length", None)
        kind = _stream_of(type(response).__module__.partition(".")[0])
        response.stream = kind(response.stream, encoding, longest)

    hooks: Mapping[str, list[Callable[[Any], Awaitable[None]]]] = {"response": [bound]}
    headers = {"accept-encoding": PACKED}
    return {"follow_redirects": False, "event_hooks": hooks, "headers": headers}


async def read_body(chunks: AsyncIterable[bytes], encoding: str, longest: int) -> bytes:
    """All that comes, unpacked.

    Raises:
        BadBody: it is longer than that, or packed in another way.
    """
    return b"".join([part async for part in unpacked(chunks, encoding, longest)])


async def unpacked(
    chunks: AsyncIterable[bytes], encoding: str, longest: int
) -> AsyncIterator[bytes]:
    """The parts of an answer as they come; errors as `read_body`."""
    unpack = _unpacking(encoding)
    left = longest
    async for chunk in chunks:
        for part in unpack(chunk, left + 1):
            left -= len(part)
            if left < 0:
                raise BadBody(f"the answer is longer than {longest:,} bytes")
            yield part


def _unpacking(encoding: str) -> Callable[[bytes, int], list[bytes]]:
    if encoding.strip().lower() in ("", "identity"):
        return lambda chunk, _: [chunk]
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        raise BadBody(f"the answer is packed as {encoding[:40]!r}, which was not asked for")
    # Its header says which of the two it is.
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)

    def unpack(chunk: bytes, most: int) -> list[bytes]:
        try:
            return [unpacker.decompress(chunk, most)]
        except zlib.error as error:
            raise BadBody(f"the answer cannot be unpacked: {error}") from None

    return unpack


@cache
def _stream_of(package: str) -> Any:
    """A stream as `httpx`, or the fork of it that the client uses, takes one."""
    base = sys.modules[package].AsyncByteStream

    class Bounded(base):  # type: ignore[misc, valid-type]
        """A stream that ends at a limit."""

        def __init__(self, stream: Any, encoding: str, longest: int) -> None:
            self._stream, self._encoding, self._longest = stream, encoding, longest

        def __aiter__(self) -> AsyncIterator[bytes]:
            return unpacked(self._stream, self._encoding, self._longest)

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Bounded
