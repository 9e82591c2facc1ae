"""What a society costs, against bare `ChatOpenAI` calls: a part of `make bench`.

Every part runs in a process of its own against a server in another: bare calls, and societies with
everything on (Chroma on disk, journal, checkpoints, modulators, embeddings from the server).
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from matrix_graph import ChromaStore, Context, Group, Persona, create_society, load_profiles, opened, sample_profiles
from tests.bench.machine import resident_mb

PROMPT = "x" * 2000


async def _bare(url: str, calls: int, slots: int) -> dict[str, float]:
    """Default `ChatOpenAI` calls with prompts as long as an agent's."""
    from langchain_openai import ChatOpenAI
    from pydantic import SecretStr

    model = ChatOpenAI(base_url=url, api_key=SecretStr("x"), model="fake")
    gate = asyncio.Semaphore(slots)

    async def one(n: int) -> None:
        async with gate:
            await model.ainvoke([{"role": "system", "content": PROMPT}, {"role": "user", "content": f"{n}"}])

    await one(0)
    cpu, wall = time.process_time(), time.perf_counter()
    await asyncio.gather(*(one(n) for n in range(calls)))
    return {"cpu": (time.process_time() - cpu) * 1000 / calls, "wall": time.perf_counter() - wall}


def _people(agents: int) -> tuple[Group, ...]:
    profiles = sample_profiles(load_profiles()[0], agents, seed=0)
    rng = random.Random(0)
    people = [
        Persona(
            p,
            "warm and blunt",
            f"to be known for {p.description}",
            tuple(f"step {n}, {rng.random()}" for n in range(40)),
        )
        for p in profiles
    ]
    return tuple(Group(f"group-{n // 5:04}", tuple(people[n : n + 5])) for n in range(0, agents, 5))


async def _society(url: str, agents: int, rounds: int, slots: int) -> dict[str, float]:
    """`rounds` scenarios of every group; CPU from the first round on, without what opening costs."""
    groups = _people(agents)
    with tempfile.TemporaryDirectory() as folder:
        context = Context(
            model="openai:fake",
            embeddings="openai:fake",
            base_url=url,
            concurrency=slots,
            journal=Path(folder, "journal.sqlite"),
        )
        res = await opened(context)
        store: Any = ChromaStore(Path(folder, "chroma"))
        config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 100_000}
        async with AsyncSqliteSaver.from_conn_string(str(Path(folder, "checkpoints.sqlite"))) as saver:
            graph = create_society(groups, agent_checkpoints=False).compile(checkpointer=saver, store=store)
            start = time.process_time(), time.perf_counter()
            first: tuple[float, float] | None = None
            async for mode, part in graph.astream(
                {"quota": len(groups) * rounds},
                config,
                context=context,
                stream_mode=["custom", "values"],
                subgraphs=False,
            ):
                if mode == "values":
                    result = part
                if first is None and mode == "values" and "round" in part:
                    first = time.process_time(), time.perf_counter()
            assert first is not None
            cpu, wall = time.process_time() - first[0], time.perf_counter() - first[1]
            opening = first[1] - start[1], first[0] - start[0]
        entries = res.journal.entries("society")
        store.close()
        failed = sum(e.finish == "failed" for e in entries)
        from collections import Counter

        c = Counter(
            e.slot.split("#")[0].split("/")[-1]
            if e.slot.split("#")[0].split("/")[-1] in ("deliver", "exchange", "summary", "receive")
            else "act"
            for e in entries
        )
        print(c, file=sys.stderr)
        return {
            "calls": len(entries),
            "cpu": cpu * 1000 / len(entries),
            "wall": wall,
            "failed": failed,
            "acted": result["acted"],
            "lost": result["failed"],
            "scenarios": result["produced"],
            "opening": opening[0],
            "opening_cpu": opening[1],
            "memory": resident_mb(),
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


if __name__ == "__main__":
    part, arguments = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps(asyncio.run({"bare": _bare, "society": _society}[part](**arguments))))
