"""What the commands offer beside a plain run: a look before, a file to begin with, less or more to
read, and going on past the end.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from matrix_graph import InputError, RunConfig
from matrix_graph.runs import FilterConfig
from matrix_graph.runs.options import Options
from matrix_graph.runs.template import json_schema, template, write_template
from matrix_graph.testing import FakeServer
from tests.terminal.test_cli import at, cli

CONFIGS: list[type[Options]] = [RunConfig, FilterConfig]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_template_says_every_option_at_its_default(config: type[Options], tmp_path: Path) -> None:
    text = template(config)
    file = tmp_path / "c.yaml"
    file.write_text(text, "utf-8")
    assert config.load(file, {}) == config()
    named = "\n".join(
        line.removeprefix("#") for line in text.splitlines() if not line.startswith("# ")
    )
    file.write_text(named, "utf-8")
    assert config.load(file, {}).public() == config().public()
    assert yaml.safe_load(named).keys() == config.model_fields.keys()


@pytest.mark.parametrize("config", CONFIGS)
def test_every_option_is_documented_where_an_editor_and_help_show_it(
    config: type[Options],
) -> None:
    properties = json_schema(config)["properties"]
    assert properties.keys() == config.model_fields.keys()
    for name, field in config.model_fields.items():
        assert field.description, name
        assert properties[name]["description"] == field.description


def test_a_template_goes_over_no_file(tmp_path: Path) -> None:
    schema = write_template(RunConfig, tmp_path / "run.yaml")
    assert json.loads(schema.read_text("utf-8"))["additionalProperties"] is False
    with pytest.raises(InputError, match="is there already"):
        write_template(RunConfig, tmp_path / "run.yaml")


@pytest.mark.process
def test_init_then_run_by_config(server: FakeServer, tmp_path: Path) -> None:
    assert cli("init", "mine.yaml", cwd=tmp_path).returncode == 0
    assert cli("init", "f.yaml", "--of", "filter", cwd=tmp_path).returncode == 0
    assert "run, or filter" in cli("init", "--help").stdout
    assert cli("init", "x.yaml", "--of", "x", cwd=tmp_path).returncode == 2
    for command in ("run", "estimate"):
        done = cli(command, "--config", "mine.yaml", *at(server), "--out", "made", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    twice = cli("run", "mine.yaml", "--config", "mine.yaml", cwd=tmp_path)
    assert twice.returncode == 2
    assert "Name one configuration" in twice.stderr


@pytest.mark.process
def test_kinds_repeat_and_help_names_defaults(server: FakeServer, tmp_path: Path) -> None:
    kinds = ["--kind", "sft", "--kind", "dpo,mt"]
    done = cli("estimate", *at(server), *kinds, "--json", "--out", str(tmp_path / "x"))
    assert {part.split()[0] for part in json.loads(done.stdout)["calls_by_part"]} >= {
        "sft",
        "dpo",
        "mt",
    }
    shown = cli("run", "--help").stdout
    assert "[default: (structured)]" in shown
    assert "[default: (120.0)]" in shown


@pytest.mark.process
def test_a_preview_is_small_and_stands_beside(server: FakeServer, tmp_path: Path) -> None:
    out = tmp_path / "made"
    many = ["--agents", "50", "--scenarios", "40", "--rows", "90", "--out", str(out)]
    for _ in range(2):
        done = cli("preview", *at(server), *many)
        assert done.returncode == 0, done.stderr
    assert "asks" in done.stdout
    assert "The whole takes about" in done.stderr
    assert not out.exists()
    summary = json.loads((tmp_path / "made-preview" / "run.json").read_text("utf-8"))
    assert (summary["counts"]["agents"], summary["counts"]["kept"]) == (5, {"sft": 2})


@pytest.mark.process
def test_a_preview_of_what_cannot_be_costs_nothing(server: FakeServer, tmp_path: Path) -> None:
    done = cli("preview", *at(server), "--agents", "200", "--out", str(tmp_path / "made"))
    assert done.returncode == 2
    assert "--clone" in done.stderr
    assert not server.requests
    assert not list(tmp_path.iterdir())


def test_the_preview_of_requirements(tmp_path: Path) -> None:
    wanted: list[dict[str, Any]] = [{"kind": "sft", "count": 500}, {"kind": "dpo"}]
    small = RunConfig(requirements=wanted, rows=70, out=tmp_path / "x").preview()
    assert [(w.kind, w.count) for w in small.wanted()] == [("sft", 2), ("dpo", 2)]


@pytest.mark.process
def test_quiet_verbose_and_a_log(server: FakeServer, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    options = ["--quiet", "--log-file", str(log)]
    done = cli("run", *at(server), *options, "--out", str(tmp_path / "a"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    events = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert {"start", "personas", "society", "generate", "filter", "end"} <= {
        event["stage"] for event in events
    }
    assert events[-1]["ended"]["status"] == "complete"
    assert all("to" in event for event in events if event.get("event") == "message")
    full = ["--log-file", "/dev/full", "--out", str(tmp_path / "full")]
    done = cli("run", *at(server), *full)
    assert done.returncode == 0
    assert "--log-file ends here: No space left" in done.stderr
    done = cli("run", *at(server), "-v", "--out", str(tmp_path / "b"))
    assert '"stage": "society"' in done.stderr
    nowhere = str(tmp_path / "no" / "log")
    done = cli("run", *at(server), "--log-file", nowhere, "--out", str(tmp_path / "c"))
    assert done.returncode == 2
    assert "--log-file" in done.stderr


@pytest.mark.process
def test_a_cap_says_to_raise_it_and_has_its_exit_code(server: FakeServer, tmp_path: Path) -> None:
    out = str(tmp_path / "made")
    done = cli("run", *at(server), "--max-calls", "5", "--out", out)
    assert done.returncode == 5
    assert "raise max_calls (--max-calls)" in done.stderr
    assert cli("run", "--out", out, "--resume").returncode == 5
    done = cli("run", "--out", out, "--resume", "--max-calls", "500")
    assert done.returncode == 0
    done = cli("run", "--out", out, "--resume", "--rows", "4", "--scenarios", "2", "--json")
    assert json.loads(done.stdout)["counts"]["kept"] == {"sft": 4}
