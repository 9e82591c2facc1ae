"""Small makers of data that several tests need."""

from __future__ import annotations

from typing import Any

from matrix_graph.context import Context
from matrix_graph.llm.slot import Slot
from matrix_graph.schema import Action, Group, Persona, Profile, Row, Scenario
from matrix_graph.testing import FakeChat, FakeEmbeddings


def persona(name: str, steps: int = 4) -> Persona:
    profile = Profile(
        name,
        f"{name.title()} Doe",
        f"{name} mends nets in a harbour town.",
        ("first post", "second post"),
    )
    return Persona(
        profile,
        "calm",
        f"own a boat called {name}",
        tuple(f"step {n} of {name}" for n in range(steps)),
    )


def groups(*sizes: int, steps: int = 4) -> tuple[Group, ...]:
    numbers = iter(range(1000))
    return tuple(
        Group(f"group-{g:03}", tuple(persona(f"agent{next(numbers)}", steps) for _ in range(size)))
        for g, size in enumerate(sizes, 1)
    )


def context(**options: Any) -> Context:
    return Context(**{"model": FakeChat(), "embeddings": FakeEmbeddings()} | options)


def sft(row_id: str, prompt: str, answer: str = "Take the early ferry and carry cash.") -> Row:
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    return {"id": row_id, "kind": "sft", "messages": messages}


def scenario(number: int, agents: list[str], summary: str, *, steps: int = 1) -> Scenario:
    """A scenario in which everybody acts on what the summary says."""
    actions = [
        Action(
            id=f"s{number}-{agent}" + (f"-{step}" if step else ""),
            agent=agent,
            step=step,
            text=f"{agent} acts on {summary}",
            trigger="goal",
            recipients=[],
            reason="",
            call="",
        )
        for agent in agents
        for step in range(steps)
    ]
    return Scenario(
        id=f"s{number}",
        group=f"g{number % 2}",
        round=number,
        agents=agents,
        actions=actions,
        summary=summary,
    )


def slot(who: str) -> Slot:
    """Some place in the work."""
    return Slot(stage="persona", who=who)
