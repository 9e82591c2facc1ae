from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from matrix_graph.llm.limiter import Limiter


async def _work(limiter: Limiter, seen: list[int], delay: float) -> None:
    async with limiter.slot():
        seen.append(limiter.active)
        await asyncio.sleep(delay)


@given(concurrency=st.integers(1, 9), jobs=st.integers(1, 40), cancel=st.sets(st.integers(0, 39)))
@settings(max_examples=40, deadline=None)
def test_never_wider_than_allowed_and_always_drained(
    concurrency: int, jobs: int, cancel: set[int]
) -> None:
    async def main() -> None:
        limiter, seen = Limiter(concurrency), list[int]()
        tasks = [
            asyncio.create_task(_work(limiter, seen, random.random() / 1000)) for _ in range(jobs)
        ]
        await asyncio.sleep(0)
        for n in cancel:
            if n < jobs:
                tasks[n].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert max(seen, default=0) <= concurrency
        assert limiter.active == 0, "a cancelled job kept its place"
        await asyncio.wait_for(_work(limiter, seen, 0), 1)

    asyncio.run(main())


def test_a_rare_429_does_not_narrow_and_many_do() -> None:
    limiter = Limiter(64)
    for n in range(1000):
        limiter.throttled() if n % 50 == 0 else limiter.succeeded()
    assert limiter.width == 64
    for _ in range(20):
        limiter.throttled()
    assert limiter.width <= 4
    for _ in range(64):
        limiter.succeeded()
    assert limiter.width == 64


async def test_the_lowest_rank_goes_first_and_equals_in_their_order() -> None:
    limiter, order = Limiter(1), list[str]()

    async def job(name: str, rank: int) -> None:
        async with limiter.slot(rank):
            order.append(name)

    async with limiter.slot():
        jobs = [job("late", 7), job("first", 2), job("second", 2), job("retry", -1)]
        waiting = [asyncio.create_task(j) for j in jobs]
        await asyncio.sleep(0.01)
    await asyncio.gather(*waiting)
    assert order == ["retry", "first", "second", "late"]
