"""A society inside somebody's app: a harbour lives for a while, and a node reads what happened.

    cd examples/society_in_an_app && langgraph dev

Give the run its models in `context`, such as `{"model": "openai:gpt-4.1-mini", "embeddings":
"openai:text-embedding-3-small"}`, and as input `{"quota": 2}`. Requests name no server:
MATRIX_GRAPH_BASE_URL does.
"""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from matrix_graph import Group, Persona, Profile, Records, create_society
from matrix_graph.resources import run_name
from matrix_graph.served import ServedContext

PEOPLE = {
    "Ana Perić": "repairs outboard engines and keeps the key of the fuel shed",
    "Ben Okoro": "runs the fish auction and settles quarrels about berths",
    "Cem Aydın": "teaches sailing to children and borrows everybody's boats",
}
PLAN = ("see who needs help today", "bring the matter up", "agree on what to do")


def _person(number: int, name: str, work: str) -> Persona:
    profile = Profile(f"p{number}", name, f"{name} {work}.", (f"Today again: {work}.",))
    return Persona(profile, "practical", "a harbour that works", PLAN)


HARBOUR = Group("harbour", tuple(_person(n, *who) for n, who in enumerate(PEOPLE.items())))


class Diary(TypedDict, total=False):
    """How many scenarios to live, and what comes of it."""

    quota: int
    produced: int
    pages: list[str]


async def write(state: Diary, runtime: Runtime[ServedContext]) -> dict[str, Any]:
    """A page a scenario, from what the society left in the store."""
    assert runtime.store
    scenarios = await Records(runtime.store, run_name(runtime.context)).aall("scenarios")
    return {"pages": [scenario["summary"] for scenario in scenarios]}


builder = StateGraph(Diary, ServedContext)
builder.add_node("society", create_society([HARBOUR]).compile(name="society"))
builder.add_node("write", write)
builder.add_edge(START, "society")
builder.add_edge("society", "write")
builder.add_edge("write", END)
