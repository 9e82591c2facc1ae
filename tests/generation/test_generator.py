from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.store.memory import InMemoryStore

from matrix_graph.generation.graph import create_generator
from matrix_graph.generation.retrieval import PASSES, Taken, next_sources, ordered_sources
from matrix_graph.generation.writer import cleaned
from matrix_graph.llm.embedder import Embedder
from matrix_graph.llm.structured import Malformed
from matrix_graph.schema import Scenario
from matrix_graph.testing import FakeChat, FakeEmbeddings
from tests.helpers import context, scenario

SCENARIOS = [
    scenario(n, ["ana", "bo"], text)
    for n, text in enumerate(["a storm at sea", "bread and ovens", "a ledger"])
]


async def test_a_users_own_scenarios_become_rows_with_provenance() -> None:
    graph = create_generator().compile()
    wanted = [{"kind": "sft", "count": 4}, {"kind": "dpo", "count": 2}]
    result = await graph.ainvoke(
        {"requirements": wanted, "scenarios": SCENARIOS}, context=context()
    )
    assert [r["kind"] for r in result["rows"]] == ["sft"] * 4 + ["dpo"] * 2
    assert result["taken"] == {"sft": [(3, 4)], "dpo": [(3, 2)]}
    for row in result["rows"]:
        origin = row["provenance"]
        assert origin["actions"] == [f"{origin['scenario_id']}-{origin['agent_id']}"]
        assert len(origin["calls"]) == (2 if row["kind"] == "sft" else 3)
    sft, dpo = result["rows"][0], result["rows"][-1]
    assert [m["role"] for m in sft["messages"]] == ["user", "assistant"]
    assert [m["role"] for m in dpo["prompt"] + dpo["chosen"] + dpo["rejected"]] == [
        "user",
        "assistant",
        "assistant",
    ]
    assert dpo["chosen"] != dpo["rejected"]


@given(
    st.lists(st.tuples(st.integers(1, 4), st.integers(1, 9)), min_size=1, max_size=6),
    st.sampled_from([None, "the sea"]),
)
@settings(deadline=None, max_examples=60)
def test_no_source_is_taken_twice_however_the_society_grows(
    steps: list[tuple[int, int]], domain: str | None
) -> None:
    async def grown() -> None:
        embedder = Embedder(FakeEmbeddings())
        lived: list[Scenario] = []
        taken: list[Taken] = []
        ids: list[str] = []
        for number, (more, count) in enumerate(steps):
            for k in range(more):
                fresh = scenario(10 * number + k, ["ana", "bo"], f"news {k}")
                fresh["round"] = number
                # As the store gives them: in the order of their ids, not of their rounds.
                lived = [fresh, *lived]
            sources, taken = await next_sources(lived, domain, embedder, 1, count, taken)
            ids += [source.id for source in sources]
        rest, taken = await next_sources(lived, domain, embedder, 1, 1_000, taken)
        ids += [source.id for source in rest]
        assert len(ids) == len(set(ids)) == 2 * len(lived) * PASSES
        assert sum(number for _, number in taken) == len(ids)

    asyncio.run(grown())


async def test_a_later_batch_takes_other_sources_until_none_is_left() -> None:
    graph, taken, seen = create_generator().compile(), dict[str, list[Taken]](), list[str]()
    for _ in range(10):
        given: Any = {
            "requirements": [{"kind": "sft", "count": 7}],
            "scenarios": SCENARIOS,
            "taken": taken,
        }
        result = await graph.ainvoke(given, context=context())
        taken = result["taken"]
        seen += [row["id"] for row in result["rows"]]
    assert len(seen) == len(set(seen)) == 6 * PASSES


async def test_even_sampling_asks_everybody_before_anybody_twice() -> None:
    sources = await ordered_sources(SCENARIOS, None, Embedder(FakeEmbeddings()), seed=1)
    assert {s.agent for s in sources[:2]} == {"ana", "bo"}
    assert {(s.scenario["id"], s.agent) for s in sources[:6]} == {
        (s["id"], a) for s in SCENARIOS for a in s["agents"]
    }


async def test_a_domain_comes_first() -> None:
    sources = await ordered_sources(
        SCENARIOS, "ovens and bread", Embedder(FakeEmbeddings()), seed=0
    )
    assert sources[0].scenario["id"] == "s1"


class Sulking(FakeChat):
    """Says nothing for one person's moment, wherever in the prompt it stands."""

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        if any("ana acts on a ledger" in str(message.text) for message in messages):
            return ChatResult(generations=[ChatGeneration(message=AIMessage(""))])
        return super()._generate(messages, *args, **kwargs)


async def test_a_failing_call_is_a_failure_and_the_others_go_on() -> None:
    given: Any = {"requirements": [{"kind": "sft", "count": 6}], "scenarios": SCENARIOS}
    result = await create_generator().compile().ainvoke(given, context=context(model=Sulking()))
    assert len(result["rows"]) == 5
    (failure,) = result["failures"]
    assert (failure["stage"], failure["who"]) == ("generate", "sft-s2-ana-0")
    assert failure["reason"] == "the answer was empty"
    assert failure["call"] == "generate/s2-ana-0/sft/instruction"
    assert result["taken"] == {"sft": [(3, 6)]}


async def test_scenarios_come_from_the_store_by_default() -> None:
    store = InMemoryStore()
    for lived in SCENARIOS:
        store.put(("scenarios", "run"), lived["id"], dict(lived))
    graph = create_generator().compile(store=store)
    result = await graph.ainvoke({"requirements": [{"kind": "sft", "count": 3}]}, context=context())
    assert len(result["rows"]) == 3


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ('"How do I fix it?"', "How do I fix it?"),
        ("User: hi there", "hi there"),
        ('He said "no" and "yes"', 'He said "no" and "yes"'),
    ],
)
def test_an_instruction_is_freed_of_labels_and_quotes(text: str, clean: str) -> None:
    assert cleaned(text) == clean


def test_an_instruction_of_nothing_is_malformed() -> None:
    with pytest.raises(Malformed):
        cleaned('user:  ""')


def _many(agents: int, rounds: int) -> list[Scenario]:
    people = [f"agent{n}" for n in range(agents)]
    return [
        scenario(r * 100 + g, people[g * 5 : g * 5 + 5], f"bread and ovens, day {r}")
        for r in range(rounds)
        for g in range(agents // 5)
    ]


async def test_what_comes_first_does_not_depend_on_how_many_are_needed() -> None:
    scenarios = _many(20, 4)
    every = await ordered_sources(scenarios, "ovens", Embedder(FakeEmbeddings()), seed=0)
    assert len(every) == len(set(map(str, every))) == 80 * PASSES
    for need in (1, 7, 80, 81, 200):
        some = await ordered_sources(
            scenarios, "ovens", Embedder(FakeEmbeddings()), seed=0, need=need
        )
        assert len(some) >= need
        assert some[:need] == every[:need]


async def test_relevant_sources_are_spread_over_people_and_scenarios() -> None:
    first = await ordered_sources(
        _many(20, 4), "ovens", Embedder(FakeEmbeddings()), seed=0, need=20
    )
    assert len({source.agent for source in first[:20]}) >= 15
    assert len({source.scenario["id"] for source in first[:20]}) >= 10
