"""Keys of the user's, which every server says back in all that it says, are in no file and on no
screen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from matrix_graph.export.formats import VIEWS
from matrix_graph.runs.record import RunRecord
from matrix_graph.terminal.cli import app
from matrix_graph.testing import FakeServer, answer_to
from tests.helpers import sft
from tests.llm.test_bodies import serving

KEY, REWARD_KEY = "key-5f1c8a9e2b7d4c6f", "reward-0d2b9e7714aa"


class Echo(FakeServer):
    """A server that says the key in each answer, in its own name, and in refusals."""

    def _completion(self, body: dict[str, Any], draw: float) -> dict[str, Any]:
        schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        text = answer_to(body["messages"], schema, body.get("seed"))
        words = f"mend the net with {KEY}"
        if schema:
            given = json.loads(text)
            for name, value in given.items():
                if isinstance(value, str) and len(value) > 20:
                    given[name] = f"{value[:100]} {words}"
            text = json.dumps(given)
        else:
            text = f"{text} I {words}, Bearer {KEY}."
        self.replies = {"": text}
        whole = super()._completion(body, draw)
        return whole | {"id": KEY, "model": KEY, "system_fingerprint": KEY, KEY: KEY}


@pytest.fixture
def echo() -> Iterator[FakeServer]:
    with Echo(key=KEY) as server:
        yield server


def command(*words: object, given: str | None = None, codes: tuple[int, ...] = (0,)) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words], input=given)
    assert done.exit_code in codes, done.output[-1500:]
    return done.output


def test_keys_that_come_back_are_in_no_file_and_on_no_screen(
    echo: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aiohttp import web

    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("REWARD_API_KEY", REWARD_KEY)
    out, kept, log = tmp_path / "run", tmp_path / "kept", tmp_path / "log"
    models = ("--model", "openai:fake", "--embeddings", "openai:fake", "--base-url", echo.url)
    judges = ("--judge", "openai:judge", "--student", "openai:student", "--rollouts", 2)
    size = ("--agents", 6, "--scenarios", 2, "--rows", 4, "--kind", "sft,dpo")
    rewarded: list[str] = []

    def reward(request: web.Request) -> web.Response:
        sent = request.headers.get("Authorization", "")
        rewarded.append(sent)
        scores = [{"index": n, "score": 0.5, "echo": sent} for n in range(2)]
        if len(rewarded) % 2:
            return web.json_response({"data": scores, "model": sent})
        return web.json_response({"error": f"You sent {sent}"}, status=400)

    with serving(reward) as elsewhere:
        scored = ("--reward", f"{elsewhere}/score")
        screens = [command("run", *models, *size, "--out", out, "--log-file", log, codes=(0, 3))]
        rows = [sft(str(n), f"What is a net of {n} ropes worth?") for n in range(8)]
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = (tmp_path / "rows.jsonl", "--out", kept, "--base-url", echo.url)
        screens.append(command("filter", *given, *judges, *scored, "--log-file", log))
    assert REWARD_KEY in " ".join(rewarded)
    record = RunRecord(out)
    ids = [row["id"] for rows in record.rows.values() for row in rows]
    ids += [rejection["id"] for rejection in record.rejections]
    screens += [command("show", out), command("report", out), command("report", kept)]
    screens += [command("trace", out, row) for row in ids[:6]]
    screens.append(command("debug", out, given="next\nprompt\nanswer\nmemories\ncalls\nq\n"))
    for view in VIEWS:
        for folder in (out, kept):
            target = tmp_path / view / folder.name
            screens.append(command("export", folder, "--to", view, "--out", target, codes=(0, 2)))
    refused = ("--base-url", echo.url, "--out", tmp_path / "refused")
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}-old")
    screens.append(command("run", "--model", "openai:fake", *refused, codes=(2, 4)))

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 40
    held = b"".join(path.read_bytes() for path in files)
    assert b"mend the net with" in held
    assert "mend the net with" in "".join(screens)
    for key in (KEY, REWARD_KEY):
        assert not [path for path in files if key.encode() in path.read_bytes()]
        assert not [screen for screen in screens if key in screen]
