from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.memory.records import Records
from matrix_graph.resources import opened
from matrix_graph.schema import Group, Scenario
from matrix_graph.society.agent import outcome_of
from matrix_graph.society.graph import create_society
from matrix_graph.society.state import STEPS
from matrix_graph.testing import FakeChat
from tests.helpers import context, groups, persona


async def _live(
    people: tuple[Group, ...], quota: int, ctx: Context, **options: Any
) -> tuple[dict[str, Any], list[Scenario]]:
    store = InMemoryStore()
    graph = create_society(people, **options).compile(checkpointer=InMemorySaver(), store=store)
    result = await graph.ainvoke(
        {"quota": quota}, {"configurable": {"thread_id": "t"}}, context=ctx
    )
    return dict(result), await Records(store, "t").aall("scenarios")  # type: ignore[return-value]


def _turn(text: str, *, observed: bool = False) -> Any:
    turn: Any = {
        "agent": "a",
        "round": 0,
        "step": 0,
        "trigger": "reaction" if observed else "goal",
        "plan_step": "s",
        "observations": [],
        "memories": [],
    }
    if observed:
        turn["observations"] = [
            {
                "id": "m",
                "action": "m",
                "sender": "b",
                "sender_name": "B",
                "recipient": "a",
                "text": "x",
                "reason": "",
            }
        ]
    return outcome_of(turn, text, "call")


async def test_each_group_closes_a_scenario_every_three_steps() -> None:
    result, scenarios = await _live(groups(3, 2), 4, context())
    assert result["produced"] == 4 == len(scenarios)
    assert {(s["group"], s["round"]) for s in scenarios} == {
        (f"group-00{g}", r) for g in (1, 2) for r in (0, 1)
    }
    for s in scenarios:
        assert {a["step"] // STEPS for a in s["actions"]} == {s["round"]}
        assert len({a["id"] for a in s["actions"]}) == len(s["actions"]) <= len(s["agents"]) * STEPS
        assert s["summary"]
    assert result["acted"] == sum(len(s["actions"]) for s in scenarios)


async def test_who_observed_reacts_and_who_did_not_goes_on_with_the_plan() -> None:
    _, scenarios = await _live(groups(3, steps=9), 1, context())
    (scenario,) = scenarios
    heard = {(m["recipient"], int(m["id"].split("-s")[1][0])) for m in scenario["messages"]}
    for action in scenario["actions"]:
        expected = "reaction" if (action["agent"], action["step"] - 1) in heard else "goal"
        assert action["trigger"] == expected
    assert {a["trigger"] for a in scenario["actions"]} == {"reaction", "goal"}


async def test_messages_go_to_the_recipients_of_the_action_with_its_reason() -> None:
    _, scenarios = await _live(groups(4), 1, context())
    for action in scenarios[0]["actions"]:
        got = [m for m in scenarios[0]["messages"] if m["id"].startswith(action["id"] + ">")]
        assert [m["recipient"] for m in got] == action["recipients"]
        assert action["agent"] not in action["recipients"]
        assert all(m["reason"] == action["reason"] for m in got)
        assert len({m["text"] for m in got}) <= 1


@pytest.mark.parametrize("modulator", ["batched", "per_action"])
async def test_every_action_is_on_record_with_whom_it_reached_and_who_was_left_out(
    modulator: str,
) -> None:
    _, scenarios = await _live(groups(3, 2, steps=9), 8, context(modulator=modulator))
    scopes = Counter[str]()
    for s in scenarios:
        members = set(s["people"])
        within = {d["action"]: d for d in s["deliveries"] if d["scope"] == "within"}
        assert within.keys() == {a["id"] for a in s["actions"]}
        for action in s["actions"]:
            delivery = within[action["id"]]
            assert delivery["recipients"] == action["recipients"]
            assert {*delivery["recipients"], *delivery["left_out"], action["agent"]} == members
            assert not {*delivery["recipients"]} & {*delivery["left_out"], action["agent"]}
            assert delivery["reason"]
            assert delivery["call"]
        incoming = [d for d in s["deliveries"] if d["scope"] == "incoming"]
        assert all({*d["recipients"], *d["left_out"]} == members for d in incoming)
        scopes.update(d["scope"] for d in s["deliveries"])
        messages = {(m["id"].rsplit(">", 1)[0], m["recipient"]) for m in s["messages"]}
        told = {
            (d["action"] + f">{s['group']}" * (d["scope"] == "incoming"), r)
            for d in s["deliveries"]
            for r in d["recipients"]
            if d["scope"] != "outgoing"
        }
        assert messages == told
    assert scopes.keys() == {"within", "incoming", "outgoing"}


async def test_per_action_asks_once_for_each_action() -> None:
    calls = {}
    for modulator in ("batched", "per_action"):
        ctx = context(modulator=modulator)
        await _live(groups(4, 4, steps=9), 2, ctx)
        slots = [e.slot for e in (await opened(ctx)).journal.entries()]
        calls[modulator] = [sum(f"/{what}" in s for s in slots) for what in ("deliver", "exchange")]
    assert calls == {"batched": [6, 2], "per_action": [24, 24]}


async def test_one_route_that_fails_leaves_the_others_of_the_step() -> None:
    people = groups(3, steps=9)
    replies = {"1. Agent1 Doe": "no JSON"}
    _, scenarios = await _live(
        people, 1, context(modulator="per_action", model=FakeChat(replies=replies))
    )
    (scenario,) = scenarios
    assert [f["stage"] for f in scenario["failures"]] == ["route"] * 3
    decided = {d["sender"] for d in scenario["deliveries"] if d["scope"] == "within"}
    assert decided == {"agent0", "agent2"}


async def test_control_arms_deliver_the_same_number_or_nothing() -> None:
    people = groups(6, steps=9)
    only_first: dict[str, Any] = {
        m.id: RunnableLambda(lambda turn: f"{turn['agent']} works. CONTINUE")
        for m in people[0].members
    }
    counts = {}
    for arm in ("structured", "random", "none"):
        _, scenarios = await _live(people, 1, context(communication=arm), agents=only_first)
        firsts = [a for a in scenarios[0]["actions"] if a["step"] == 0]
        counts[arm] = [len(a["recipients"]) for a in firsts]
        assert len(firsts) == 6
    assert counts["structured"] == counts["random"]
    assert sum(counts["structured"]) > 0 == sum(counts["none"])


async def test_news_travels_between_groups_and_is_acted_on_in_the_next_scenario() -> None:
    replies = {
        "Other groups:": '{"items": [{"reason": "they trade", "action": 1, "groups": [1]}]}',
        "News from other groups:": (
            '{"deliveries": [{"reason": "it concerns him", "recipients": [1]}]}'
        ),
    }
    _, scenarios = await _live(groups(1, 1), 4, context(model=FakeChat(replies=replies)))
    later = [s for s in scenarios if s["round"] == 1]
    assert len(later) == 2
    for s in later:
        first = min(s["actions"], key=lambda a: a["step"])
        assert first["trigger"] == "reaction"
        (message,) = s["messages"]
        assert message["reason"] == "it concerns him"
        assert message["sender"] not in s["agents"]


async def test_a_secret_act_reaches_nobody() -> None:
    secret = (
        '{"deliveries": [' + ", ".join(['{"reason": "done alone", "recipients": []}'] * 3) + "]}"
    )
    _, scenarios = await _live(
        groups(3), 1, context(model=FakeChat(replies={"What was just done": secret}))
    )
    assert scenarios[0]["messages"] == []
    assert {a["reason"] for a in scenarios[0]["actions"]} == {"done alone"}


async def test_a_society_ends_when_everybody_is_done() -> None:
    people = groups(2, steps=2)
    result, scenarios = await _live(people, 50, context(communication="none", end="goals"))
    assert result["produced"] == 1
    assert len(scenarios[0]["actions"]) == 4
    done: dict[str, Any] = {
        m.id: RunnableLambda(lambda turn: "I am there.\nGOAL REACHED") for m in people[0].members
    }
    result, scenarios = await _live(people, 50, context(), agents=done)
    assert [len(s["actions"]) for s in scenarios] == [2]


async def test_one_failing_agent_is_a_reason_and_not_a_crash() -> None:
    people = groups(3, steps=9)

    def broken(turn: Any) -> str:
        raise ConnectionResetError("the wire is cut")

    agents = {people[0].members[1].id: RunnableLambda(broken)}
    result, scenarios = await _live(people, 1, context(communication="none"), agents=agents)
    assert result["acted"] == 6
    assert result["failed"] == 3
    assert [f["reason"] for f in scenarios[0]["failures"]] == [
        "ConnectionResetError: the wire is cut"
    ] * 3


async def test_a_society_of_failing_agents_ends() -> None:
    people = groups(2, steps=9)

    def broken(turn: Any) -> str:
        raise OSError("gone")

    agents = {m.id: RunnableLambda(broken) for m in people[0].members}
    result, scenarios = await _live(people, 5, context(), agents=agents)
    assert scenarios == []
    assert result["failed"] == 6, "three times each, then they are out"


async def test_every_agent_is_a_named_node_of_its_group() -> None:
    twins = (persona("ana"), persona("ana2"), persona("modulator"))
    graph = create_society((Group("g1", twins),)).compile()
    inside = dict(graph.get_subgraphs())["g1"].get_graph().nodes
    assert {"Ana Doe", "Ana2 Doe", "Modulator Doe", "modulator", "scenario"} <= set(inside)


def test_hostile_names_cannot_break_the_graph() -> None:
    import dataclasses

    names = ["a|b:c", "__start__", "modulator", "", "modulator", "x" * 500, "<script>", "\n"]
    people = tuple(
        dataclasses.replace(p, profile=dataclasses.replace(p.profile, name=name))
        for name, p in zip(names, (persona(f"p{i}") for i in range(len(names))), strict=True)
    )
    create_society((Group("g", people),)).compile()


@pytest.mark.parametrize(
    ("text", "status", "body"),
    [
        ("I bake.", "done", "I bake."),
        ("I bake.\nCONTINUE", "continue", "I bake."),
        ("I bake.\n\n**GOAL REACHED**", "finished", "I bake."),
        ("I bake.\nSTEP DONE", "step", "I bake."),
        ("I CONTINUE to bake.", "done", "I CONTINUE to bake."),
        ("CONTINUE", "failed", ""),
    ],
)
def test_the_status_is_read_from_the_last_line(text: str, status: str, body: str) -> None:
    outcome = _turn(text)
    assert (outcome["status"], outcome["text"]) == (status, body)


def test_a_reaction_is_marked_so() -> None:
    assert _turn("I run.", observed=True)["trigger"] == "reaction"


async def test_memories_of_the_past_reach_the_prompt_and_the_future_does_not() -> None:
    ctx = context()
    await _live(groups(1, steps=9), 2, ctx)
    journal = (await opened(ctx)).journal
    first, last = (
        journal.entries("society/r0.s0/agent0")[0],
        journal.entries("society/r1.s2/agent0")[0],
    )
    assert "first post" in first.request
    assert "I did this" not in first.request
    assert "I did this" in last.request


@pytest.mark.parametrize("people", [(), (Group("g", (persona("a"),)), Group("g", (persona("b"),)))])
def test_a_society_that_cannot_be_is_refused(people: tuple[Group, ...]) -> None:
    with pytest.raises(InputError):
        create_society(people)


def test_agents_for_strangers_are_refused() -> None:
    with pytest.raises(InputError, match="nobody"):
        create_society(groups(1), agents={"nobody": RunnableLambda(str)})


async def test_a_missing_store_or_context_is_told() -> None:
    graph = create_society(groups(1)).compile()
    with pytest.raises(InputError, match="Compile the graph with a store"):
        await graph.ainvoke({"quota": 1}, context=context())
    with pytest.raises(InputError, match="Pass a context"):
        await create_society(groups(1)).compile(store=InMemoryStore()).ainvoke({"quota": 1})


async def test_checkpoints_do_not_grow_with_history() -> None:
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    saver = InMemorySaver()
    graph = create_society(groups(2, 2, steps=40)).compile(
        checkpointer=saver, store=InMemoryStore()
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({"quota": 16}, config, context=context())
    sizes = [
        len(JsonPlusSerializer().dumps_typed(s.values)[1])
        for s in graph.get_state_history(config)
        if "router" in s.next
    ]
    assert len(sizes) >= 8
    assert max(sizes) <= 2 * sorted(sizes)[len(sizes) // 2]
