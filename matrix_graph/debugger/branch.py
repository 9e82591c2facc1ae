"""Branches of a run: another past from one turn or call on, what came of it, and pairs of the two.

Everything in a run is the answer of a call on record, so a branch is the same journal with one
change in it, lived again: calls whose requests are as they were cost nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from matrix_graph.boundary.files import (
    copy_file,
    make_folder,
    read_json_object,
    remove,
    write_json,
)
from matrix_graph.debugger.changes import Change, put_into
from matrix_graph.debugger.live import Live
from matrix_graph.debugger.sources import LiveGraph, LiveRun
from matrix_graph.errors import InputError
from matrix_graph.llm.journal import Journal, copy_journal
from matrix_graph.llm.tasks import run_sync
from matrix_graph.runs.config import JOURNAL, RunConfig
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.folder import check_folder, clear_folder
from matrix_graph.runs.given import tables_in
from matrix_graph.runs.received import read_summary
from matrix_graph.runs.record import RunRecord, asked
from matrix_graph.runs.result import RunResult
from matrix_graph.runs.resuming import branched
from matrix_graph.runs.runner import arun
from matrix_graph.runs.shown import Listener
from matrix_graph.schema import Action, Row

Past = RunRecord | Live


class Difference(NamedTuple):
    """One action in two branches; None where a branch has none."""

    id: str
    here: Action | None
    there: Action | None


def fork_run(
    record: RunRecord, change: Change, out: str | Path, *, models: RunConfig | None = None
) -> RunResult:
    """`afork_run` for code that is not asynchronous."""
    return run_sync(afork_run(record, change, out, models=models))


async def afork_run(
    record: RunRecord,
    change: Change,
    out: str | Path,
    listen: Listener | None = None,
    *,
    models: RunConfig | None = None,
) -> RunResult:
    """Run the record's run again in `out`, with a change in its past, to its end.

    Args:
        models: A configuration that holds its models, where those were objects.

    Raises:
        InputError: no such call, an empty text, something in `out` already, or a model is missing.
    """
    config = branched(record.summary, Path(out), models)
    await asyncio.to_thread(begin_branch, record.folder, change, Path(out))
    return await arun(config, resume=True, listen=listen)


def replay_run(folder: str | Path, out: str | Path, *, overwrite: bool = False) -> RunResult:
    """`areplay_run` for code that is not asynchronous."""
    return run_sync(areplay_run(folder, out, overwrite=overwrite))


async def areplay_run(folder: str | Path, out: str | Path, *, overwrite: bool = False) -> RunResult:
    """Live a run again in `out` from its beginning and its journals alone, as far as they go; no
    model is asked.

    Args:
        overwrite: Delete the run in `out` first.

    Raises:
        InputError: there is no run in `folder`, or something in `out` already.
    """
    await asyncio.to_thread(_begin_replay, Path(folder), Path(out), overwrite)
    return await arun(RunConfig(out=out, offline=True), resume=True)


def _begin_replay(folder: Path, out: Path, overwrite: bool) -> None:
    if not (folder / "run.json").is_file():
        raise InputError(f"{folder} holds no run to live again.")
    if out.resolve() == folder.resolve():
        raise InputError(f"{folder} is lived again elsewhere; name another folder.")
    check_folder(out, overwrite)
    clear_folder(out)
    copy_run(folder, out)


def live_branch(of: Past, change: Change, out: str | Path, models: RunConfig | None = None) -> Live:
    """The same, as a run to step through. Of a graph, `out` is the file of the branch's journal."""
    out = Path(out)
    if isinstance(of, LiveGraph):
        return of.branch(change, out)
    if not isinstance(of, RunRecord | LiveRun):
        raise InputError("Only a run in a folder and a graph can have branches.")
    models = of.config if isinstance(of, LiveRun) else models
    config = branched(read_summary(of.folder), out, models)
    begin_branch(of.folder, change, out)
    return LiveRun(config, resume=True)


def begin_branch(folder: Path, change: Change, out: Path) -> None:
    """The branch's folder: the same beginning and the same journal, but for the change. Errors as
    `afork_run`.
    """
    if out.exists():
        raise InputError(f"{out} is there already; name a new folder for the branch.")
    copy_run(folder, out, forked={"from": str(folder), **change._asdict()})
    try:
        put_into(out / JOURNAL, change)
    except InputError:
        remove(out)
        raise


def copy_run(folder: Path, out: Path, forked: Mapping[str, object] | None = None) -> None:
    """What a run is lived again from, also of one that is going on: its beginning and its journal.

    What it has used so far is not the copy's.
    """
    make_folder(out)
    copy_journal(folder / JOURNAL, out / JOURNAL)
    journal = Journal(out / JOURNAL)
    journal.forget_spending()
    journal.close()
    begun = read_json_object(folder / "run.json", ("config",))
    for table in tables_in(folder).values():
        copy_file(table, out / table.name)
    begun["config"] |= {"out": str(out)}
    begun |= {"ended": Ended("running").public(), "seconds": 0.0}
    if forked:
        begun["forked"] = dict(forked)
    write_json(out / "run.json", begun)


def diff_runs(here: Past, there: Past) -> list[Difference]:
    """The actions that differ, in the order of the run, as far as both have come."""
    left, right = _actions(here), _actions(there)
    known = left.keys() | right.keys()
    for past, actions in ((here, left), (there, right)):
        known &= known if past.over else actions.keys()
    ids = sorted(known, key=lambda name: _when(left.get(name) or right[name]))
    pairs = [Difference(name, left.get(name), right.get(name)) for name in ids]
    return [pair for pair in pairs if _text(pair.here) != _text(pair.there)]


def asked_anew(here: Past, there: Past) -> int:
    """How many calls of `there` are not on record `here`."""
    known = {(entry.slot, entry.digest) for entry in here.entries()}
    return sum((e.slot, e.digest) not in known for e in there.entries() if e.requests)


def preference_pair(here: Past, there: Past, action: str, *, chosen_there: bool = False) -> Row:
    """A preference pair of what an agent did in two branches of one past.

    Raises:
        InputError: the action is not in both, is the same in both, or did not come of the same
            past.
    """
    left, right = _actions(here).get(action), _actions(there).get(action)
    if left is None or right is None:
        raise InputError(f"There is no action {action!r} in both branches.")
    calls = here.call(left["call"]), there.call(right["call"])
    if calls[0] is None or calls[1] is None or calls[0].request != calls[1].request:
        raise InputError(
            f"The two branches have another past before {action!r}; pair the action at which they "
            "part."
        )
    if left["text"] == right["text"]:
        raise InputError(f"{action!r} is the same in both branches.")
    texts = (right["text"], left["text"]) if chosen_there else (left["text"], right["text"])
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in texts)
    origin = {"action": action, "branches": [here.name, there.name], "calls": [left["call"]]}
    columns = {"id": f"pair-{action}", "kind": "dpo", "prompt": asked(calls[0])}
    return {**columns, "chosen": chosen, "rejected": rejected, "provenance": origin}


def _actions(of: Past) -> dict[str, Action]:
    """By id; of a run under way also those of which nobody knows yet."""
    return {moment.action["id"]: moment.action for moment in of.moments if moment.action}


def _text(action: Action | None) -> str | None:
    return action["text"] if action else None


def _when(action: Action) -> tuple[int, str]:
    return action["step"], action["id"]
