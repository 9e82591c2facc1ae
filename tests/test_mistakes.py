"""Wrong arguments of public functions: each says what to do, and none shows what is inside."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from matrix_graph import (
    ChromaStore,
    Context,
    Group,
    ModulatedState,
    Persona,
    Profile,
    Records,
    RunConfig,
    add_modulator,
    build_groups,
    create_filter,
    create_generator,
    create_matrix,
    create_society,
    human_agent,
    load_profiles,
    run,
)
from matrix_graph.errors import InputError
from matrix_graph.testing import FakeChat, FakeEmbeddings
from tests.helpers import context, groups

PEOPLE = groups(2)
FIRST = PEOPLE[0].members[0].id
HERE = Path(__file__).parent
PROFILE = Profile("p", "Ana", "A baker.")
HASTY = Persona(PROFILE, "blunt", "to rest", "a plan")  # type: ignore[arg-type]


ONE: Any = {"quota": 1}


def lived(given: Any, ctx: Any = None, store: BaseStore | None = None) -> Any:
    graph = create_society(PEOPLE).compile(store=store)
    return graph.ainvoke(given, context=ctx)


def here(given: Any, **options: Any) -> Any:
    return lived(given, context(**options), InMemoryStore())


def peopled(agents: Any) -> Any:
    return create_society(PEOPLE, agents=agents)


def whole(**given: Any) -> Any:
    graph = create_matrix(PEOPLE).compile(store=InMemoryStore())
    return graph.ainvoke(ONE | given, context=context())


def modulated(state: Any) -> Any:
    return add_modulator(StateGraph(state), {"a": "b"}, context=context())


def alone(agents: Any) -> Any:
    graph = peopled(agents).compile(store=InMemoryStore())
    return graph.ainvoke(ONE, context=context())


def written(scenario: Any) -> Any:
    given: Any = {"requirements": [{"kind": "sft", "count": 1}], "scenarios": [scenario]}
    return create_generator().compile().ainvoke(given, context=context())


def kept(rows: Any) -> Any:
    return create_filter().compile().ainvoke({"rows": rows})


MISTAKES: dict[str, tuple[Callable[[], Any], str]] = {
    "an arm that there is not": (lambda: context(communication="foo"), "'structured', 'random'"),
    "a modulator that there is not": (lambda: context(modulator="foo"), "'batched', 'per_action'"),
    "a number for a model": (lambda: context(model=5), "model: Input should be a valid string"),
    "a number for embeddings": (lambda: context(embeddings=5), "embeddings"),
    "a function for a model": (lambda: context(model=print), "model"),
    "no calls at once": (lambda: context(concurrency=0), "greater than 0"),
    "a model of nowhere": (lambda: here(ONE, model="foo"), "openai:NAME"),
    "no context": (lambda: lived(ONE, None, InMemoryStore()), "Pass a context"),
    "no store": (lambda: lived(ONE, context()), "with a store"),
    "no quota": (lambda: here({}), "quota"),
    "words for a quota": (lambda: here({"quota": "two"}), "quota is 'two'"),
    "less than nothing": (lambda: here({"quota": -1}), "quota is -1"),
    "no groups": (lambda: create_society(None), "needs groups"),  # type: ignore[arg-type]
    "people for groups": (lambda: create_society(PEOPLE[0].members), "takes a list of Groups"),  # type: ignore[arg-type]
    "a group twice": (lambda: create_society([*PEOPLE, *PEOPLE]), "an id of its own"),
    "a list of agents": (lambda: peopled([print]), "maps persona ids"),
    "a word for an agent": (lambda: peopled({FIRST: "x"}), "is a str"),
    "agents of strangers": (lambda: peopled({"who": print}), "No member has the id who"),
    "no requirements": (whole, "wanted"),
    "a kind that there is not": (lambda: whole(wanted=[{"kind": "foo", "count": 1}]), "kind"),
    "no count": (lambda: whole(wanted=[{"kind": "sft"}]), "count: Field required"),
    "no steps": (lambda: create_filter([]), "needs steps"),
    "a word for a step": (lambda: create_filter(["form"]), "is no step"),  # type: ignore[list-item]
    "rows without ids": (lambda: kept([{"prompt": "x"}]), "has no id"),
    "no rows": (lambda: create_filter().compile().ainvoke({"earlier": []}), "needs 'rows'"),
    "a file that there is not": (lambda: load_profiles("nowhere.jsonl"), "nowhere.jsonl"),
    "no profiles": (lambda: build_groups([], context()), "there are no profiles"),
    "no store of records": (lambda: Records(None, "x"), "reads a LangGraph store"),  # type: ignore[arg-type]
    "records that there are not": (lambda: Records(InMemoryStore(), "x").all("foo"), "samples"),  # type: ignore[arg-type]
    "options for a configuration": (lambda: run({"agents": 4}), "takes a RunConfig"),  # type: ignore[arg-type]
    "a folder of others": (lambda: run(RunConfig(out=HERE)), "no run|new folder"),
    "a graph of another state": (lambda: modulated(dict), "ModulatedState"),
    "one group": (lambda: create_society(PEOPLE[0]), "takes a list of Groups"),  # type: ignore[arg-type]
    "profiles for members": (lambda: create_society([Group("x", (PROFILE,))]), "are Personas"),  # type: ignore[arg-type]
    "a plan in one piece": (lambda: create_society([Group("x", (HASTY,))]), "several steps"),
    "profiles with the bad rows": (
        lambda: build_groups(load_profiles(), context()),  # type: ignore[arg-type]
        "profiles, bad_rows = load_profiles",
    ),
    "a person without a checkpointer": (
        lambda: alone({FIRST: human_agent()}),
        "compile the graph with a checkpointer",
    ),
    "a person who is not made": (lambda: peopled({FIRST: human_agent}), "lacks its parentheses"),
    "an agent that says a number": (lambda: alone({FIRST: lambda turn: 5}), "returned 5; it must"),
    "an agent that says nothing": (lambda: alone({FIRST: lambda turn: None}), "returned None"),
    "no embeddings": (lambda: here(ONE, embeddings="none"), "No embedding model is named"),
    "options for a context": (lambda: lived(ONE, RunConfig(), InMemoryStore()), "not RunConfig"),
    "a scenario without actions": (lambda: written({"id": "s", "agents": []}), "needs 'actions'"),
    "an action without a text": (
        lambda: written({"id": "s", "agents": ["a"], "actions": [{"id": "1", "agent": "a"}]}),
        "needs 'id', 'agent' and 'text'",
    ),
    "nobody who routes": (
        lambda: add_modulator(StateGraph(ModulatedState), {"a": "b"}, context=None),  # type: ignore[arg-type]
        "says who routes",
    ),
    "a list of nodes": (
        lambda: add_modulator(StateGraph(ModulatedState), ["a"], context=context()),  # type: ignore[arg-type]
        "maps names of nodes",
    ),
    "no steps for the modulator": (
        lambda: add_modulator(StateGraph(ModulatedState), {"a": "b"}, context=context(), steps=0),
        "act at least once",
    ),
    "resume in the configuration": (lambda: RunConfig(resume=True), "^resume: it goes to the"),  # type: ignore[call-arg]
    "a misspelt option": (lambda: RunConfig(scenarois=3), "did you mean scenarios"),  # type: ignore[call-arg]
    "an index that is misspelt": (
        lambda: ChromaStore(index={"dims": 2, "embed": len, "field": []}),  # type: ignore[arg-type]
        "index= has no field, but dims",
    ),
    "another distance": (
        lambda: ChromaStore(index={"dims": 2, "embed": len, "distance_type": "l2"}),  # type: ignore[arg-type]
        "has cosine",
    ),
    "a time to live that is misspelt": (lambda: ChromaStore(ttl={"default": 5}), "ttl= has no"),  # type: ignore[arg-type]
    "words for a time to live": (
        lambda: ChromaStore().put(("a",), "b", {}, ttl="x"),  # type: ignore[arg-type]
        "ttl is 'x'",
    ),
    "agents that are no nodes": (lambda: modulated(ModulatedState), "no node a"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(mistake: str) -> None:
    make, words = MISTAKES[mistake]
    with pytest.raises(InputError, match=words):
        asyncio.run(_done(make))


async def _done(make: Callable[[], Any]) -> None:
    made = make()
    if inspect.isawaitable(made):
        await made


@pytest.mark.parametrize("model", ["retry", "bind", "both"])
async def test_a_model_may_have_something_around_it(model: str) -> None:
    chat = FakeChat()
    around: dict[str, Any] = {
        "retry": chat.with_retry(),
        "bind": chat.bind(stop=["X"]),
        "both": chat.bind(stop=["X"]).with_retry(),
    }
    ctx = Context(model=around[model], embeddings=FakeEmbeddings())
    assert (await lived(ONE, ctx, InMemoryStore()))["produced"] == 1
    assert chat.calls
