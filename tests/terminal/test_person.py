"""A person in a run: plays an agent or directs the information, from code and at a terminal, over
several days.
"""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.debugger.branch import afork_run, areplay_run
from matrix_graph.debugger.debugger import Debugger
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.result import RunResult
from matrix_graph.runs.runner import arun
from matrix_graph.testing import FakeServer

pytestmark = pytest.mark.slow

SMALL = {
    "agents": 4,
    "group_size": 2,
    "scenarios": 2,
    "rows": 2,
    "model": "openai:fake",
    "embeddings": "openai:fake",
}


def given(server: FakeServer, out: Path, **options: Any) -> RunConfig:
    return RunConfig.model_validate(SMALL | {"base_url": server.url, "out": out} | options)


async def lived(config: RunConfig, answer: Any) -> tuple[RunResult, int]:
    """The run to its end, with `answer(question)` for whoever is asked, each time anew from the
    folder.
    """
    result, asked = await arun(config), 0
    while result.asked:
        assert result.ended.status == "asked"
        answers = {name: answer(question) for name, question in result.asked.items()}
        asked += len(answers)
        result = await arun(
            RunConfig.model_validate({"out": config.out}), resume=True, answers=answers
        )
    return result, asked


async def test_who_plays_an_agent_is_asked_for_each_of_its_turns(
    server: FakeServer, tmp_path: Path
) -> None:
    said: list[str] = []

    def answer(question: dict[str, Any]) -> str:
        assert question["asks"] == "action"
        assert question["turn"]["memories"]
        said.append(f"I count the nets, {len(said)}.")
        return said[-1]

    result, asked = await lived(given(server, tmp_path / "run", play=("Sugawara Kimie",)), answer)
    assert result.complete
    record = RunRecord(tmp_path / "run")
    own = next(m.id for g in record.groups for m in g.members if m.name == "Sugawara Kimie")
    actions = [a for s in record.scenarios for a in s["actions"] if a["agent"] == own]
    assert [a["text"] for a in actions] == said
    assert asked == len(said) > 1
    before = sum(server.requests.values())
    again = await areplay_run(tmp_path / "run", tmp_path / "again")
    assert again.complete
    assert RunRecord(tmp_path / "again").scenarios == record.scenarios
    assert sum(server.requests.values()) == before
    debugger = Debugger(record)
    debugger.go(debugger.moments[-1].id)
    branch = await afork_run(record, debugger.change("action", "I go home."), tmp_path / "branch")
    told = [a["text"] for s in branch.scenarios() for a in s["actions"] if a["agent"] == own]
    assert told[: len(said) - 1] == said[: len(said) - 1], (
        "what the person said stands in the journal"
    )


async def test_who_directs_the_information_decides_whom_it_reaches(
    server: FakeServer, tmp_path: Path
) -> None:
    def answer(question: dict[str, Any]) -> list[list[str]]:
        reached = question["candidates"][:1] if question["asks"] == "deliver" else []
        return [reached for _ in question["items"]]

    result, asked = await lived(given(server, tmp_path / "run", modulator="human"), answer)
    assert result.complete
    assert asked >= 3
    firsts = {group.members[0].id for group in RunRecord(tmp_path / "run").groups}
    reached = {m["recipient"] for s in RunRecord(tmp_path / "run").scenarios for m in s["messages"]}
    assert reached
    assert reached <= firsts
    assert not [
        e for e in RunRecord(tmp_path / "run").entries() if "deliver" in e.slot and e.requests
    ]


async def test_a_stranger_cannot_be_played(server: FakeServer, tmp_path: Path) -> None:
    result = await arun(given(server, tmp_path / "run", play=("Nobody",)))
    assert "no Nobody to --play" in result.ended.reason
    assert "Sugawara Kimie (p050)" in result.ended.reason
    result = await arun(
        RunConfig.model_validate({"out": tmp_path / "run", "play": "p050"}), resume=True
    )
    assert [question["agent"] for question in result.asked.values()] == ["p050"]


@pytest.mark.process
def test_at_a_terminal(server: FakeServer, tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = (
        f"--agents 4 --group-size 2 --scenarios 2 --rows 1 --base-url {server.url} --out {out}"
    )
    fake = ["--model", "openai:fake", "--embeddings", "openai:fake"]
    command = [sys.executable, "-m", "matrix_graph", "run"]
    seen, code = _typed(
        [*command, *fake, *options.split(), "--play", "Sugawara Kimie"],
        "you do: ",
        ["I wait.", "\x03"],
    )
    assert "You are Sugawara Kimie" in seen
    assert "you remember" in seen
    assert "--resume" in seen
    assert code == 6
    seen, code = _typed(
        [*command, "--out", str(out), "--resume"], "you do: ", ["I sell the boat. GOAL REACHED"]
    )
    assert code == 0, seen
    told = [
        a["text"] for s in RunRecord(out).scenarios for a in s["actions"] if a["agent"] == "p050"
    ]
    assert told == ["I wait.", "I sell the boat."]


def _typed(command: list[str], prompt: str, lines: list[str]) -> tuple[str, int]:
    """What a command shows on a terminal where these lines are typed at its prompts, and its exit
    code.
    """
    here, there = pty.openpty()
    process = subprocess.Popen(
        command,
        stdin=there,
        stdout=there,
        stderr=there,
        start_new_session=True,
        preexec_fn=_controlling,  # noqa: PLW1509 (the child only takes the terminal)
    )
    os.close(there)
    seen, answered, until = "", 0, time.monotonic() + 120
    while time.monotonic() < until:
        if not select.select([here], [], [], 0.2)[0]:
            if process.poll() is not None:
                break
            continue
        try:
            seen += os.read(here, 65536).decode(errors="replace")
        except OSError:
            break
        if answered < len(lines) and seen.count(prompt) > answered:
            # input() misses a Ctrl-C in the microseconds from its prompt to its read; people do not
            # type that fast.
            time.sleep(0.3)
            line = lines[answered]
            os.write(here, (line if line == "\x03" else line + "\n").encode())
            answered += 1
    os.close(here)
    return seen, process.wait(timeout=30)


def _controlling() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
