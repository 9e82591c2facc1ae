from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from matrix_graph.errors import ProviderDown
from matrix_graph.llm.embedder import REQUESTS, Embedder
from matrix_graph.llm.journal import Journal
from matrix_graph.testing import FakeEmbeddings


class Slow(FakeEmbeddings):
    """Embeddings that take a moment; `requests` holds the texts of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[list[str]] = []
        self.peak = self.active = 0

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        self.requests.append(texts)
        self.active += 1
        self.peak = max(self.peak, self.active)
        await asyncio.sleep(0.02)
        self.active -= 1
        return self.embed_documents(texts)


class Gone(FakeEmbeddings):
    """Embeddings that nobody answers for."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise ConnectionError("nobody there")


async def test_those_who_ask_at_once_share_requests_and_each_text_goes_once() -> None:
    model = Slow()
    embedder = Embedder(model)
    asked = [embedder.embed([f"text {n % 90}", f"text {n % 90 + 1}"]) for n in range(300)]
    found = await asyncio.gather(*asked)
    assert len(model.requests) <= REQUESTS + 1
    assert set(model.texts.values()) == {1}
    alone = Embedder(FakeEmbeddings())
    for n, vectors in enumerate(found):
        assert np.array_equal(vectors, await alone.embed([f"text {n % 90}", f"text {n % 90 + 1}"]))


async def test_no_more_requests_at_once_than_allowed_nor_texts_in_one() -> None:
    model = Slow()
    embedder = Embedder(model, batch=10)
    await asyncio.gather(*(embedder.embed([f"text {n}"]) for n in range(200)))
    assert model.peak <= REQUESTS
    assert max(map(len, model.requests)) <= 10


async def test_a_recorded_text_needs_no_model_and_gives_the_same_vector(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.sqlite")
    first = await Embedder(FakeEmbeddings(), journal=journal).embed(["a net", "", "a boat"])
    journal.close()
    journal = Journal(tmp_path / "j.sqlite")
    again = await Embedder(_named(Gone()), journal=journal).embed(["", "a boat", "a net"])
    assert np.array_equal(again, first[[1, 2, 0]])
    journal.close()


async def test_a_failure_reaches_all_who_asked_and_the_next_may_try_again() -> None:
    embedder = Embedder(Gone())
    results = await asyncio.gather(
        *(embedder.embed([f"t{n}"]) for n in range(5)), return_exceptions=True
    )
    assert {type(result) for result in results} == {ProviderDown}
    embedder.model = FakeEmbeddings()
    assert (await embedder.embed(["t1"])).shape == (1, 64)


async def test_one_who_gives_up_does_not_take_the_others_along() -> None:
    embedder = Embedder(Slow())
    first, second = (
        asyncio.create_task(embedder.embed(["x"])),
        asyncio.create_task(embedder.embed(["x"])),
    )
    await asyncio.sleep(0.005)
    first.cancel()
    assert (await second).shape == (1, 64)
    with pytest.raises(asyncio.CancelledError):
        await first


def _named(model: FakeEmbeddings) -> FakeEmbeddings:
    model.model = "FakeEmbeddings"  # type: ignore[attr-defined]
    return model


def test_what_broke_off_with_one_event_loop_does_not_stop_the_next() -> None:
    embedder = Embedder(Slow(), batch=1)

    async def broken_off() -> None:
        waiting = asyncio.create_task(embedder.embed([f"t{n}" for n in range(20)]))
        await asyncio.sleep(0.005)
        waiting.cancel()

    asyncio.run(broken_off())

    async def again() -> int:
        async with asyncio.timeout(5):
            return len(await embedder.embed([f"t{n}" for n in range(20)]))

    assert asyncio.run(again()) == 20


async def test_closing_cancels_who_waits() -> None:
    embedder = Embedder(Slow(), batch=1)
    waiting = asyncio.create_task(embedder.embed([f"t{n}" for n in range(20)]))
    await asyncio.sleep(0.005)
    await embedder.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_too_few_vectors_are_told() -> None:
    class Short(FakeEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return super().embed_documents(texts)[:-1]

    with pytest.raises(ProviderDown, match="2 texts gave vectors of shape"):
        await Embedder(Short()).embed(["a", "b"])
