"""Folders of runs that somebody else made: opening one is not running it, nobody is asked whom only
it names, and looking at it changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langgraph.checkpoint.serde.jsonplus import EXT_CONSTRUCTOR_POS_ARGS
from typer.testing import CliRunner

from matrix_graph.boundary.locks import held
from matrix_graph.debugger import CallEdit, fork_run
from matrix_graph.errors import InputError
from matrix_graph.export.folder import export
from matrix_graph.llm.journal import entries_in
from matrix_graph.report.page import write_report
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.runs.filter_runner import filter_rows
from matrix_graph.runs.received import Untrusted, read_summary
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.runner import arun, run
from matrix_graph.terminal.cli import app
from matrix_graph.testing import FakeServer
from tests.helpers import sft


def settings(server: FakeServer, out: Path, **options: Any) -> RunConfig:
    small = {"agents": 6, "scenarios": 2, "rows": 3}
    where = {"model": "openai:fake", "embeddings": "openai:fake", "base_url": server.url}
    return RunConfig.model_validate(small | where | {"out": out} | options)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of this user's that a cap stopped."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with FakeServer() as server:
        assert run(settings(server, out, max_calls=25)).ended.status == "cap"
        yield out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    with FakeServer() as server:
        assert run(settings(server, out)).complete
    return out


def received(run: Path, tmp_path: Path, **changes: Any) -> Path:
    """A copy of a run with changes in its run.json; `config` changes options."""
    out = tmp_path / "received"
    shutil.copytree(run, out)
    change(out, **changes)
    return out


def change(out: Path, **changes: Any) -> None:
    summary = json.loads((out / "run.json").read_text())
    summary["config"] |= changes.pop("config", {})
    (out / "run.json").write_text(json.dumps(summary | changes))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != ".lock"
    }


@pytest.mark.parametrize("kind", ["msgpack", "json", "pickle"])
@pytest.mark.parametrize("offline", [False, True])
def test_a_checkpoint_that_names_a_function_does_not_run_it(
    kind: str, offline: bool, stopped: Path, tmp_path: Path, server: FakeServer
) -> None:
    out, trap = received(stopped, tmp_path), tmp_path / "trap"
    call = ormsgpack.packb(("os", "mkdir", (str(trap),)))
    values = {"quota": ormsgpack.Ext(EXT_CONSTRUCTOR_POS_ARGS, call)}
    attack: dict[str, bytes] = {
        "msgpack": ormsgpack.packb(
            {"v": 4, "ts": "", "id": "1", "channel_values": values,
             "channel_versions": {}, "versions_seen": {}}
        ),
        "json": json.dumps(
            {"lc": 2, "type": "constructor", "id": ["os", "mkdir"], "args": [str(trap)]}
        ).encode(),
        "pickle": b"cos\nmkdir\n(S'" + str(trap).encode() + b"'\ntR.",
    }  # fmt: skip
    with closing(sqlite3.connect(out / "checkpoints.sqlite")) as db, db:
        db.execute("UPDATE checkpoints SET type = ?, checkpoint = ?", (kind, attack[kind]))
        db.execute("UPDATE writes SET type = ?, value = ?", (kind, attack[kind]))
    options: dict[str, Any] = {} if offline else {"base_url": server.url}
    with suppress(Exception):
        run(RunConfig(out=out, offline=offline, **options), resume=True)
    assert not trap.exists()


def test_an_honest_run_resumes_and_nothing_is_blocked(
    stopped: Path, tmp_path: Path, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    out = received(stopped, tmp_path)
    result = run(RunConfig(out=out, base_url=server.url, max_calls=10_000), resume=True)
    assert result.complete
    assert not [record for record in caplog.records if "serial" in record.getMessage().lower()]


@pytest.mark.parametrize(
    "config",
    [
        {"base_url": "http://127.0.0.1:9/v1"},
        {"judge": ["openai:other"]},
        {"model": "openai:other"},
        {"max_calls": None},
        {"prompts": "/tmp"},
    ],
)
def test_whom_only_the_folder_names_is_not_asked(
    config: dict[str, Any], stopped: Path, tmp_path: Path
) -> None:
    with FakeServer() as foreign:
        if "base_url" in config:
            config = {"base_url": foreign.url}
        out = received(stopped, tmp_path, config=config)
        before = digests(out)
        with pytest.raises(InputError, match=r"begun elsewhere|prompts in"):
            run(RunConfig(out=out), resume=True)
        assert digests(out) == before
        assert not foreign.requests


def test_a_run_that_is_sealed_by_nobody_wants_its_options_named_again(
    stopped: Path, tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = received(stopped, tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))
    with pytest.raises(Untrusted, match="--base-url http"):
        run(RunConfig(out=out), resume=True)
    named = {"model": "openai:fake", "embeddings": "openai:fake", "max_calls": 10_000}
    with pytest.raises(Untrusted, match="--base-url"):
        run(RunConfig(out=out, **named), resume=True)  # type: ignore[arg-type]
    again = RunConfig(out=out, base_url=server.url, **named)  # type: ignore[arg-type]
    assert run(again, resume=True).complete
    # It is theirs from then on.
    assert run(RunConfig(out=out), resume=True).complete


def test_what_was_only_looked_at_stays_a_strangers(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = received(stopped, tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user"))
    run(RunConfig(out=out, offline=True), resume=True)
    with pytest.raises(Untrusted):
        run(RunConfig(out=out), resume=True)
    # A folder that says of itself that it is to be trusted is not.
    change(out, config={"trust": True})
    with pytest.raises(Untrusted):
        run(RunConfig(out=out), resume=True)
    assert run(RunConfig(out=out, trust=True, max_calls=26), resume=True).summary["calls"] >= 25


def test_a_branch_of_a_strangers_run_asks_nobody(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: FakeServer
) -> None:
    out = received(finished, tmp_path, config={"base_url": server.url})
    record = RunRecord(out)
    call = next(iter(record.scenarios[0]["actions"]))["call"]
    with pytest.raises(Untrusted):
        fork_run(record, CallEdit(call, "I sell the boat."), tmp_path / "branch")
    assert not server.requests
    shutil.rmtree(tmp_path / "branch")
    trusting = RunConfig(trust=True)
    fork_run(record, CallEdit(call, "I sell the boat."), tmp_path / "branch", models=trusting)
    assert server.requests


def test_at_a_terminal_one_is_asked(stopped: Path, tmp_path: Path) -> None:
    out = received(stopped, tmp_path, config={"base_url": "http://127.0.0.1:9/v1"})
    done = CliRunner().invoke(app, ["run", "--out", str(out), "--resume"])
    assert done.exit_code == 2
    assert "--base-url http://127.0.0.1:9/v1" in done.output
    assert "--trust" in done.output


def shown(*words: object, given: str | None = None) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words], input=given)


def first_row(out: Path) -> str:
    return str(json.loads((out / "dataset/sft.jsonl").read_text().split("\n")[0])["id"])


LOOKS: dict[str, Callable[[Path], object]] = {
    "show": lambda out: shown("show", out),
    "trace": lambda out: shown("trace", out, first_row(out)),
    "debug": lambda out: shown("debug", out, given="n\nmemories\nwhy\nq\n"),
    "record": lambda out: RunRecord(out).memories(RunRecord(out).groups[0].members[0].id),
    "entries": lambda out: entries_in(out / "journal.sqlite"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_looking_changes_nothing(look: str, finished: Path, tmp_path: Path) -> None:
    out = received(finished, tmp_path)
    before = digests(out), sorted(p.name for p in out.rglob("*"))
    seen = LOOKS[look](out)
    assert getattr(seen, "exit_code", 0) == 0, getattr(seen, "output", "")
    assert seen
    after = digests(out), sorted(p.name for p in out.rglob("*"))
    assert after == before


def test_a_report_changes_the_page_alone(finished: Path, tmp_path: Path) -> None:
    out = received(finished, tmp_path)
    before = digests(out)
    write_report(out)
    assert {name for name, d in digests(out).items() if before.get(name) != d} == {"report.html"}


LINKS = ["report.html", "dataset", "export", "chroma", "journal.sqlite", "checkpoints.sqlite",
         "README.md", "rejected.jsonl", "run.json", "society.json", "chroma/chroma.sqlite3",
         "dataset/sft.jsonl", ".lock"]  # fmt: skip


@pytest.mark.parametrize("name", LINKS)
def test_a_link_in_a_folder_leads_nowhere(
    name: str, finished: Path, tmp_path: Path, server: FakeServer
) -> None:
    out, precious = received(finished, tmp_path), tmp_path / "precious"
    entry = out / name
    if entry.is_dir():
        shutil.move(entry, precious)
    elif entry.exists():
        shutil.copyfile(entry, precious)
        entry.unlink()
    else:
        precious.write_text("thesis")
    entry.symlink_to(precious)
    before = digests(tmp_path / "precious") if precious.is_dir() else precious.read_bytes()
    with suppress(InputError):
        export(out, "hf")
    for use in (
        lambda: write_report(out),
        lambda: run(RunConfig(out=out, base_url=server.url, rows=4), resume=True),
        lambda: run(settings(server, out), overwrite=True),
        lambda: RunRecord(out).memories("p001"),
    ):
        with pytest.raises(InputError, match=r"is a link|holds no run|holds files that are no run"):
            use()
    after = digests(tmp_path / "precious") if precious.is_dir() else precious.read_bytes()
    assert after == before
    assert not server.requests


ALTERED: dict[str, dict[str, Any]] = {
    "format": {"format": 99},
    "no format": {"format": None},
    "counts": {"counts": {"kept": 7}},
    "calls": {"calls": "many"},
    "calls below": {"calls": -5},
    "seconds": {"seconds": [1]},
    "ended": {"ended": {"status": "won"}},
    "ended list": {"ended": ["complete"]},
    "requirements": {"requirements": [{"kind": "poem"}]},
    "requirements text": {"requirements": "sft"},
    "homophily": {"homophily": {"in_group": "high"}},
    "tokens": {"tokens": {"input": -1}},
    "used": {"used": {"fake": 3}},
    "estimate": {"estimate": []},
    "models": {"models": {"chat": ["x"]}},
    "profiles": {"config": {"profiles": {"a": 1}}},
    "kind": {"config": {"kind": [["sft"]]}},
    "rows": {"config": {"rows": 0}},
    "out": {"config": {"model": {"object": 1}}},
    "price": {"config": {"price": {"fake": [-1, -1]}}},
}


@pytest.mark.parametrize("how", ALTERED)
def test_a_run_json_that_no_run_writes_is_refused(
    how: str, finished: Path, tmp_path: Path, server: FakeServer
) -> None:
    out = received(finished, tmp_path, **ALTERED[how])
    for use in (
        lambda: write_report(out),
        lambda: RunRecord(out).summary,
        lambda: run(RunConfig(out=out, base_url=server.url), resume=True),
    ):
        with pytest.raises(InputError):
            use()


ORIGINS: list[Any] = [
    "a book of 1910",
    {"scenario_id": 1e300, "agent_id": ["x"], "group": None, "requirement": {"a": 1}},
    {"actions": "abc", "calls": 7},
    {"actions": [1, None], "calls": [["x"]], "other": "x"},
]


@pytest.mark.parametrize("origin", ORIGINS, ids=str)
def test_a_row_of_odd_provenance_is_shown_without_it(
    origin: Any, finished: Path, tmp_path: Path
) -> None:
    out = received(finished, tmp_path)
    path = out / "dataset/sft.jsonl"
    rows = [json.loads(line) | {"provenance": origin} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for words in (["report", out], ["show", out], ["trace", out, rows[0]["id"]]):
        done = shown(*words)
        assert done.exit_code == 0, done.output
    assert export(out, "hf").rows


@pytest.mark.parametrize("source", ["/dev/zero", "pipe"])
def test_profiles_that_are_no_file_are_not_read(
    source: str, finished: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = source if source.startswith("/") else str(tmp_path / source)
    out = received(finished, tmp_path, config={"profiles": path})
    with pytest.raises(InputError, match="no ordinary file"):
        run(RunConfig(out=out, trust=True), resume=True)


AMENDED = (
    "INSERT INTO calls SELECT 'amend/r0.s0/p001/action', digest, '', '{}', 'x', 'edited', "
    "0, 0, 0, 0.0, 0.0 FROM calls LIMIT 1"
)
JOURNALS: dict[str, str] = {
    "view": "DROP TABLE vectors; CREATE VIEW vectors AS WITH RECURSIVE n(i) AS "
            "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i AS digest, i AS vector FROM n",
    "trigger": "CREATE TRIGGER t AFTER INSERT ON calls BEGIN DELETE FROM calls; END",
    "blob": "UPDATE calls SET answer = x'00ff'",
    "tokens": "UPDATE calls SET input_tokens = -5",
    "text": "UPDATE calls SET answer = CAST(x'ff' AS TEXT)",
    "account": "UPDATE spending SET requests = 'many'",
    "overspent": "UPDATE spending SET input_tokens = -1000000000",
    "amendment": AMENDED.format("[1]"),
    "amended step": AMENDED.format('{"kind": "action", "agent": "p001", "since": "x"}'),
}  # fmt: skip


@pytest.mark.parametrize("how", JOURNALS)
def test_a_journal_that_no_run_wrote_is_refused(
    how: str, stopped: Path, tmp_path: Path, server: FakeServer
) -> None:
    out = received(stopped, tmp_path)
    with closing(sqlite3.connect(out / "journal.sqlite")) as db, db:
        db.executescript(JOURNALS[how])
    try:
        ended = str(run(RunConfig(out=out, base_url=server.url), resume=True).ended)
    except InputError as error:
        ended = f"refused: {error}"
    assert ended.startswith("refused: ")
    assert "journal" in ended


def test_vectors_that_no_run_wrote_are_asked_for_again(
    stopped: Path, tmp_path: Path, server: FakeServer
) -> None:
    for number, blob in enumerate((b"", b"\0", b"\0" * 7, b"\xff" * 64)):
        out = received(stopped, tmp_path / str(number))
        with closing(sqlite3.connect(out / "journal.sqlite")) as db, db:
            db.execute("UPDATE vectors SET vector = ?", (blob,))
        again = RunConfig(out=out, base_url=server.url, max_calls=10_000)
        assert run(again, resume=True).complete


def test_prompts_that_changed_since_are_not_mixed_in(server: FakeServer, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "summarise.md").write_text("# user\n$scenario\nTell it.\n")
    out = tmp_path / "run"
    run(settings(server, out, prompts=prompts, max_calls=20))
    (prompts / "summarise.md").write_text("# user\n$scenario\nTell it all.\n")
    with pytest.raises(InputError, match="have changed"):
        run(RunConfig(out=out), resume=True)


@pytest.mark.process
def test_two_filters_do_not_pay_for_one_folder(server: FakeServer, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps(sft(str(n), f"What is {n} + {n}?")) + "\n" for n in range(9))
    )
    out = tmp_path / "out"
    code = (
        "from matrix_graph.boundary.locks import hold; import sys; "
        "hold(sys.argv[1]); print('held', flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(out)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        judged = FilterConfig(judge="openai:fake", base_url=server.url, out=out)
        with pytest.raises(InputError, match="another process"):
            filter_rows(rows, judged)
        asked = server.requests.total()
        with pytest.raises(InputError, match="another process"), held(out):
            pass
    finally:
        holder.communicate("\n", timeout=20)
    filter_rows(rows, judged)
    assert asked <= 1 < server.requests.total()


async def test_a_published_run_names_no_place_of_this_machine(
    server: FakeServer, tmp_path: Path
) -> None:
    profiles = tmp_path / "private place" / "people.jsonl"
    profiles.parent.mkdir()
    about = {"extra": "a@b.com", "description": "mends nets"}
    lines = [{"name": f"P{n}"} | about for n in range(6)]
    profiles.write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "run"
    await arun(settings(server, out, profiles=profiles))
    done = export(out, "hf")
    for path in done.folder.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert str(tmp_path) not in text, path
            assert server.url not in text, path
            assert "seal" not in text
    assert read_summary(out)["config"]["profiles"] == str(profiles)
    assert not any(b"a@b.com" in p.read_bytes() for p in out.rglob("*") if p.is_file())
