"""A filter run: a file of rows → a folder with what is kept, what is dropped and why, controls, and what changed.

dataset/  rejected.jsonl  controls/  funnel.svg  filter.json  README.md  ·  rows.jsonl  ledger.jsonl  journals/
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from matrix_graph.context import Context, close, opened
from matrix_graph.errors import CallFailed, InputError, RunPaused
from matrix_graph.export.card import filter_card
from matrix_graph.export.files import read_json_lines, write_json_lines, write_text
from matrix_graph.filter_config import FilterConfig
from matrix_graph.filtering.controls import effects, length_matched, random_subset
from matrix_graph.filtering.funnel import funnel, funnel_svg
from matrix_graph.filtering.graph import create_filter, with_notes
from matrix_graph.filtering.ledger import Ledger
from matrix_graph.filtering.noted import responses_of, rewards_of
from matrix_graph.filtering.pairs import Pairs, audit
from matrix_graph.filtering.rewards import HttpReward
from matrix_graph.filtering.rows import is_safety, wrong_shape
from matrix_graph.filtering.rules import HYGIENE, Means, Rules
from matrix_graph.filtering.step import Drop, Step
from matrix_graph.llm.models import NONE
from matrix_graph.probe import probe
from matrix_graph.schema import Rejection, Row

Listener = Callable[[dict[str, Any]], None]
_SUMMARY, _ROWS, _LEDGER = "filter.json", "rows.jsonl", "ledger.jsonl"
_WRITTEN = ("dataset", "controls", "rejected.jsonl", "funnel.svg", "README.md")


@dataclass(frozen=True)
class FilterResult:
    """A filter run's folder after it: `summary` is its filter.json."""

    out: Path
    kept: list[Row]
    rejections: list[Rejection]
    summary: dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSON Lines file in a TRL layout, each with an id: its own, or the file's name and its line.

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
    _check(config.out, resume, overwrite)
    _check_rewards(rules, means, rows)
    if not resume:
        for context in means.contexts:
            await probe(context)
        await _probe_rewards(means)
    _begin(config.out, overwrite)
    ledger = Ledger()
    try:
        names = {"embeddings": (await opened(means.embeddings)).embedder.name} if means.embeddings else {}
        write_text(config.out / _SUMMARY, json.dumps({"ended": "running", "config": config.public()}))
        write_json_lines(config.out / _ROWS, rows)
        recording = ledger.recording(steps)
        return await _filtered(rows, recording, config.out, config.public(), rules, names, listen, ledger)
    finally:
        for context in means.contexts:
            await close(context)


async def refilter(out: Path, rules: Path | None = None, listen: Listener | None = None) -> FilterResult:
    """Filter the rows of the run in `out` again with other rules, on what was measured then: no model is asked.

    Rows that come to a measurement which was not made of them then go, as "not measured".

    Raises:
        InputError: no finished filter run there, or the rules do not do.
    """
    if not (out / _LEDGER).is_file():
        raise InputError(
            f"{out} holds no finished filter run; make one with: matrix-graph filter ROWS.jsonl --out {out}"
        )
    try:
        before = json.loads((out / _SUMMARY).read_text("utf-8"))
        config = FilterConfig.model_validate(before["config"] | {"out": out})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{out / _SUMMARY} is not what a filter run writes ({error}).") from error
    config = config.model_copy(update={"rules": rules} if rules else {})
    ledger = Ledger.of(read_json_lines(out / _LEDGER))
    means = _recorded(config, before)
    chosen = config.funnel()
    steps = ledger.replaying(chosen.steps(means))
    try:
        rows = read_json_lines(out / _ROWS)
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


def _check(out: Path, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other.")
    ours = (out / _SUMMARY).is_file()
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not ours)):
        raise InputError(f"--out {out} holds something that is no filter run; name an empty or a new folder.")
    if ours and not resume and not overwrite:
        raise InputError(f"--out {out} holds a filter run; go on with it (--resume), or replace it (--overwrite).")
    if resume and not ours:
        raise InputError(f"{out} holds no filter run to resume.")


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


def _begin(out: Path, overwrite: bool) -> None:
    if overwrite:
        for name in (*_WRITTEN, _ROWS, _LEDGER, "journals", "export"):
            _remove(out / name)
    try:
        (out / "journals").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"Cannot write to --out {out}: {error}") from error


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
        write_json_lines(out / _LEDGER, ledger.lines())
    return await asyncio.to_thread(_write, rows, kept, rejections, stages, rules.pairs, out, config, models)


def _write(
    rows: list[Row],
    kept: list[Row],
    rejections: list[Rejection],
    stages: list[dict[str, Any]],
    paired: Pairs | None,
    out: Path,
    config: dict[str, Any],
    models: dict[str, str],
) -> FilterResult:
    for name in _WRITTEN:
        _remove(out / name)
    pool, drawn_from = _pool(rows, kept, rejections, stages)
    pool = _paired(pool, paired) if paired else pool
    seed = config["seed"]
    sets = {
        "kept": kept,
        "random": random_subset(pool, len(kept), seed),
        "length_matched": length_matched(pool, kept, seed),
    }
    files = _by_file(kept)
    for name, part in files.items():
        write_json_lines(out / "dataset" / f"{name}.jsonl", part)
    write_json_lines(out / "rejected.jsonl", rejections)
    for name in ("random", "length_matched"):
        write_json_lines(out / "controls" / f"{name}.jsonl", sets[name])
    same = {
        name: len({row["id"] for row in sets[name]} & {row["id"] for row in kept}) for name in sets if name != "kept"
    }
    write_text(out / "funnel.svg", funnel_svg(len(rows), stages))
    summary = {
        "config": config,
        "models": models,
        "given": len(rows),
        "kept": len(kept),
        "funnel": stages,
        "controls": {"drawn_from": drawn_from, "pool": len(pool), "seed": seed, "also_kept": same},
        "effects": effects(sets, seed) if kept else [],
        "pairs": audit(kept),
        "ended": "complete",
    }
    write_text(out / "README.md", filter_card(summary, list(files)))
    write_text(out / _SUMMARY, json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
    return FilterResult(out, kept, rejections, summary)


def _pool(
    rows: list[Row], kept: list[Row], rejections: list[Rejection], stages: Sequence[dict[str, Any]]
) -> tuple[list[Row], str]:
    """What the controls are drawn from: the usable rows that the choosing steps chose among, or else all rows."""
    usable, start, chose = {row["id"]: row for row in kept}, 0, False
    for stage in stages:
        dropped = rejections[start : start + stage["dropped"]]
        start += stage["dropped"]
        if stage["step"] not in HYGIENE:
            usable |= {rejection["id"]: rejection["row"] for rejection in dropped}
            chose = chose or bool(dropped)
    return ([usable[row["id"]] for row in rows if row["id"] in usable], "usable rows") if chose else (rows, "all rows")


def _paired(pool: list[Row], paired: Pairs) -> list[Row]:
    """The controls of a set of pairs are pairs, made by the same rule."""
    bare = [row for row in pool if row.get("chosen") is None]
    found = paired(bare, [])
    gone = {finding.id for finding in found if isinstance(finding, Drop)}
    made = [row for row in with_notes(pool, found) if row["id"] not in gone]
    return [row for row in made if row.get("chosen") is not None or is_safety(row)]


def _by_file(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the file that they go to: one layout and kind each."""
    files: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        layout = next((name for name in ("messages", "chosen", "completion") if row.get(name) is not None), "prompt")
        kind = row.get("kind")
        name = "".join(c if c.isalnum() or c in "_-" else "_" for c in kind)[:40] if isinstance(kind, str) else ""
        files.setdefault(name or {"chosen": "pairs"}.get(layout, "rows"), {}).setdefault(layout, []).append(row)
    parts = ((name, layout, own) for name, layouts in files.items() for layout, own in layouts.items())
    return {name if len(files[name]) == 1 else f"{name}-{layout}": own for name, layout, own in parts}
