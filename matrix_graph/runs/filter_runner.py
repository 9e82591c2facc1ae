"""A filter run: a file of rows → a folder with what is kept, what is dropped and why, controls, and
what changed.

dataset/  rejected.jsonl  controls/  funnel.svg  filter.json  README.md  ·  rows.jsonl  ledger.jsonl
journals/
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from matrix_graph.context import Context, close, opened
from matrix_graph.errors import CallFailed, InputError, RunPaused
from matrix_graph.export.files import read_json_lines, write_json_lines, write_text
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.runs.filter_folder import (
    LEDGER,
    ROWS,
    SUMMARY,
    FilterResult,
    begin_filter_folder,
    check_filter_folder,
    write_filtered,
)
from matrix_graph.filtering.funnel import funnel
from matrix_graph.filtering.graph import create_filter
from matrix_graph.filtering.ledger import Ledger
from matrix_graph.filtering.noted import responses_of, rewards_of
from matrix_graph.filtering.steps.rewards import HttpReward
from matrix_graph.filtering.rows import wrong_shape
from matrix_graph.filtering.rules import Means, Rules
from matrix_graph.filtering.step import Step
from matrix_graph.llm.models import NONE
from matrix_graph.runs.probe import probe
from matrix_graph.schema import Row

Listener = Callable[[dict[str, Any]], None]


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSON Lines file in a TRL layout, each with an id: its own, or the file's name
    and its line.

    Raises:
        InputError: there is no such file, it holds none, or two rows have one id.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    rows = []
    for number, row in enumerate(read_json_lines(path), 1):
        given = row.get("id")
        rows.append({"id": "", **row} | {"id": f"{path.stem}-{number}" if given is None else str(given)})
    if not rows:
        raise InputError(f"{path} holds no row.")
    problems = [wrong_shape(row) for row in rows]
    if all(problems):
        layouts = "messages; prompt and completion; prompt, chosen and rejected"
        raise InputError(f"No row of {path} is in one of TRL's layouts ({layouts}): {problems[0]}.")
    if len({row["id"] for row in rows}) < len(rows):
        raise InputError(f"In {path} two rows have one id; give each an id of its own, or none.")
    return rows


async def filter_rows(
    path: Path,
    config: FilterConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listen: Listener | None = None,
) -> FilterResult:
    """Filter the rows in `path` into `config.out`.

    Args:
        resume: Go on with a run in that folder that was stopped; answered calls are not made again.
        overwrite: Delete the run in that folder first.

    Raises:
        InputError: what was given cannot work.
        RunPaused: a cap was reached, or a model is down; resume later.
    """
    rows, rules, means = read_rows(path), config.funnel(), config.means()
    steps = rules.steps(means)
    check_filter_folder(config.out, resume, overwrite)
    _check_rewards(rules, means, rows)
    if not resume:
        for context in means.contexts:
            await probe(context)
        await _probe_rewards(means)
    begin_filter_folder(config.out, overwrite)
    ledger = Ledger()
    try:
        names = {"embeddings": (await opened(means.embeddings)).embedder.name} if means.embeddings else {}
        write_text(config.out / SUMMARY, json.dumps({"ended": "running", "config": config.public()}))
        write_json_lines(config.out / ROWS, rows)
        recording = ledger.recording(steps)
        return await _filtered(rows, recording, config.out, config.public(), rules, names, listen, ledger)
    finally:
        for context in means.contexts:
            await close(context)


async def refilter(out: Path, rules: Path | None = None, listen: Listener | None = None) -> FilterResult:
    """Filter the rows of the run in `out` again with other rules, on what was measured then: no
    model is asked.

    Rows that come to a measurement which was not made of them then go, as "not measured".

    Raises:
        InputError: no finished filter run there, or the rules do not do.
    """
    if not (out / LEDGER).is_file():
        raise InputError(
            f"{out} holds no finished filter run; make one with: matrix-graph filter ROWS.jsonl "
            f"--out {out}"
        )
    try:
        before = json.loads((out / SUMMARY).read_text("utf-8"))
        config = FilterConfig.model_validate(before["config"] | {"out": out})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out / SUMMARY} is not what a filter run writes ({error}).") from error
    config = config.model_copy(update={"rules": rules} if rules else {})
    ledger = Ledger.of(read_json_lines(out / LEDGER))
    means = _recorded(config, before)
    chosen = config.funnel()
    steps = ledger.replaying(chosen.steps(means))
    try:
        rows = read_json_lines(out / ROWS)
        names = before.get("models", {})
        return await _filtered(rows, steps, out, config.public(), chosen, names, listen)
    finally:
        for context in means.contexts:
            await close(context)


def _recorded(config: FilterConfig, before: dict[str, Any]) -> Means:
    """Means in which no model can be asked."""
    silent = Context(model=NONE, embeddings=NONE)
    means = config.means()
    embeddings = Context(
        model=NONE,
        embeddings=f"{NONE}:{before.get('models', {}).get('embeddings', '')}",
        journal=config.out / "journals" / "embeddings.sqlite",
    )
    return Means(
        judges=tuple(silent for _ in means.judges),
        student=silent if means.student else None,
        embeddings=embeddings if means.embeddings else None,
        benchmark=means.benchmark,
    )


def _check_rewards(rules: Rules, means: Means, rows: Sequence[Row]) -> None:
    asking = [n for n in ("pass_rate", "learnability", "min_reward", "rip", "pairs") if getattr(rules, n)]
    if asking and not means.student and not any(rewards_of(row) or responses_of(row) for row in rows):
        raise InputError(f"The rule {asking[0]} looks at rewards of a student's answers; name it with --student.")


async def _probe_rewards(means: Means) -> None:
    for scorer in means.scorers:
        if isinstance(scorer, HttpReward):
            trial = replace(scorer, context=replace(scorer.context, journal=None))
            try:
                await trial({"id": "probe", "prompt": "Are you there?"}, ["Yes, I am."])
            except (CallFailed, RunPaused) as error:
                raise InputError(f"The reward model does not score: {error}") from error
            finally:
                await close(trial.context)


async def _filtered(
    rows: list[Row],
    steps: Sequence[Step],
    out: Path,
    config: dict[str, Any],
    rules: Rules,
    models: dict[str, str],
    listen: Listener | None,
    ledger: Ledger | None = None,
) -> FilterResult:
    told: list[tuple[str, int, int]] = []
    final: dict[str, Any] = {}
    graph = create_filter(steps).compile(name="filter")
    async for mode, data in graph.astream({"rows": rows}, stream_mode=["custom", "values"]):
        event = cast("dict[str, Any]", data)
        if mode == "values":
            final = event
            continue
        if event.get("event") == "step":
            told.append((event["step"], event["dropped"], event["left"]))
        if listen:
            listen(event)
    kept, rejections = final["rows"], final.get("rejections", [])
    stages = funnel(told, rejections)
    if ledger:
        write_json_lines(out / LEDGER, ledger.lines())
    return await asyncio.to_thread(write_filtered, rows, kept, rejections, stages, rules.pairs, out, config, models)
