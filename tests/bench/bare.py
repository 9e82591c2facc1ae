"""What everything is measured against: calls of a default `ChatOpenAI`."""

from __future__ import annotations

import asyncio
import time

PROMPT = "You are a person in a small society. " * 55
"""About as long as an agent's prompt."""


async def bare(url: str, calls: int, slots: int) -> dict[str, float]:
    """So many calls, `slots` at a time: CPU milliseconds for each, and seconds for all."""
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    model = ChatOpenAI(base_url=url, api_key=SecretStr("x"), model="fake")
    gate = asyncio.Semaphore(slots)

    async def one(n: int) -> None:
        async with gate:
            await model.ainvoke(
                [{"role": "system", "content": PROMPT}, {"role": "user", "content": f"Act {n}."}]
            )

    await one(0)
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(calls)))
    return {"cpu": (time.process_time() - cpu) * 1000 / calls, "wall": time.perf_counter() - wall}
