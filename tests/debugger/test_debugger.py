"""Stepping, breaking, and branches of a run: what was is never asked again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.boundary.screen import TextConsole
from matrix_graph.debugger.branch import afork_run, diff_runs, preference_pair
from matrix_graph.debugger.changes import CallEdit
from matrix_graph.debugger.debugger import Debugger
from matrix_graph.errors import InputError
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.runner import run
from matrix_graph.society import load_profiles, sample_profiles
from matrix_graph.terminal.screen import Screen
from matrix_graph.testing import FakeServer


@pytest.fixture
def folder(server: FakeServer, tmp_path: Path) -> Path:
    given = {
        "agents": 6,
        "group_size": 3,
        "scenarios": 4,
        "rows": 2,
        "model": "openai:fake",
        "embeddings": "openai:fake",
    }
    run(RunConfig.model_validate(given | {"base_url": server.url, "out": tmp_path / "run"}))
    return tmp_path / "run"


def test_every_turn_once_forwards_and_back(folder: Path) -> None:
    debugger = Debugger(RunRecord(folder))
    seen = [moment.id for moment in iter(debugger.agent, None)]
    actions = [
        action["id"] for scenario in RunRecord(folder).scenarios for action in scenario["actions"]
    ]
    assert sorted(seen) == sorted(actions)
    assert debugger.moment is None
    back = [moment.id for moment in iter(lambda: debugger.agent(-1), None)]
    assert back == seen[::-1]
    first = debugger.agent()
    assert first
    assert (debugger.step() or first).step == first.step + 1
    here = debugger.moment
    assert here
    assert (debugger.scenario() or here).scenario["id"] != here.scenario["id"]
    assert debugger.go(seen[5]).id == seen[5]
    with pytest.raises(InputError, match="no action or scenario"):
        debugger.go("nowhere")


def test_breakpoints_stop_where_they_say(folder: Path) -> None:
    record = RunRecord(folder)
    person = record.groups[0].members[0]
    word = record.scenarios[0]["actions"][0]["text"].split()[1]
    for kind, what, holds in (
        ("agent", person.name, lambda m: m.agent == person.id),
        ("group", record.groups[1].id, lambda m: m.scenario["group"] == record.groups[1].id),
        ("to", person.id, lambda m: person.id in m.action["recipients"]),
        ("text", word, lambda m: word in m.action["text"]),
    ):
        debugger = Debugger(record)
        debugger.break_on(kind, what)
        stops = list(iter(debugger.run, None))
        assert stops
        assert [m.id for m in stops] == [m.id for m in debugger.moments if holds(m)]
    with pytest.raises(InputError, match="Nobody"):
        Debugger(record).break_on("agent", "stranger")
    with pytest.raises(InputError, match="regular expression"):
        Debugger(record).break_on("text", "(")


def test_what_failed_is_a_turn_too(server: FakeServer, tmp_path: Path) -> None:
    silent = sample_profiles(load_profiles()[0], 3, seed=0)[0]
    # Whoever has done nothing remembers its posts first.
    remembered = [f"last first:\n- {post[:40]}" for post in silent.posts]
    server.replies = dict.fromkeys(remembered, "CONTINUE")
    given = {
        "agents": 3,
        "group_size": 3,
        "scenarios": 1,
        "rows": 1,
        "model": "openai:fake",
        "embeddings": "openai:fake",
    }
    run(RunConfig.model_validate(given | {"base_url": server.url, "out": tmp_path / "run"}))
    debugger = Debugger(RunRecord(tmp_path / "run"))
    debugger.break_on("failure")
    stops = list(iter(debugger.run, None))
    failures = [moment.failure for moment in stops if moment.failure]
    assert failures, "one person fails in the scenario in which the others act"
    assert len(failures) == len(stops)
    assert {f["who"] for f in failures} == {m.agent for m in stops} == {silent.id}
    assert {f["reason"] for f in failures} == {"the agent said nothing but its status"}
    assert stops[0].call == f"society/r0.s0/{silent.id}/act#1"


def test_the_inbox_is_what_the_prompt_held(folder: Path) -> None:
    record = RunRecord(folder)
    debugger = Debugger(record)
    reactions = 0
    for moment in iter(debugger.agent, None):
        assert moment.action
        asked = record.calls[moment.action["call"]].request
        inbox = debugger.inbox(moment)
        if moment.step % 3:
            assert inbox or moment.action["trigger"] == "goal"
            reactions += len(inbox)
        assert all(json.dumps(m["text"], ensure_ascii=False)[1:-1] in asked for m in inbox)
    assert reactions


async def test_a_branch_costs_nothing_up_to_the_edit(
    folder: Path, server: FakeServer, tmp_path: Path
) -> None:
    record = RunRecord(folder)
    late = next(m for m in Debugger(record).moments if m.scenario["round"] == 1)
    assert late.action
    before = sum(server.requests.values())
    change = CallEdit(late.action["call"], "I sold the boat to my cousin.")
    await afork_run(record, change, tmp_path / "branch")
    there = RunRecord(tmp_path / "branch")
    made = sum(server.requests.values()) - before
    known = {(e.slot, e.digest) for e in record.calls.values()}
    new = [e for e in there.calls.values() if (e.slot, e.digest) not in known]
    assert made == len(new) > 0
    assert not any("/r0/" in e.slot for e in new), "the first round is as it was"
    found = {d.id: (d.here, d.there) for d in diff_runs(record, there)}
    first = found[late.id]
    assert first[1]
    assert first[1]["text"] == "I sold the boat to my cousin."
    assert all(d.here is None or d.here["step"] >= late.step for d in diff_runs(record, there))
    pair = preference_pair(record, there, late.id, chosen_there=True)
    assert pair["chosen"][0]["content"] == "I sold the boat to my cousin."
    assert pair["rejected"][0]["content"] == late.action["text"]
    assert pair["prompt"][-1]["content"]
    others = [name for name, (here, other) in found.items() if here and other and name != late.id]
    for name in others:
        here, other = found[name]
        assert here
        assert other
        if record.calls[here["call"]].request != there.calls[other["call"]].request:
            with pytest.raises(InputError, match="another past"):
                preference_pair(record, there, name)
    with pytest.raises(InputError, match="is there already"):
        await afork_run(record, change, tmp_path / "branch")
    with pytest.raises(InputError, match="no call at"):
        await afork_run(record, CallEdit("nowhere", "again"), tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
async def test_a_plan_and_who_is_told_can_be_changed_as_well(folder: Path, tmp_path: Path) -> None:
    record = RunRecord(folder)
    person = record.groups[0].members[0]
    reply = {
        "personality": "stubborn",
        "life_goal": "to leave the harbour",
        "plan": ["pack", "sail", "write home"],
    }
    await afork_run(
        record, CallEdit(f"persona/{person.id}#1", json.dumps(reply)), tmp_path / "plan"
    )
    changed = [
        m for g in RunRecord(tmp_path / "plan").groups for m in g.members if m.id == person.id
    ]
    assert changed[0].plan == ("pack", "sail", "write home")
    delivery = next(d for d in record.scenarios[0]["deliveries"] if d["scope"] == "within")
    nobody = json.loads(record.calls[delivery["call"]].answer)
    nobody["deliveries"] = [choice | {"recipients": []} for choice in nobody["deliveries"]]
    await afork_run(record, CallEdit(delivery["call"], json.dumps(nobody)), tmp_path / "told")
    step = next(
        s for s in RunRecord(tmp_path / "told").scenarios if s["id"] == record.scenarios[0]["id"]
    )
    same = [d for d in step["deliveries"] if d["call"] == delivery["call"]]
    assert all(d["recipients"] == [] for d in same)


def folder_call(folder: Path) -> str:
    return next(slot for slot in RunRecord(folder).calls if slot.endswith("deliver#1"))


def test_on_a_screen(folder: Path) -> None:
    out = TextConsole(record=True, width=160)
    screen = Screen(Debugger(RunRecord(folder)), folder, out)
    lines = """next; why; memories; prompt; answer; who; inbox; n 2; back; breaks; help; zzz
        edit-m 1 x
        break agent nobody; calls
        people; memories all; where; break to nobody; back 100; n 900; n
        go nowhere; edit; pair; ; next x"""
    for line in [*re.split("[;\n]", lines), f"edit-call {folder_call(folder)} nonsense"]:
        screen.onecmd(line)
    shown = out.export_text()
    for words in (
        "told",
        "left out",
        "relevance",
        "system",
        "plan 1",
        "no such command",
        "which?",
        "must the new one be",
        "Nobody in this run",
        "before the first turn",
        "past the last turn",
        "deliver#1",
        "no branch yet",
    ):
        assert words in shown
    commands = [name for name in dir(Screen) if name.startswith("do_") and name != "do_EOF"]
    assert all(name.removeprefix("do_").replace("_", "-") in shown for name in commands)


@pytest.mark.process
def test_a_session_of_a_whole_process(folder: Path) -> None:
    lines = ["next", 'edit I burn the letter, "all of it".', "diff", "pair other", "quit"]
    command = [sys.executable, "-m", "matrix_graph", "debug", str(folder)]
    done = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, timeout=200, check=True
    )
    assert "are not on record in" in done.stdout
    (pair,) = read_json_lines(folder / "pairs.jsonl")
    assert pair["chosen"][0]["content"] == 'I burn the letter, "all of it".'
    assert Path(f"{folder}-branch-1").is_dir()
