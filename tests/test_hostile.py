"""The hostile corpus through every command, page, card, export and display: no exception but the
package's own, nothing that a terminal obeys, no tag in a page but ours.
"""

from __future__ import annotations

import json
import random
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from matrix_graph.export.formats import VIEWS
from matrix_graph.report.display import show_row, show_scenario, show_society
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.result import RunResult
from matrix_graph.terminal.cli import app
from matrix_graph.testing import FakeServer
from tests.boundary.test_text import OBEYED, PAINT
from tests.hostile import HOSTILE, written

pytestmark = pytest.mark.slow


ASKED = ("What do you do now", "How do you react", "as a short scene", "Write what this person")
"""Words of the prompts that are answered by the corpus."""


def command(*words: object, given: str | None = None, codes: tuple[int, ...] = (0,)) -> str:
    """What a command shows; it ends as the package's own errors do, and nothing is obeyed."""
    done = CliRunner().invoke(app, [str(word) for word in words], input=given)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code in codes, (words, done.output[-800:])
    plain = PAINT.sub("", done.output).replace("\r", "")
    assert not OBEYED.search(plain), (words, OBEYED.search(plain))
    return done.output


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose people, posts, actions, answers and reasons are hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    rng, texts = random.Random(7), [text for text in map(written, HOSTILE) if len(text) < 2_000]
    profiles = [
        {"id": text[:40] or "x", "name": text or "x", "description": rng.choice(texts) or "x",
         "posts": [rng.choice(texts) or "x"], "extra": {text[:20]: text}}
        for text in texts if text.strip()
    ]  # fmt: skip
    lines = "".join(json.dumps(profile) + "\n" for profile in profiles)
    (folder / "people.jsonl").write_text(lines)
    bad = "\n".join(text.replace("\n", " ") for text in texts)
    (folder / "people.jsonl").write_text(f"{lines}{bad}\n")
    server = FakeServer()

    class Hostile(dict[str, str]):
        """An answer of the corpus for whatever is asked in words."""

        def items(self) -> Any:
            return [(words, rng.choice(texts)) for words in ASKED]

    server.replies = Hostile()
    with server:
        models = ("--model", "openai:fake", "--embeddings", "openai:fake", "--base-url", server.url)
        size = ("--agents", "30", "--scenarios", "8", "--rows", "6", "--kind", "sft,dpo")
        people, out = folder / "people.jsonl", folder / "run"
        command("run", "--profiles", people, *size, *models, "--out", out, codes=(0, 3))
    return folder / "run"


def test_every_command_shows_it_as_text(hostile_run: Path, tmp_path: Path) -> None:
    record = RunRecord(hostile_run)
    command("show", hostile_run, codes=(0, 2))
    command("report", hostile_run)
    ids = [row["id"] for rows in record.rows.values() for row in rows]
    for row in [*ids[:8], *(rejection["id"] for rejection in record.rejections[:8])]:
        command("trace", hostile_run, row)
    looks = ("who", "inbox", "memories", "memories all", "why", "prompt", "answer", "calls")
    lines = ("next", *looks, "people", *("next", "why", "who") * 8, *HOSTILE[:40], "q")
    typed = "".join(f"{line}\n" for line in lines)
    command("debug", hostile_run, given=written(typed))
    for view in VIEWS:
        command("export", hostile_run, "--to", view, "--out", tmp_path / view, codes=(0, 2))


class Tags(HTMLParser):
    """The tags of a page and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.handlers += [str(value) for _, value in attrs if str(value).startswith("javascript:")]


def test_pages_and_displays_hold_no_tag_of_theirs(hostile_run: Path) -> None:
    command("report", hostile_run)
    record = RunRecord(hostile_run)
    shown = [
        (hostile_run / "report.html").read_text("utf-8"),
        RunResult.of(hostile_run)._repr_html_(),
        record._repr_html_(),
        show_society(record)._repr_html_(),
        *(show_scenario(record, scenario["id"])._repr_html_() for scenario in record.scenarios[:3]),
        *(show_row(record, row["id"])._repr_html_() for row in record.rows["sft"][:3]),
    ]
    for page in shown:
        tags = Tags()
        tags.feed(page)
        assert not tags.handlers
        assert not tags.tags & {"img", "iframe", "object", "embed", "link", "base", "form"}
        assert page.count("<script") <= 1
    card = (hostile_run / "README.md").read_text("utf-8")
    assert not re.search(r"<(?:script|img|svg|b)\b", card)


def test_rows_of_any_kind_are_filtered(tmp_path: Path) -> None:
    rng = random.Random(8)
    rows: list[dict[str, Any]] = []

    def any_text() -> str:
        return rng.choice(HOSTILE)

    for number, text in enumerate(HOSTILE):
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": any_text()}]
        about = {"id": f"{number} {text[:30]}", "kind": text[:20], "language": any_text()[:20]}
        rows.append(about | {"messages": turns, "answer": any_text()})
        rows.append({"prompt": text, "chosen": any_text(), "rejected": any_text()})
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines)
    command("filter", tmp_path / "rows.jsonl", "--out", tmp_path / "out")
    command("report", tmp_path / "out")
    command("refilter", tmp_path / "out")
    assert not OBEYED.search((tmp_path / "out" / "funnel.svg").read_text("utf-8").replace("\n", ""))
    for view in VIEWS:
        command("export", tmp_path / "out", "--to", view, codes=(0, 2))
    for file in (tmp_path / "out").rglob("*.jsonl"):
        for line in file.read_text("utf-8").splitlines():
            json.loads(line)
