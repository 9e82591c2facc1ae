"""Branches of a run: another past for one call, what came of it, and pairs of the two.

Everything in a run is the answer of a call on record, so a branch is the same journal with one answer changed,
run again from there: calls whose requests are as they were cost nothing.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from matrix_graph.config import RunConfig
from matrix_graph.errors import InputError
from matrix_graph.export.files import write_text
from matrix_graph.llm.caller import FAILED
from matrix_graph.runner import Listener, RunResult, arun
from matrix_graph.schema import Action, Row
from matrix_graph.workbench.record import RunRecord, asked


class Difference(NamedTuple):
    """One action in two branches; None where a branch has none."""

    id: str
    here: Action | None
    there: Action | None


async def fork_run(record: RunRecord, slot: str, answer: str, out: Path, listen: Listener | None = None) -> RunResult:
    """Run the record's run again in `out`, with `answer` in place of what the call at `slot` answered.

    An action's slot is its `call`; a plan is part of the answer at `persona/ID`, who becomes aware of what part of
    the answers of `deliver`, as JSON.

    Raises:
        InputError: no such call, an empty answer, or something in `out` already.
    """
    await asyncio.to_thread(_begun, record, slot, answer, out)
    return await arun(RunConfig.model_validate({"out": out}), resume=True, listen=listen)


def _begun(record: RunRecord, slot: str, answer: str, out: Path) -> None:
    """The branch's folder: the same beginning and the same journal, but for one answer."""
    entry = record.calls.get(slot)
    if entry is None:
        raise InputError(f"{record.folder} has no call at {slot!r}.")
    if not answer.strip():
        raise InputError("An answer needs text.")
    if out.exists():
        raise InputError(f"{out} is there already; name a new folder for the branch.")
    out.mkdir(parents=True)
    _copied(record.folder / "journal.sqlite", out / "journal.sqlite")
    with closing(sqlite3.connect(out / "journal.sqlite")) as journal, journal:
        finish = "stop" if entry.finish == FAILED else entry.finish
        journal.execute("UPDATE calls SET answer = ?, finish = ? WHERE slot = ?", (answer, finish, slot))
    if (record.folder / "journals").is_dir():
        shutil.copytree(record.folder / "journals", out / "journals")
    begun = dict(record.summary)
    begun["config"] = begun["config"] | {"out": str(out)}
    begun["forked"] = {"from": str(record.folder), "call": slot, "answered": entry.answer}
    write_text(out / "run.json", json.dumps(begun | {"ended": "forked", "seconds": 0.0}, ensure_ascii=False))


def diff_runs(here: RunRecord, there: RunRecord) -> list[Difference]:
    """The actions that are not the same in both, in the order of the run."""
    left, right = (_actions(record) for record in (here, there))
    ids = sorted(left.keys() | right.keys(), key=lambda name: _when(left.get(name) or right[name]))
    pairs = [Difference(name, left.get(name), right.get(name)) for name in ids]
    return [pair for pair in pairs if _text(pair.here) != _text(pair.there)]


def preference_pair(here: RunRecord, there: RunRecord, action: str, *, chosen_there: bool = False) -> Row:
    """A preference pair of what an agent did in two branches of one past.

    Raises:
        InputError: the action is not in both, is the same in both, or did not come of the same past.
    """
    left, right = _actions(here).get(action), _actions(there).get(action)
    if left is None or right is None:
        raise InputError(f"There is no action {action!r} in both branches.")
    calls = here.calls.get(left["call"]), there.calls.get(right["call"])
    if calls[0] is None or calls[1] is None or calls[0].request != calls[1].request:
        raise InputError(f"The two branches have another past before {action!r}; pair the action at which they part.")
    if left["text"] == right["text"]:
        raise InputError(f"{action!r} is the same in both branches.")
    texts = (right["text"], left["text"]) if chosen_there else (left["text"], right["text"])
    chosen, rejected = ([{"role": "assistant", "content": text}] for text in texts)
    origin = {"action": action, "branches": [str(here.folder), str(there.folder)], "calls": [left["call"]]}
    own = {"id": f"pair-{action}", "kind": "dpo", "prompt": asked(calls[0])}
    return {**own, "chosen": chosen, "rejected": rejected, "provenance": origin}


def _actions(record: RunRecord) -> dict[str, Action]:
    return {action["id"]: action for scenario in record.scenarios for action in scenario["actions"]}


def _text(action: Action | None) -> str | None:
    return action["text"] if action else None


def _when(action: Action) -> tuple[int, str]:
    return action["step"], action["id"]


def _copied(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
