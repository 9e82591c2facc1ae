"""Texts to unit vectors, each text once, however many ask for it at the same time.

Texts that wait while requests are under way go together into the next one. Vectors are rounded to
float16, which is also how they are kept: recall is then the same whether a vector came from the
model, the journal or the store.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from matrix_graph.errors import InputError, ProviderDown
from matrix_graph.llm.journal import Journal, digest_of
from matrix_graph.llm.models import name_of
from matrix_graph.llm.offline import NotOnRecord
from matrix_graph.llm.provider import fault_of

_HALF = 0.01
"""How far a unit vector of halves may be from one."""
REQUESTS = 4
"""Requests to the embedding model at the same time."""

Vector = NDArray[np.float32]
_Wanted = tuple[str, asyncio.Future[Vector]]


class Embedder:
    """An embedding model that remembers what it has embedded.

    Args:
        model: Any LangChain embeddings.
        journal: Keeps the vectors, so that a text is paid for once and a run replays without the
            model.
        batch: Texts per request.
        offline: Give only what is on record.
        keep: How many vectors stay in the process for texts that come again.
    """

    def __init__(
        self,
        model: Embeddings,
        *,
        journal: Journal | None = None,
        batch: int = 256,
        keep: int = 4_000,
        offline: bool = False,
    ) -> None:
        self.model = model
        self.name = name_of(model)
        self._journal = journal
        self._batch = batch
        self._keep = keep
        self._offline = offline
        self._known: dict[str, Vector] = {}
        self._asked: dict[str, asyncio.Future[Vector]] = {}
        self._queue: deque[_Wanted] = deque()
        self._workers: set[asyncio.Task[None]] = set()
        self._dims = 0

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors (to the precision of float16) of shape (len(texts), dimensions); the zero
        vector stays zero.

        Raises:
            NotOnRecord: we are offline.
            ProviderDown: the model answers with an error.
            InputError: the provider refuses us.
        """
        if not texts:
            return np.zeros((0, 0), dtype=np.float32)
        vectors = {text: self._known[text] for text in texts if text in self._known}
        new = [text for text in dict.fromkeys(texts) if text not in vectors]
        if new and self._journal is not None:
            digests = {self._digest(text): text for text in new}
            recorded = await self._journal.vectors(list(digests))
            for digest, content in recorded.items():
                if (vector := self._decoded(content)) is not None:
                    vectors[digests[digest]] = vector
            new = [text for text in new if text not in vectors]
        if new and self._offline:
            raise NotOnRecord(f"a vector of {new[0][:80]!r}")
        if new:
            asked = [self._ask(text) for text in new]
            await asyncio.wait(asked)
            vectors.update(zip(new, (future.result() for future in asked), strict=True))
        self._known.update((text, vectors[text]) for text in dict.fromkeys(texts))
        while len(self._known) > self._keep:
            self._known.pop(next(iter(self._known)))
        return np.stack([vectors[text] for text in texts])

    async def known(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text's vector is on record, so that no model is needed for it."""
        digests = [self._digest(text) for text in texts]
        recorded = await self._journal.vectors(digests) if self._journal is not None else {}
        return [
            text in self._known or digest in recorded
            for text, digest in zip(texts, digests, strict=True)
        ]

    async def aclose(self) -> None:
        """Give up the requests under way; whoever waits for them is cancelled."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for _, future in self._queue:
            future.cancel()
        self.forget()

    def forget(self) -> None:
        """Begin anew in another event loop; whoever waited in the last one is gone with it."""
        self._asked.clear()
        self._queue.clear()
        self._workers.clear()

    def _ask(self, text: str) -> asyncio.Future[Vector]:
        if text not in self._asked:
            self._asked[text] = asyncio.get_running_loop().create_future()
            self._queue.append((text, self._asked[text]))
            if len(self._workers) < REQUESTS:
                worker = asyncio.create_task(self._work())
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)
        return self._asked[text]

    async def _work(self) -> None:
        # The others of this turn of the loop may still be about to ask.
        await asyncio.sleep(0)
        while self._queue:
            part = [self._queue.popleft() for _ in range(min(self._batch, len(self._queue)))]
            try:
                vectors = await self._request([text for text, _ in part])
                for (_, future), vector in zip(part, vectors, strict=True):
                    future.set_result(vector)
            except Exception as error:  # noqa: BLE001 (whoever asked gets it)
                for _, future in part:
                    future.set_exception(error)
                    future.exception()
            except asyncio.CancelledError:
                part += [self._queue.popleft() for _ in range(len(self._queue))]
                raise
            finally:
                for text, future in part:
                    future.cancel()
                    self._asked.pop(text, None)

    async def _request(self, texts: list[str]) -> NDArray[np.float32]:
        try:
            raw = np.asarray(
                await self.model.aembed_documents([t or " " for t in texts]), dtype=np.float32
            )
            if raw.ndim != 2 or len(raw) != len(texts) or not np.isfinite(raw).all():
                raise ValueError(f"{len(texts)} texts gave vectors of shape {raw.shape}")
            self._dims = self._dims or raw.shape[1]
            if raw.shape[1] != self._dims:
                raise InputError(
                    f"{self.name} gives vectors of {raw.shape[1]} dimensions; those before, or on "
                    f"record, have {self._dims}."
                )
        except InputError:
            raise
        except Exception as error:
            fault = fault_of(error)
            if fault is None:
                raise
            if fault.kind == "refused":
                raise InputError(f"The provider refuses {self.name}: {fault.reason}") from error
            raise ProviderDown(f"The embedding model {self.name} fails: {fault.reason}") from error
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        halves = np.divide(raw, norms, out=np.zeros_like(raw), where=norms > 0).astype("<f2")
        if self._journal is not None:
            self._journal.record_vectors(
                {self._digest(t): v.tobytes() for t, v in zip(texts, halves, strict=True)}
            )
        vectors: NDArray[np.float32] = halves.astype(np.float32)
        return vectors

    def _decoded(self, content: bytes) -> Vector | None:
        """The vector on record; None where that is no unit vector of ours, nor zero."""
        if not content or len(content) % 2:
            return None
        vector = np.frombuffer(content, dtype="<f2").astype(np.float32)
        norm = float(np.linalg.norm(vector))
        if not (abs(norm - 1) < _HALF or norm == 0) or len(vector) != (self._dims or len(vector)):
            return None
        self._dims = len(vector)
        return vector

    def _digest(self, text: str) -> str:
        return digest_of(f"{self.name}\0{text}")
