"""A run under way: held, looked at, amended, branched, and let go on, with nothing asked twice."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from matrix_graph.amendments import AmendmentKind
from matrix_graph.boundary.screen import TextConsole
from matrix_graph.context import Context
from matrix_graph.debugger.branch import (
    afork_run,
    areplay_run,
    asked_anew,
    copy_run,
    diff_runs,
    preference_pair,
)
from matrix_graph.debugger.debugger import Debugger
from matrix_graph.debugger.snapshot import record_of
from matrix_graph.debugger.sources import LiveRun
from matrix_graph.errors import CapReached, InputError
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.tasks import run_sync
from matrix_graph.memory.records import Records
from matrix_graph.pipeline import create_matrix
from matrix_graph.resources import aclose
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.moments import Moment
from matrix_graph.runs.record import RunRecord, asked
from matrix_graph.runs.runner import arun, run
from matrix_graph.schema import Group, Persona
from matrix_graph.society.graph import create_society
from matrix_graph.society.own_agents import human_agent
from matrix_graph.terminal.screen import Screen
from matrix_graph.testing import FakeChat, FakeServer, Faults
from tests.helpers import context, groups

pytestmark = pytest.mark.slow

SOCIETY = groups(3, 2)
CONFIG: Any = {"configurable": {"thread_id": "t"}, "recursion_limit": 1_000}


def live(
    quota: int = 4, ctx: Context | None = None, store: InMemoryStore | None = None
) -> Debugger:
    graph = create_society(SOCIETY).compile(
        checkpointer=InMemorySaver(), store=store or InMemoryStore()
    )
    return Debugger(
        graph, {"quota": quota}, groups=SOCIETY, context=ctx or context(), config=CONFIG
    )


def given(server: FakeServer, out: Path, **options: Any) -> RunConfig:
    fake = {"model": "openai:fake", "embeddings": "openai:fake", "base_url": server.url, "out": out}
    return RunConfig.model_validate(
        {"agents": 6, "group_size": 3, "scenarios": 4, "rows": 2, **fake, **options}
    )


def turns(debugger: Debugger) -> list[Moment]:
    return list(iter(debugger.agent, None))


def test_stepping_makes_the_same_run_as_not_stepping() -> None:
    plain, stepped = InMemoryStore(), InMemoryStore()
    graph = create_society(SOCIETY).compile(store=plain)
    run_sync(graph.ainvoke({"quota": 4}, {"recursion_limit": 1_000}, context=context()))
    with live(store=stepped) as debugger:
        seen = turns(debugger)
    scenarios = run_sync(Records(plain, "run").aall("scenarios"))
    assert run_sync(Records(stepped, "t").aall("scenarios")) == scenarios
    assert sorted(m.id for m in seen) == sorted(a["id"] for s in scenarios for a in s["actions"])
    assert sorted(debugger.of.scenarios, key=lambda s: s["id"]) == scenarios
    assert debugger.over
    assert debugger.of.result["produced"] == 4  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_way_every_turn_is_passed_once(seed: int) -> None:
    rng = random.Random(seed)
    with live() as debugger:
        debugger.break_on("agent", rng.choice(SOCIETY[0].members).name)
        debugger.break_on("to", rng.choice(SOCIETY[1].members).id)
        moves = (
            debugger.agent,
            debugger.step,
            debugger.scenario,
            debugger.run,
            lambda: debugger.agent(-2),
        )
        while not debugger.over:
            moment = rng.choice(moves)()
            assert moment is None or moment is debugger.moment
        ids = [m.id for m in debugger.moments]
    made = [a["id"] for s in debugger.of.scenarios for a in s["actions"]]
    assert len(set(ids)) == len(ids)
    assert sorted(ids) == sorted(made)
    told = {a["id"]: a["recipients"] for s in debugger.of.scenarios for a in s["actions"]}
    assert {m.id: m.action["recipients"] for m in debugger.moments if m.action} == told


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        ("agent", "agent1"),
        ("group", "group-002"),
        ("to", "agent2"),
        ("text", r"\d\d"),
        ("failure", ""),
    ],
)
def test_a_breakpoint_holds_the_run_where_it_says(kind: str, what: str) -> None:
    model = FakeChat(replies={"You have in mind: step 1 of agent0": "CONTINUE"})
    with live(ctx=context(model=model)) as debugger:
        debugger.break_on(kind, what)
        stops = [moment.id for moment in iter(debugger.run, None)]
        record = debugger.moments

        def holds(m: Moment) -> bool:
            told = m.action["recipients"] if m.action else []
            text = m.action["text"] if m.action else ""
            return {
                "agent": m.agent == what,
                "group": m.scenario["group"] == what,
                "to": what in told,
                "text": any(a.isdigit() and b.isdigit() for a, b in pairwise(text)),
                "failure": m.failure is not None,
            }[kind]

    assert stops
    assert sorted(stops) == sorted(m.id for m in record if holds(m))


def at_rest(model: FakeChat) -> int:
    """The number of calls, once what was in flight elsewhere is back."""
    calls = -1
    while calls != model.calls:
        calls = model.calls
        time.sleep(0.5)
    return calls


def test_while_it_is_held_nothing_goes_on(server: FakeServer, tmp_path: Path) -> None:
    with Debugger(LiveRun(given(server, tmp_path / "run"))) as debugger:
        debugger.agent()
        time.sleep(0.3)
        before, turns = sum(server.requests.values()), len(debugger.moments)
        time.sleep(0.5)
        assert sum(server.requests.values()) == before
        assert len(debugger.moments) == turns == 1
        assert debugger.held
        debugger.finish()
        assert debugger.over
        assert not debugger.held
        assert debugger.of.result.complete


def test_an_edited_action_is_what_happened(tmp_path: Path) -> None:
    store, ctx = InMemoryStore(), context(journal=tmp_path / "journal.sqlite", end="goals")
    with live(ctx=ctx, store=store) as debugger:
        debugger.agent(2)
        before = debugger.here
        after = debugger.amend(debugger.change("action", "I sank the boat. GOAL REACHED"))
        assert (after.id, after.action and after.action["text"]) == (before.id, "I sank the boat.")
        assert debugger.held
        debugger.finish()
        scenarios = debugger.of.scenarios
    action = next(a for s in scenarios for a in s["actions"] if a["id"] == before.id)
    assert action["text"] == "I sank the boat."
    heard = [m for s in scenarios for m in s["messages"] if m["id"].startswith(f"{before.id}>")]
    assert all(m["text"] == "I sank the boat." for m in heard)
    assert not [
        a
        for s in scenarios
        for a in s["actions"]
        if a["agent"] == before.agent and a["step"] > before.step
    ]
    assert run_sync(Records(store, "t").aall("scenarios")) == sorted(
        scenarios, key=lambda s: s["id"]
    )
    run_sync(aclose(ctx))
    again, model = InMemoryStore(), FakeChat()
    graph = create_society(SOCIETY).compile(store=again)
    replay = context(model=model, journal=tmp_path / "journal.sqlite", end="goals")
    run_sync(graph.ainvoke({"quota": 4}, CONFIG, context=replay))
    assert model.calls == 0
    assert run_sync(Records(again, "t").aall("scenarios")) == run_sync(
        Records(store, "t").aall("scenarios")
    )


def changes(debugger: Debugger) -> Iterator[tuple[AmendmentKind, str]]:
    """Of each kind one that the turn at which we stand allows."""
    moment = debugger.here
    yield "action", ""
    if moment.action and (recalled := moment.action.get("recalled")):
        yield "memory", recalled[0]["memory"]
    for message in debugger.inbox(moment):
        yield "message", message["id"]
    yield "plan", "2"


def test_held_where_a_life_begins_one_sees_it_and_changes_none_of_its_steps() -> None:
    ctx = context(communication="none")
    with live(quota=8, ctx=ctx) as debugger:
        while moment := debugger.agent():
            life = debugger.life(debugger.person(moment.agent), moment.step)
            if life["since"] == moment.step:
                break
            steps = len(life["plan"])
        assert moment, "plans of four steps are over in the second scenario"
        assert life["call"].endswith(f"{moment.agent}/life#1")
        assert steps == 4
        with pytest.raises(InputError, match="there are none"):
            debugger.change("plan", "sail to Split", "1")
        later = debugger.agent()
        while later and later.agent != moment.agent:
            later = debugger.agent()
        assert later
        assert debugger.life(debugger.person(later.agent), later.step) == life
        assert debugger.change("plan", "sail to Split", "2")


def changed(debugger: Debugger, kind: AmendmentKind, what: str) -> str:
    """Another text; a memory's is still near to what brought it up, so that it comes up again."""
    before = debugger.of.memories(debugger.here.agent)[what].text if kind == "memory" else ""
    return f"{before} The zeppelin over the salt works".strip()


@pytest.mark.parametrize("kind", ["memory", "message", "plan"])
def test_what_is_amended_is_in_the_prompt_and_before_it_nothing_is_asked_again(
    kind: AmendmentKind,
) -> None:
    model = FakeChat()
    with live(ctx=context(model=model)) as debugger:
        debugger.agent()
        debugger.step()
        while kind not in (found := dict(changes(debugger))):
            assert debugger.agent()
        before, calls = debugger.here, at_rest(model)
        old = debugger.of.call(before.call)
        assert old
        text = changed(debugger, kind, found[kind])
        after = debugger.amend(debugger.change(kind, text, found[kind]))
        new = debugger.of.call(after.call)
        assert new
        assert text in asked(new)[-1]["content"] + asked(new)[0]["content"]
        assert text not in old.request
        assert model.calls == calls + 1
        if kind == "memory":
            assert debugger.of.memories(before.agent)[found[kind]].text == text
        if kind == "message":
            known = [m.text for m in debugger.of.memories(before.agent).values()]
            assert any(text in m for m in known)
            debugger.amend(debugger.change(kind, "the zeppelin is gone", found[kind]))
            known = [m.text for m in debugger.of.memories(before.agent).values()]
            assert not any(text in m for m in known)
            assert any("the zeppelin is gone" in m for m in known)
        debugger.finish()
        if kind == "message":
            heard = next(
                m for s in debugger.of.scenarios for m in s["messages"] if m["id"] == found[kind]
            )
            assert heard["text"] == "the zeppelin is gone"


@pytest.mark.parametrize("kind", ["action", "memory", "message", "plan"])
def test_a_fork_of_a_run_that_is_over_asks_nothing_up_to_the_change(
    kind: AmendmentKind, server: FakeServer, tmp_path: Path
) -> None:
    run(given(server, tmp_path / "run"))
    debugger = Debugger(RunRecord(tmp_path / "run"))
    debugger.go(debugger.moments[-1].scenario["id"])
    while kind not in (found := dict(changes(debugger))):
        assert debugger.agent()
    before = sum(server.requests.values())
    here = debugger.here
    own = "|".join(
        m.id for g in debugger.of.groups if g.id == here.scenario["group"] for m in g.members
    )
    steps = "|".join(str(n) for n in range(here.step % 3)) or "none"
    before_the_change = rf"/r{here.scenario['round']}/s({steps})/({own})#"
    change = debugger.change(kind, "the zeppelin over the salt works", found[kind])
    with debugger.fork(change, tmp_path / "branch") as there:
        assert there.here.id == debugger.here.id
        assert sum(server.requests.values()) - before <= (kind != "action")
        there.finish()
        known = {(entry.slot, entry.digest) for entry in debugger.of.entries()}
        new = [
            entry.slot for entry in there.of.entries() if (entry.slot, entry.digest) not in known
        ]
        assert sum(server.requests.values()) - before == asked_anew(debugger.of, there.of)
        assert not [slot for slot in new if re.search(before_the_change, slot)]
    record = RunRecord(tmp_path / "branch")
    assert record.summary["forked"]["text"] == change.text
    parts = diff_runs(debugger.of, record)
    assert all((d.here or d.there)["step"] >= debugger.here.step for d in parts)  # type: ignore[index]
    if kind == "action":
        pair = preference_pair(debugger.of, record, debugger.here.id, chosen_there=True)
        assert pair["chosen"][0]["content"] == change.text
    run_sync(afork_run(debugger.of, change, tmp_path / "twin"))  # type: ignore[arg-type]
    assert texts(RunRecord(tmp_path / "twin")) == texts(record)


def texts(record: RunRecord) -> dict[str, str]:
    return {a["id"]: a["text"] for s in record.scenarios for a in s["actions"]}


def test_a_graph_under_way_forks_and_both_go_on(tmp_path: Path) -> None:
    model = FakeChat()
    with live(ctx=context(model=model)) as debugger:
        debugger.agent(9)
        place, calls = debugger.here, at_rest(model)
        with debugger.fork(
            debugger.change("action", "I leave for good."), tmp_path / "there.sqlite"
        ) as there:
            assert model.calls == calls, "the past came from the journal"
            assert there.here.action
            assert there.here.action["text"] == "I leave for good."
            assert debugger.here is place
            pair = preference_pair(debugger.of, there.of, place.id)
            assert pair["rejected"][0]["content"] == "I leave for good."
            there.finish()
            debugger.finish()
            differ = diff_runs(debugger.of, there.of)
        assert differ[0].id == place.id or differ[0].here["step"] == place.step  # type: ignore[index]
        assert all((d.here or d.there)["step"] >= place.step for d in differ)  # type: ignore[index]


def test_what_cannot_be_changed_is_told() -> None:
    with live() as debugger:
        with pytest.raises(InputError, match="Go to a turn"):
            debugger.change("action", "x")
        debugger.agent(2)
        for kind, text, what in (
            ("memory", "x", "9-9"),
            ("plan", "x", "12"),
            ("message", "x", "no"),
            ("action", " ", ""),
        ):
            with pytest.raises(InputError):
                debugger.change(kind, text, what)  # type: ignore[arg-type]
        debugger.agent(-1)
        with pytest.raises(InputError, match="fork"):
            debugger.amend(debugger.change("action", "x"))
        with pytest.raises(InputError, match="no group"):
            debugger.break_on("group", "group-9")
    with pytest.raises(InputError, match="groups="):
        Debugger(create_society(SOCIETY).compile(), {"quota": 1})


def test_what_ends_the_run_is_raised() -> None:
    with live(ctx=context(max_calls=8)) as debugger:
        with pytest.raises(CapReached, match="8 model calls"):
            turns(debugger)
        assert debugger.over
        assert debugger.agent() is None


def test_a_whole_matrix_is_a_graph_too() -> None:
    graph = create_matrix(SOCIETY).compile(store=InMemoryStore())
    wanted = {"quota": 2, "wanted": [{"kind": "sft", "count": 2}]}
    with Debugger(
        graph, wanted, groups=SOCIETY, context=context(), config={"recursion_limit": 1_000}
    ) as debugger:
        assert turns(debugger)
        assert debugger.of.result["kept"] == {"sft": 2}  # type: ignore[union-attr]


def test_a_turn_that_cannot_be_taken_again_ends_the_run_and_nobody_hangs(
    server: FakeServer, tmp_path: Path
) -> None:
    run(given(server, tmp_path / "run"))
    copy_run(tmp_path / "run", tmp_path / "again")
    offline = RunConfig.model_validate({"out": tmp_path / "again", "offline": True})
    with Debugger(LiveRun(offline, resume=True)) as debugger:
        debugger.agent(3)
        with pytest.raises(InputError, match="not on record"):
            debugger.amend(debugger.change("plan", "something that nobody was asked", "1"))
        debugger.finish()
        assert debugger.of.ended
        assert debugger.of.ended.status == "offline"
    assert len(debugger.moments) < len(RunRecord(tmp_path / "run").moments)


def test_one_debugger_at_a_time_and_none_afterwards() -> None:
    ctx, store = context(), InMemoryStore()
    with live(ctx=ctx, store=store) as first:
        first.agent()
        with live(ctx=ctx) as second, pytest.raises(InputError, match="watched already"):
            second.agent()
    graph = create_society(SOCIETY).compile(store=InMemoryStore())
    assert run_sync(graph.ainvoke({"quota": 2}, CONFIG, context=ctx))["produced"] == 2


def test_agents_that_no_model_plays_and_turns_that_failed_can_be_edited() -> None:
    def own(turn: Any) -> str:
        if turn["step"] == 1:
            raise ValueError("no voice")
        return "I wait."

    graph = create_society(SOCIETY, agents={"agent1": RunnableLambda(own)}).compile(
        store=InMemoryStore()
    )
    with Debugger(
        graph, {"quota": 2}, groups=SOCIETY, context=context(), config=CONFIG
    ) as debugger:
        debugger.break_on("agent", "agent1")
        for text in ("I leave.", "I come back."):
            assert debugger.run()
            assert debugger.amend(debugger.change("action", text)).action
        debugger.finish()
        said = [
            a["text"] for s in debugger.of.scenarios for a in s["actions"] if a["agent"] == "agent1"
        ]
    assert said == ["I leave.", "I come back.", "I wait."]


@pytest.mark.parametrize("kind", ["memory", "message", "plan"])
def test_on_resume_an_edit_changes_nothing_that_came_before_it(
    kind: AmendmentKind, server: FakeServer, tmp_path: Path
) -> None:
    with Debugger(LiveRun(given(server, tmp_path / "run"))) as debugger:
        debugger.agent()
        while debugger.here.step < 2 or kind not in (found := dict(changes(debugger))):
            assert debugger.agent()
        place = debugger.here
        debugger.amend(debugger.change(kind, changed(debugger, kind, found[kind]), found[kind]))
        known = {(e.slot, e.digest) for e in debugger.of.entries()}
    run(RunConfig.model_validate({"out": tmp_path / "run"}), resume=True)
    record = RunRecord(tmp_path / "run")
    earlier = [f"/r0/s{n}/{place.agent}#" for n in range(place.step)]
    new = [e.slot for e in record.entries() if (e.slot, e.digest) not in known]
    assert not [slot for slot in new if any(part in slot for part in earlier)]
    moment = next(m for m in record.moments if (m.agent, m.step) == (place.agent, place.step))
    entry = record.call(moment.call)
    assert entry
    assert "zeppelin" in entry.request


def test_of_equal_steps_of_a_plan_the_one_that_is_named_changes() -> None:
    people = tuple(
        Persona(m.profile, m.personality, m.goal, ("sail", "mend", "sail"))
        for m in SOCIETY[0].members
    )
    society = (Group("group-001", people),)
    graph = create_society(society).compile(store=InMemoryStore())
    ctx = context(communication="none")
    with Debugger(graph, {"quota": 1}, groups=society, context=ctx, config=CONFIG) as debugger:
        debugger.break_on("agent", people[0].id)
        debugger.run()
        debugger.amend(debugger.change("plan", "burn the boat", "3"))
        for words in ("sail", "mend", "burn the boat"):
            entry = debugger.of.call(debugger.here.call)
            assert entry
            assert words in asked(entry)[-1]["content"]
            debugger.run()


def test_a_person_who_plays_is_not_asked_twice() -> None:
    graph = create_society(SOCIETY, agents={"agent0": human_agent()}).compile(
        checkpointer=InMemorySaver(), store=InMemoryStore()
    )
    ctx = context()
    out = run_sync(graph.ainvoke({"quota": 1}, CONFIG, context=ctx))
    answer: Any = Command(resume={out["__interrupt__"][0].id: "I mend the net."})
    with Debugger(graph, answer, groups=SOCIETY, context=ctx, config=CONFIG) as debugger:
        debugger.break_on("agent", "agent0")
        debugger.run()
        with pytest.raises(InputError, match="not asked twice"):
            debugger.amend(debugger.change("plan", "sell the net", "1"))
        edited = debugger.amend(debugger.change("action", "I sell the net."))
        assert edited.action
        assert edited.action["text"] == "I sell the net."
        debugger.finish()
        assert debugger.of.ended
        assert debugger.of.ended.status == "asked"


def test_what_an_agent_of_ones_own_says_may_be_broken_text(tmp_path: Path) -> None:
    graph = create_society(
        SOCIETY, agents={"agent1": RunnableLambda(lambda _: "half \ud83d")}
    ).compile(store=InMemoryStore())
    ctx = context(journal=tmp_path / "journal.sqlite")
    with Debugger(graph, {"quota": 2}, groups=SOCIETY, context=ctx, config=CONFIG) as debugger:
        debugger.finish()
        assert debugger.over
        assert all(m.failure is None for m in debugger.moments)


def test_a_cap_that_is_reached_while_a_turn_is_held_ends_the_run_properly() -> None:
    with live(ctx=context(max_calls=7)) as debugger:
        assert debugger.agent()
        time.sleep(0.5)
        with pytest.raises(CapReached):
            turns(debugger)
        assert debugger.over
        assert debugger.of.memories("agent0")
        assert debugger.agent() is None


def test_a_branch_takes_nobodys_place(tmp_path: Path) -> None:
    with live() as debugger:
        debugger.agent(2)
        change = debugger.change("action", "I leave.")
        with (
            debugger.fork(change, tmp_path / "there.sqlite"),
            pytest.raises(InputError, match="is there already"),
        ):
            debugger.fork(change, tmp_path / "there.sqlite")


async def test_a_run_is_not_lived_again_over_itself(server: FakeServer, tmp_path: Path) -> None:
    await arun(given(server, tmp_path / "run"))
    with pytest.raises(InputError):
        await areplay_run(tmp_path / "run", tmp_path / "run", overwrite=True)
    with pytest.raises(InputError):
        await arun(given(server, tmp_path / "run", offline=True), overwrite=True)
    assert RunRecord(tmp_path / "run").scenarios


@pytest.mark.process
def test_a_terminated_debugger_leaves_a_run_that_can_go_on(
    server: FakeServer, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    options = (
        f"--agents 4 --group-size 2 --scenarios 2 --rows 1 --base-url {server.url} --out {out}"
    )
    command = [
        *COMMAND,
        "run",
        "--debug",
        "--model",
        "openai:fake",
        "--embeddings",
        "openai:fake",
        *options.split(),
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdin
        process.stdin.write(b"next 2\n")
        process.stdin.flush()
        while server.requests["ok"] < 6:
            time.sleep(0.05)
        time.sleep(1.5)
        process.terminate()
        assert process.wait(timeout=60) == 143
    assert RunRecord(out).ended.status == "interrupted"


async def test_inside_an_event_loop_as_in_a_notebook() -> None:
    with live() as debugger:
        moment = debugger.agent()
        assert moment
        assert debugger.of.memories(moment.agent)
        assert debugger.amend(debugger.change("plan", "sell the boat", "1"))


def test_a_run_left_in_the_middle_is_resumed_without_asking_twice(
    server: FakeServer, tmp_path: Path
) -> None:
    with Debugger(LiveRun(given(server, tmp_path / "run"))) as debugger:
        debugger.agent(5)
        debugger.amend(debugger.change("action", "I sank the boat."))
        place = debugger.here
    assert debugger.of.ended
    assert debugger.of.ended.status == "interrupted"
    for _ in range(2):
        with Debugger(
            LiveRun(RunConfig.model_validate({"out": tmp_path / "run"}), resume=True)
        ) as later:
            later.agent(12)
    closed = [a["id"] for s in RunRecord(tmp_path / "run").scenarios for a in s["actions"]]
    with Debugger(
        LiveRun(RunConfig.model_validate({"out": tmp_path / "run"}), resume=True)
    ) as later:
        assert [m.id for m in later.moments][: len(closed)] == [
            m.id for m in RunRecord(tmp_path / "run").moments
        ]
        assert later.agent(0) == (later.moments[-1] if closed else None)
        assert later.agent()
        assert later.held
    told = [m for m in record_of(tmp_path / "run").moments if m.action]
    assert "I sank the boat." in [m.action["text"] for m in told if m.action], (
        "also of a scenario that is not closed"
    )
    before = {(e.slot, e.digest) for e in RunRecord(tmp_path / "run").entries()}
    asked = sum(server.requests.values())
    result = run(RunConfig.model_validate({"out": tmp_path / "run"}), resume=True)
    record = RunRecord(tmp_path / "run")
    assert result.complete
    assert texts(record)[place.id] == "I sank the boat."
    after = {(e.slot, e.digest) for e in record.entries()}
    assert before <= after
    assert sum(server.requests.values()) - asked == len(after - before)


COMMAND = [sys.executable, "-m", "matrix_graph"]


def begun(server: FakeServer, out: Path) -> subprocess.Popen[bytes]:
    """A run in a process of its own, somewhere in its society."""
    options = "--agents 9 --group-size 3 --scenarios 30 --rows 2 --concurrency 2"
    options += f" --base-url {server.url} --out {out}"
    command = [
        *COMMAND,
        "run",
        "--model",
        "openai:fake",
        "--embeddings",
        "openai:fake",
        *options.split(),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while server.requests["ok"] < 60:
        time.sleep(0.02)
        assert process.poll() is None
    return process


@pytest.mark.parametrize("killed", [True, False])
@pytest.mark.process
def test_a_run_that_goes_on_elsewhere_or_was_killed_can_be_looked_at(
    killed: bool, server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(latency=0.05)
    out = tmp_path / "run"
    process = begun(server, out)
    try:
        process.send_signal(signal.SIGKILL if killed else signal.SIGSTOP)
        time.sleep(0.5)
        before, asked = contents(out), sum(server.requests.values())
        record = record_of(out)
        debugger = Debugger(record)
        seen = turns(debugger)
        assert sum(server.requests.values()) == asked
        assert contents(out) == before
        acts = {e.slot for e in record.entries("society/") if Slot.parse(e.slot).what == "act"}
        assert {m.call for m in seen} == acts
        assert seen
        assert any(record.memories(m.agent) for m in seen)
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def contents(folder: Path) -> dict[str, str]:
    files = [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith("-shm")]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.process
def test_on_the_terminal(server: FakeServer, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = "--agents 4 --group-size 2 --scenarios 2 --rows 1 --price fake=1,2"
    options += f" --base-url {server.url} --out {out}"
    command = [
        *COMMAND,
        "run",
        "--debug",
        "--model",
        "openai:fake",
        "--embeddings",
        "openai:fake",
        *options.split(),
    ]
    lines = [
        "next",
        "answer",
        "edit I hid the key.",
        "fork edit-plan 1 sell the mill",
        "diff",
        "switch",
        "switch",
        "break failure",
        "continue",
        "back",
        "fork edit I told nobody.",
        "pair other",
        "quit",
    ]
    done = subprocess.run(
        command, check=False, input="\n".join(lines), capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "I hid the key." in done.stdout
    assert "USD" in done.stdout
    assert "as far as both have come" in done.stdout
    assert "pair-" in done.stdout
    assert RunRecord(out).ended.status == "complete"
    assert "I hid the key." in json.dumps(RunRecord(out).scenarios)


@pytest.mark.process
def test_leaving_in_the_middle_says_how_to_go_on(server: FakeServer, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = (
        f"--agents 4 --group-size 2 --scenarios 2 --rows 1 --base-url {server.url} --out {out}"
    )
    command = [
        *COMMAND,
        "run",
        "--debug",
        "--model",
        "openai:fake",
        "--embeddings",
        "openai:fake",
        *options.split(),
    ]
    done = subprocess.run(
        command, check=False, input="next 3\nquit\n", capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 130
    assert "--resume" in done.stderr
    done = subprocess.run(
        [*command, "--resume"],
        check=False,
        input="finish\n",
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_ctrl_c_holds_a_run_that_was_let_go(server: FakeServer, tmp_path: Path) -> None:
    server.faults = Faults(latency=0.1)
    with Debugger(
        LiveRun(given(server, tmp_path / "run", scenarios=40, concurrency=1))
    ) as debugger:
        debugger.agent()
        out = TextConsole(record=True, width=120)
        screen = Screen(debugger, tmp_path / "run", out)
        killer = subprocess.Popen(["sh", "-c", f"sleep 1; kill -INT {os.getpid()}"])
        screen.onecmd("continue")
        killer.wait()
        assert "held at its next turn" in out.export_text()
        screen.onecmd("next")
        assert debugger.held
        assert not debugger.over
        screen.onecmd("edit I stop here.")
        assert debugger.here.action
        assert debugger.here.action["text"] == "I stop here."
        assert screen.other is None, "the run itself was changed"
