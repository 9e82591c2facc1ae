"""The page of a run: all of it is there, and what hostile people and models wrote is inert, also in
a real browser.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest

from matrix_graph.boundary.files import write_json_lines
from matrix_graph.errors import InputError
from matrix_graph.report.page import write_report
from matrix_graph.report.society import _labels
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.runs.filter_runner import afilter_rows
from matrix_graph.runs.runner import run
from matrix_graph.testing import FakeServer
from tests.helpers import sft

pytestmark = pytest.mark.slow

HOSTILE = (
    "<script>document.title='hacked'</script>",
    '"><img src=x onerror="document.title=\'hacked\'">',
    "</title></style></script><script>document.title='hacked'</script>",
    "<a href=\"javascript:document.title='hacked'\">click</a>",
    "' onmouseover='alert(1)",
    "<svg onload=\"document.title='hacked'\">",
    "--><iframe src='file:///etc/passwd'></iframe>",
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Seen(HTMLParser):
    """What a page is made of, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    profiles = out.parent / "profiles.jsonl"
    people = [
        {
            "id": f"p{n}{bad}",
            "name": f"Name {bad}",
            "description": f"mends {bad}",
            "posts": [bad, f"post {n}"],
        }
        for n, bad in enumerate(HOSTILE)
    ]
    profiles.write_text("".join(json.dumps(person) + "\n" for person in people))
    with FakeServer(
        replies={"What do you do now": f"I shout {HOSTILE[0]} at {HOSTILE[1]}."}
    ) as server:
        server.replies["Write what this person would now ask"] = (
            f"How do I mend {HOSTILE[1]} and {HOSTILE[2]}, please?"
        )
        config = RunConfig(
            profiles=profiles,
            agents=7,
            scenarios=5,
            rows=4,
            kind=("sft", "dpo", "mt"),
            model="openai:fake",
            embeddings="openai:fake",
            base_url=server.url,
            out=out,
        )
        run(config)
    return out


def test_everything_is_there_and_every_link_leads_somewhere(folder: Path) -> None:
    page = Seen()
    page.feed(write_report(folder).read_text("utf-8"))
    for name in (
        "Society",
        "Timeline",
        "kept and dropped",
        "What the rows are like",
        "Scenarios",
        "People",
        "Cost",
    ):
        assert name in page.text
    for line in (folder / "dataset" / "mt.jsonl").read_text("utf-8").splitlines():
        assert all(turn["content"] in page.text for turn in json.loads(line)["messages"])
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") for link in page.links), "nothing is fetched"


def test_what_they_wrote_is_text(folder: Path) -> None:
    page = Seen()
    page.feed(write_report(folder).read_text("utf-8"))
    assert page.tags["script"] == 1
    assert page.tags["img"] == page.tags["iframe"] == 0
    assert not any(name.startswith("on") for name in page.attributes)
    assert HOSTILE[0] in page.text
    assert HOSTILE[2] in page.text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; .ci/run installs Debian's")
@pytest.mark.process
def test_a_browser_runs_our_script_and_no_other(folder: Path, tmp_path: Path) -> None:
    assert CHROMIUM
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
    )
    command = [
        CHROMIUM,
        *flags,
        f"--user-data-dir={tmp_path}",
        "--virtual-time-budget=2000",
        "--dump-dom",
    ]
    page = write_report(folder).as_uri() + "#part-People"
    dom = subprocess.run(
        [*command, page], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    seen = Seen()
    seen.feed(dom)
    assert "<title>run: a society and its rows</title>" in dom
    assert seen.tags["script"] == 1
    assert HOSTILE[0] in seen.text
    target = f"#{next(name for name in seen.ids if name.startswith('agent-'))}"
    opened = subprocess.run(
        [*command, page.split("#")[0] + target],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert f'id="{target[1:]}" open' in opened.stdout, "our own script opens what a link leads to"


def test_names_on_the_map_do_not_lie_on_each_other() -> None:
    names = {"a": "Farzaneh Dowlatshahi", "b": "Jutta Kozlowski-Behrens", "c": "Bo"}
    labels = _labels({"a": (500.0, 200.0), "b": (660.0, 198.0), "c": (580.0, 400.0)}, names)
    seen = Seen()
    seen.feed("".join(labels.values()))
    assert all(name in seen.text for name in names.values())
    boxes = []
    for agent in names:
        found = dict(re.findall(r' ([a-z-]+)="([^"]*)"', labels[agent]))
        width = 7.2 * len(names[agent])
        left = (
            float(found["x"])
            - {"start": 0.0, "middle": width / 2, "end": width}[found["text-anchor"]]
        )
        boxes.append((left, float(found["y"]) - 10, left + width, float(found["y"]) + 3))
    for one, other in combinations(boxes, 2):
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


async def test_a_filter_run_is_a_page_too(tmp_path: Path) -> None:
    rows = [
        sft(
            f"r{n}",
            f"How do I mend {HOSTILE[n % 7]} before the storm number {n}?",
            f"Take {HOSTILE[0]} and go on.",
        )
        | {"category": HOSTILE[n % 2]}
        for n in range(40)
    ]
    rows += [
        sft(f"cut{n}", f"What does {HOSTILE[1]} cost in the year {n}?", "I think that it")
        for n in range(9)
    ]
    write_json_lines(tmp_path / "rows.jsonl", rows)
    result = await afilter_rows(tmp_path / "rows.jsonl", FilterConfig(out=tmp_path / "out"))
    page = Seen()
    page.feed(write_report(result.out).read_text("utf-8"))
    rules = Counter(rejection["rule"] for rejection in result.rejections)
    assert rules["answer breaks off"] == 9
    assert all(f"{rule} dropped {count}" in page.text for rule, count in rules.items())
    assert all(str(row["messages"][0]["content"]) in page.text for row in result.kept)
    assert all(effect["measure"] in page.text for effect in result.summary["effects"])
    assert page.tags["script"] == 1
    assert page.tags["img"] == page.tags["iframe"] == 0
    assert not any(name.startswith("on") for name in page.attributes)
    assert len(page.ids) == len(set(page.ids))


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        write_report(tmp_path)
