"""The page of a run in whatever state it is, its script, and what it says of the cost."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from matrix_graph.boundary.files import read_json_lines
from matrix_graph.debugger.snapshot import record_of
from matrix_graph.errors import InputError, RunPaused
from matrix_graph.llm.slot import Slot
from matrix_graph.report import write_report
from matrix_graph.report.rows import cost
from matrix_graph.runs import FilterConfig, RunConfig, RunRecord, afilter_rows, arun, run
from matrix_graph.runs.folder import begin_folder
from matrix_graph.terminal.trace import trace
from matrix_graph.testing import FakeServer, Faults
from tests.helpers import sft
from tests.report.test_report import CHROMIUM

pytestmark = pytest.mark.slow

ROWS = [
    sft(f"r{n}", f"How do I mend the {what} before the {when}?")
    for n, (what, when) in enumerate(zip(["net", "oar", "keel", "sail"], "ABCD", strict=True))
]


def config(server: FakeServer, out: Path, **options: Any) -> RunConfig:
    small = {"agents": 6, "group_size": 3, "scenarios": 3, "rows": 4, "model": "openai:fake"}
    small |= {"embeddings": "openai:fake", "base_url": server.url, "out": out}
    return RunConfig.model_validate(small | options)


def console(page: Path, profile: Path) -> str:
    """What the browser says of a page's script."""
    assert CHROMIUM
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--enable-logging=stderr",
             "--virtual-time-budget=1000", "--dump-dom")  # fmt: skip
    command = [CHROMIUM, *flags, f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "</html>" in done.stdout
    return "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_a_run_that_has_just_begun_has_a_page(server: FakeServer, tmp_path: Path) -> None:
    begin_folder(config(server, tmp_path), [], {})
    assert "running" in write_report(tmp_path).read_text("utf-8")


@pytest.mark.parametrize("calls", [1, 3, 9, 20, 30])
async def test_a_run_that_was_stopped_anywhere_has_a_page(
    calls: int, server: FakeServer, tmp_path: Path
) -> None:
    result = await arun(config(server, tmp_path, max_calls=calls))
    assert result.ended.status == "cap"
    page = write_report(tmp_path).read_text("utf-8")
    assert f"the cap of {calls} model calls" in page


async def test_a_run_that_failed_has_a_page(server: FakeServer, tmp_path: Path) -> None:
    def defect(event: dict[str, Any]) -> None:
        if event.get("event") == "step":
            raise KeyError("somebody's mistake")

    with pytest.raises(KeyError):
        await arun(config(server, tmp_path), listen=defect)
    assert "failed: KeyError" in write_report(tmp_path).read_text("utf-8")


async def test_a_filter_run_that_is_not_at_its_end_has_a_page(
    server: FakeServer, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    options = {"judge": "openai:fake", "base_url": server.url, "max_calls": 2}
    capped = FilterConfig.model_validate(options | {"out": tmp_path / "out"})
    with pytest.raises(RunPaused):
        await afilter_rows(file, capped)
    page = write_report(capped.out).read_text("utf-8")
    assert "the cap of 2 model calls" in page
    assert "--resume" in page


def test_a_folder_of_another_version_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"ended": "complete", "config": {}}))
    with pytest.raises(InputError, match="this version reads"):
        write_report(tmp_path)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; .ci/run installs Debian's")
@pytest.mark.process
async def test_no_page_throws_in_its_script(server: FakeServer, tmp_path: Path) -> None:
    run = await arun(config(server, tmp_path / "run"))
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    filtered = await afilter_rows(file, FilterConfig(out=tmp_path / "filtered"))
    for out in (run.out, filtered.out):
        assert console(write_report(out), tmp_path / f"profile-{out.name}") == ""
    broken = tmp_path / "broken.html"
    broken.write_text("<html><script>document.getElementById('x').y</script></html>")
    assert "Uncaught" in console(broken, tmp_path / "profile-broken"), "such errors are seen"


@pytest.mark.parametrize("modulator", ["batched", "per_action"])
async def test_the_cost_says_what_each_call_was_for(
    modulator: str, server: FakeServer, tmp_path: Path
) -> None:
    server.faults = Faults(malformed=0.05)
    result = await arun(
        config(server, tmp_path, modulator=modulator, judge="openai:fake", kind="sft,dpo")
    )
    record = RunRecord(tmp_path)
    rows = dict(re.findall(r"<tr><td>([^<]+)</td><td>([\d,]+)</td>", cost(record)))
    counted = {what: int(number.replace(",", "")) for what, number in rows.items()}
    assert sum(counted.values()) == len(record.entries())
    slots = [Slot.parse(entry.slot) for entry in record.entries()]
    assert counted["actions"] == sum(s.what == "act" for s in slots)
    assert counted["filter: judge"] == sum(s.what == "judge" for s in slots) > 0
    assert counted["rows: dpo"] == sum(s.what == "dpo" for s in slots)
    actions = result.summary["counts"]["actions"]
    assert counted["actions"] >= actions
    if modulator == "per_action":
        # Where somebody is alone nobody is asked.
        routed = [a for s in record.scenarios if len(s["people"]) > 1 for a in s["actions"]]
        assert counted["who becomes aware"] >= len(routed) > 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    with FakeServer() as running:
        run(config(running, out))
    return out


def _with(finished: Path, **members: Any) -> str:
    summary: dict[str, Any] = json.loads((finished / "run.json").read_text("utf-8"))
    return json.dumps(summary | members)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("run.json", "[]"),
        ("run.json", "\x00\x01"),
        ("run.json", {"ended": "complete"}),
        ("run.json", {"counts": None}),
        ("run.json", {"config": None}),
        ("run.json", {"used": [1]}),
        ("run.json", {"seconds": "x"}),
        ("society.json", "{}"),
        ("society.json", '{"groups": [{}], "homophily": {}}'),
        ("society.json", "{"),
        ("scenarios.jsonl", "{}\n"),
        ("scenarios.jsonl", "[]\n"),
        ("dataset/sft.jsonl", "{}\n"),
        ("rejected.jsonl", "{}\n"),
        ("journal.sqlite", "junk" * 100),
        ("journal.sqlite", ""),
    ],
)
def test_a_broken_folder_is_reported_as_such(
    file: str, content: str | dict[str, Any], finished: Path, tmp_path: Path
) -> None:
    (row,) = read_json_lines(finished / "dataset" / "sft.jsonl")[:1]
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    text = content if isinstance(content, str) else _with(finished, **content)
    (out / file).write_text(text)
    problems = list[str]()
    shown = (write_report, record_of, lambda folder: trace(folder, row["id"]))
    for show in shown:
        try:
            show(out)
        except InputError as error:
            problems.append(str(error))
    assert problems, sorted(out.iterdir())
