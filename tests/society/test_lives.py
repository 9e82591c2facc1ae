"""Lives: what an agent acts on next, has in mind and lives for, and on which day."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore

from matrix_graph.context import SETTING, Context
from matrix_graph.llm.journal import Entry
from matrix_graph.memory import Memory
from matrix_graph.memory.records import Records
from matrix_graph.resources import opened
from matrix_graph.schema import End, Group, Scenario
from matrix_graph.society.acquaintances import line_about, with_new
from matrix_graph.society.calendar import day_of, spelt
from matrix_graph.society.graph import create_society
from matrix_graph.society.progress import REACTIONS, advanced, can_act, fresh_progress, trigger_of
from matrix_graph.society.state import STEPS, Outcome
from matrix_graph.society.turn import put_in_mind, query_of
from matrix_graph.testing import FakeChat
from tests.helpers import context, groups, persona


async def lived(
    people: tuple[Group, ...], quota: int, ctx: Context, agents: Any = None
) -> tuple[list[Scenario], dict[str, Entry]]:
    """The scenarios and the calls of a society."""
    store = InMemoryStore()
    graph = create_society(people, agents=agents).compile(store=store)
    config: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 10_000}
    await graph.ainvoke({"quota": quota, "closing": True}, config, context=ctx)
    scenarios: Any = await Records(store, "t").aall("scenarios")
    entries = (await opened(ctx)).journal.entries()
    return scenarios, {entry.slot: entry for entry in entries}


def prompt_of(entry: Entry) -> str:
    return "\n".join(m["content"] for m in json.loads(entry.request)["messages"])


async def test_lives_go_on_for_as_many_scenarios_as_are_asked_for() -> None:
    scenarios, calls = await lived(groups(3, 2, steps=3), 20, context())
    assert len(scenarios) == 20
    last = [s for s in scenarios if s["round"] == 9]
    assert {a["agent"] for s in last for a in s["actions"]} == {f"agent{n}" for n in range(5)}
    begun = [
        (name, life) for s in scenarios for name, lives in s["lives"].items() for life in lives
    ]
    assert {agent for agent, _ in begun} == {f"agent{n}" for n in range(5)}
    for agent, life in begun:
        assert calls[life["call"]].slot.split("/")[-2:] == [agent, "life#1"]
        assert 3 <= len(life["plan"]) <= 8
        turn = f"society/r{life['since'] // STEPS}.s{life['since'] % STEPS}/{agent}/act#1"
        # The turn in which it begins is its first step's.
        assert life["goal"] in prompt_of(calls[turn])
        assert f"The next step of your plan: {life['plan'][0]}" in prompt_of(calls[turn])
    wanted = {s["people"]["agent0"]["goal"] for s in scenarios if "agent0" in s["people"]}
    assert len(wanted) > 2


async def test_where_goals_are_the_end_nobody_takes_another() -> None:
    scenarios, calls = await lived(
        groups(2, steps=2), 9, context(end="goals", communication="none")
    )
    assert len(scenarios) == 1
    assert not any("/life" in slot for slot in calls)


async def test_a_goal_that_is_reached_is_followed_by_another() -> None:
    reached = FakeChat(replies={"What do you do now": "I have it.\nGOAL REACHED"})
    people = groups(1, steps=9)
    scenarios, calls = await lived(people, 2, context(model=reached, communication="none"))
    assert [len(s["actions"]) for s in scenarios] == [3, 3]
    assert sum("/life#" in slot for slot in calls) == 5
    lives = [life for s in scenarios for life in s["lives"]["agent0"]]
    assert [life["since"] for life in lives] == [1, 2, 3, 4, 5]


async def test_whoever_has_reacted_for_a_while_goes_on_with_the_plan() -> None:
    def says(turn: Any) -> str:
        return f"{turn['agent']} in step {turn['step']} tells all."

    reach_all = json.dumps(
        {"deliveries": [{"reason": "near", "recipients": [1, 2], "way": "aloud"}] * 2}
    )
    ctx = context(model=FakeChat(replies={"What was just done": reach_all}))
    people = groups(2, steps=40)
    agents = {m.id: RunnableLambda(says) for m in people[0].members}
    scenarios, _ = await lived(people, 4, ctx, agents)
    for member in people[0].members:
        deeds = [a for s in scenarios for a in s["actions"] if a["agent"] == member.id]
        triggers = [a["trigger"] for a in sorted(deeds, key=lambda a: a["step"])]
        assert triggers == (["goal", *["reaction"] * REACTIONS] * 5)[: len(triggers)]


def outcome(trigger: Any, status: Any, life: Any = None) -> Outcome:
    return Outcome(
        agent="a", text="", trigger=trigger, status=status, answers=[], life=life, doubt="",
        call="", reason="", recalled=[],
    )  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.booleans(), st.sampled_from(["done", "step", "continue", "finished", "failed"])
        ),
        max_size=40,
    ),
    st.sampled_from(["scenarios", "goals"]),
)
def test_an_agent_that_can_act_gets_on_or_ends(turns: list[tuple[bool, Any]], end: End) -> None:
    somebody, progress = persona("a", steps=4), fresh_progress()
    for observes, status in turns:
        if not can_act(somebody, progress, observes, end):
            assert end == "goals" or progress["failures"] >= 3
            return
        trigger = trigger_of(somebody, progress, observes, end)
        assert observes or trigger == "goal"
        before = progress
        progress = advanced(progress, outcome(trigger, status))
        assert progress["plan_step"] - before["plan_step"] == (
            status == "step" or (status == "done" and trigger == "goal")
        )
        if end == "scenarios":
            assert progress["reactions"] <= REACTIONS


async def test_a_reaction_can_get_the_step_done() -> None:
    first = fresh_progress()
    assert advanced(first, outcome("reaction", "step"))["plan_step"] == 1
    assert advanced(first, outcome("reaction", "done"))["plan_step"] == 0


async def test_what_was_done_last_is_in_mind_and_what_just_came_is_not_recalled() -> None:
    scenarios, calls = await lived(groups(4, steps=40), 4, context())
    reactions = 0
    for scenario in scenarios:
        for action in scenario["actions"]:
            prompt = prompt_of(calls[action["call"]])
            own = [
                a["text"] for s in scenarios for a in s["actions"]
                if a["agent"] == action["agent"] and a["step"] < action["step"]
            ]  # fmt: skip
            mind = prompt.split("What you remember", 1)[1].split("\n\n", 1)[0]
            for text in own[-2:]:
                assert mind.count(f"I did this: {text}") == 1
            heard = [
                m["text"] for m in scenario["messages"]
                if m["recipient"] == action["agent"] and m["action"] in action["answers"]
            ]  # fmt: skip
            reactions += bool(heard)
            assert not any(text in mind for text in heard if text not in own)
    assert reactions


async def test_what_one_has_in_mind_does_not_depend_on_who_else_takes_a_turn() -> None:
    ctx = context()
    res = await opened(ctx)
    memory, store = res.memory(InMemoryStore()), ("agent0", "agent1")
    texts = ["I walk to the pier."] * 6 + [f"I mend net {n}." for n in range(4)]
    await memory.aremember(
        [
            Memory(agent, step, 0, f"I did this: {text}", "action", 0.5)
            for agent in store
            for step, text in enumerate(texts)
        ]
    )

    def turn(agent: str, heard: int) -> Any:
        messages = [
            {"id": str(n), "action": str(n), "sender_name": "Cem", "text": f"walk {n}"}
            for n in range(heard)
        ]
        trigger = "reaction" if heard else "goal"
        return {
            "agent": agent, "observations": messages, "trigger": trigger, "date": "2025-01-20",
            "plan_step": "walk to the pier", "life": {"goal": "x"},
        }  # fmt: skip

    alone, beside, other = turn("agent0", 0), turn("agent0", 0), turn("agent1", 9)
    await put_in_mind([alone], [query_of(alone)], memory, ctx, 9)
    await put_in_mind([beside, other], [*map(query_of, (beside, other))], memory, ctx, 9)
    assert alone["memories"] == beside["memories"]
    assert len(set(alone["memories"])) == len(alone["memories"]) == 5, "each text once, and all"
    assert alone["memories"][0].endswith("I mend net 3."), "the last first"


async def test_each_turn_has_its_day_in_the_prompt_and_on_record() -> None:
    ctx = context(start=date(2024, 2, 27), step_days=2)
    scenarios, calls = await lived(groups(2, steps=9), 2, ctx)
    assert [s["date"] for s in scenarios] == ["2024-02-27", "2024-03-04"]
    for scenario in scenarios:
        for action in scenario["actions"]:
            day = day_of(ctx, action["step"])
            assert action["date"] == day.isoformat()
            assert f"Today is {spelt(day)}." in prompt_of(calls[action["call"]])
    late = prompt_of(calls["society/r1.s0/agent0/act#1"])
    assert "- 2 March: I did this" in late
    assert spelt(date(2024, 2, 29)) == "Thursday, 29 February 2024"
    assert day_of(Context(model="none", embeddings="none", step_days=400), 10**9) == date.max


async def test_agents_and_modulators_read_how_the_people_know_each_other() -> None:
    _, calls = await lived(groups(3, steps=9), 1, context())
    act, deliver = calls["society/r0.s0/agent0/act#1"], calls["society/r0.s0/group-001/deliver#1"]
    assert SETTING in prompt_of(act)
    assert SETTING in prompt_of(deliver)
    assert "- Agent1 Doe: agent1 mends nets in a harbour town." in prompt_of(act)
    assert "- Agent0 Doe" not in prompt_of(act)
    _, calls = await lived(groups(3, steps=9), 1, context(setting="They share one boat."))
    assert "They share one boat." in prompt_of(calls["society/r0.s0/agent0/act#1"])


async def test_a_text_reaches_people_with_the_way_it_came() -> None:
    way = {"reason": "she asked her", "recipients": [1], "way": "in a message to you"}
    nobody = {"reason": "alone", "recipients": []}
    reply = json.dumps({"deliveries": [nobody, way]})
    model = FakeChat(replies={"What was just done": reply})
    scenarios, calls = await lived(groups(2, steps=9), 1, context(model=model))
    message = scenarios[0]["messages"][0]
    assert (message["way"], message["reason"]) == ("in a message to you", "she asked her")
    prompt = prompt_of(calls["society/r0.s1/agent0/act#1"])
    assert f"- Agent1 Doe (in a message to you): {message['text']}" in prompt
    assert "she asked her" not in prompt


async def test_what_is_done_beside_a_message_reaches_nobody() -> None:
    deed = "I sold the boat, and wrote to Ana: come on Friday."
    choice = {"reason": "she wrote to her", "recipients": [1], "learnt": "Come on Friday."}
    nobody = {"reason": "alone", "recipients": []}
    replies = {
        "What was just done": json.dumps({"deliveries": [nobody, choice]}),
        "What do you do now": deed,
    }
    model = FakeChat(replies=replies)
    scenarios, calls = await lived(groups(2, steps=9), 1, context(model=model))
    first = [m for m in scenarios[0]["messages"] if m["action"].endswith("s0-agent1")]
    assert [m["text"] for m in first] == ["Come on Friday."]
    prompt = prompt_of(calls["society/r0.s1/agent0/act#1"])
    assert "- Agent1 Doe: Come on Friday." in prompt
    assert "Agent1 Doe: I sold the boat" not in prompt
    assert {a["text"] for a in scenarios[0]["actions"] if a["agent"] == "agent1"} == {deed}


async def test_the_modulator_reads_what_went_before_and_what_answers_what() -> None:
    scenarios, calls = await lived(groups(3, steps=9), 2, context())
    later = prompt_of(calls["society/r1.s0/group-001/deliver#1"])
    assert scenarios[0]["summary"] in later
    answering = [a for a in scenarios[0]["actions"] if a["answers"] and a["step"] == 1]
    shown = prompt_of(calls["society/r0.s1/group-001/deliver#1"])
    names = {m.id: m.name for m in groups(3)[0].members}
    assert answering
    assert all(f"{names[a['agent']]}, having heard " in shown for a in answering)


async def test_news_holds_what_reaches_the_others_and_no_more() -> None:
    item = {"reason": "posted", "action": 1, "groups": [1], "learnt": "The pump is sold."}
    replies = {
        "Other groups:": json.dumps({"items": [item]}),
        "News from other groups:": '{"deliveries": [{"reason": "trade", "recipients": [1]}]}',
    }
    scenarios, calls = await lived(
        groups(1, 1, steps=9), 4, context(model=FakeChat(replies=replies))
    )
    later = [m for s in scenarios if s["round"] == 1 for m in s["messages"]]
    assert [m["text"] for m in later] == ["The pump is sold."] * 2
    assert "Agent1 Doe: The pump is sold." in prompt_of(calls["society/r1.s0/agent0/act#1"])
    outgoing = [d for s in scenarios for d in s["deliveries"] if d["scope"] == "outgoing"]
    assert {d["learnt"] for d in outgoing} == {"The pump is sold."}


async def test_of_one_action_each_group_learns_its_own_part() -> None:
    items = [
        {"reason": "near", "action": 1, "groups": [1]},
        {"reason": "posted", "action": 1, "groups": [2, 1], "learnt": "Only the post."},
        {"reason": "posted", "action": 2, "groups": [1, 2]},
    ]
    model = FakeChat(replies={"Other groups:": json.dumps({"items": items})})
    scenarios, calls = await lived(groups(1, 1, 1, steps=9), 6, context(model=model))
    asked = [prompt_of(e) for slot, e in calls.items() if "/r1/" in slot and "receive" in slot]
    assert len(asked) == 3
    for prompt in asked:
        news = prompt.split("News from other groups:")[1].split("For each item")[0]
        # Two groups have two neighbours each, and of each action a group hears once.
        assert news.count("Only the post.") == 2
        assert len(news.strip().splitlines()) == 4
    first = [a["text"] for s in scenarios if s["round"] == 0 for a in s["actions"] if not a["step"]]
    assert not [p for p in asked for text in first if text in p]


async def test_a_society_that_may_go_on_sends_its_news() -> None:
    store, ctx = InMemoryStore(), context()
    graph = create_society(groups(2, 2, steps=9)).compile(checkpointer=InMemorySaver(), store=store)
    config: Any = {"configurable": {"thread_id": "t"}}
    for quota in (2, 4, 6):
        await graph.ainvoke({"quota": quota}, config, context=ctx)
    slots = [entry.slot for entry in (await opened(ctx)).journal.entries()]
    assert sum("/exchange" in slot for slot in slots) == 6


async def test_the_modulator_reads_what_people_live_for_now() -> None:
    scenarios, calls = await lived(groups(2, steps=3), 4, context())
    lives = [life for s in scenarios for life in s["lives"].get("agent0", [])]
    late = prompt_of(calls["society/r3.s2/group-001/deliver#1"])
    assert f"Goal: {[life for life in lives if life['since'] < 11][-1]['goal']}" in late
    assert "own a boat called agent0" not in late


async def test_whom_one_hears_of_elsewhere_one_knows() -> None:
    replies = {
        "Other groups:": '{"items": [{"reason": "they trade", "action": 1, "groups": [1]}]}',
        "News from other groups:": '{"deliveries": [{"reason": "trade", "recipients": [1]}]}',
    }
    scenarios, calls = await lived(
        groups(1, 1, steps=9), 4, context(model=FakeChat(replies=replies))
    )
    (asked,) = (e for slot, e in calls.items() if slot.endswith("r1/group-001/receive#1"))
    (first,) = (s for s in scenarios if s["id"] == "group-001-r0")
    assert f"How it stood before: {first['summary']}" in prompt_of(asked)
    before, after = (prompt_of(calls[f"society/r{r}.s0/agent0/act#1"]) for r in (0, 1))
    assert "Agent1 Doe" not in before.split("What you remember")[0]
    known = after.split("What you remember")[0]
    assert "- Agent1 Doe: agent1 mends nets in a harbour town. (in another group" in known


@given(st.lists(st.text(max_size=3), max_size=9), st.lists(st.text(max_size=3), max_size=9))
def test_people_of_others_are_few_and_each_once(known: list[str], new: list[str]) -> None:
    kept = with_new(with_new([], known), new)
    assert len(kept) == len(set(kept)) <= 5
    assert {*list(dict.fromkeys(new))[-5:]} <= set(kept)


def test_a_line_about_somebody_is_one_line() -> None:
    line = line_about("Ana\n2. Ben", "mends nets. " * 50)
    assert "\n" not in line
    assert len(line) <= 162


CHANCES = {"setbacks": "does not go as planned", "outreach": "turn to people whom you know"}


@pytest.mark.parametrize("what", CHANCES)
async def test_what_comes_by_chance_comes_as_often_as_asked_for(what: str) -> None:
    for share in (0.0, 0.5, 1.0):
        options = {"setbacks": 0.0, "outreach": 0.0, what: share}
        _, calls = await lived(groups(10, steps=9), 3, context(communication="none", **options))
        acts = [prompt_of(entry) for slot, entry in calls.items() if "/act#" in slot]
        assert len(acts) == 90
        assert abs(sum(CHANCES[what] in prompt for prompt in acts) - 90 * share) <= 20 * (
            share == 0.5
        )
        assert not any(text in p for p in acts for text in {*CHANCES.values()} - {CHANCES[what]})


async def test_no_news_leaves_a_group_in_the_last_round() -> None:
    _, calls = await lived(groups(2, 2, steps=9), 4, context())
    assert {slot.split("/")[1] for slot in calls if "/exchange" in slot} == {"r0"}


async def test_an_action_that_could_not_be_is_asked_for_once_again_with_the_reason() -> None:
    verdict = json.dumps({"reason": "she has no boat", "plausible": False})
    replies = {
        "Could this have happened": verdict,
        "That could not have happened: she has no boat": "I walk to the pier.",
        "What do you do now": "I sail out.",
    }
    ctx = context(model=FakeChat(replies=replies), plausible=True, communication="none")
    scenarios, calls = await lived(groups(1, steps=9), 1, ctx)
    actions = scenarios[0]["actions"]
    assert [a["text"] for a in actions] == ["I walk to the pier."] * 3
    assert {a["doubt"] for a in actions} == {"she has no boat"}
    assert all(a["call"].endswith("/again#1") for a in actions)
    assert "I sail out." in prompt_of(calls["society/r0.s0/agent0/check#1"])
    replies["Could this have happened"] = json.dumps({"reason": "so it goes", "plausible": True})
    ctx = context(model=FakeChat(replies=replies), plausible=True, communication="none")
    scenarios, _ = await lived(groups(1, steps=9), 1, ctx)
    assert [a["text"] for a in scenarios[0]["actions"]] == ["I sail out."] * 3
    assert not any("doubt" in a for a in scenarios[0]["actions"])
    # A second answer that does not come leaves the first.
    replies["Could this have happened"] = verdict
    replies["That could not have happened: she has no boat"] = ""
    ctx = context(model=FakeChat(replies=replies), plausible=True, communication="none")
    scenarios, _ = await lived(groups(1, steps=9), 1, ctx)
    assert [a["text"] for a in scenarios[0]["actions"]] == ["I sail out."] * 3
    assert {a["doubt"] for a in scenarios[0]["actions"]} == {"she has no boat"}
    # A check that fails holds nobody up.
    replies["Could this have happened"] = "who knows"
    ctx = context(model=FakeChat(replies=replies), plausible=True, communication="none")
    scenarios, _ = await lived(groups(1, steps=9), 1, ctx)
    assert [a["text"] for a in scenarios[0]["actions"]] == ["I sail out."] * 3


async def test_the_check_reads_what_somebody_has_just_become_aware_of() -> None:
    way = {"reason": "a post", "recipients": [1], "way": "in a post", "learnt": "40 kg of flour."}
    nobody = {"reason": "alone", "recipients": []}
    replies = {"What was just done": json.dumps({"deliveries": [nobody, way]})}
    ctx = context(model=FakeChat(replies=replies), plausible=True)
    _, calls = await lived(groups(2, steps=9), 1, ctx)
    check = prompt_of(calls["society/r0.s1/agent0/check#1"])
    assert "Agent1 Doe (in a post): 40 kg of flour." in check
