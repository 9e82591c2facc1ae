"""What may be changed in a run's past: an amendment, or what a call answered."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from matrix_graph.amendments import Amendment
from matrix_graph.boundary.values import read_json
from matrix_graph.errors import InputError
from matrix_graph.llm.journal import Journal
from matrix_graph.llm.tasks import run_sync


class CallEdit(NamedTuple):
    """`text` in place of what the call at `slot` answered: a persona, who becomes aware, a summary,
    a row.
    """

    slot: str
    text: str


Change = Amendment | CallEdit


def put_into(path: Path, change: Change) -> None:
    """Put a change into the journal at `path`.

    Raises:
        InputError: it has no text, or there is no such call.
    """
    if not change.text.strip():
        raise InputError("A change needs text.")
    journal = Journal(path)
    try:
        if isinstance(change, Amendment):
            entries = [change.entry()]
        else:
            calls = [entry for entry in journal.entries(change.slot) if entry.slot == change.slot]
            for entry in calls:
                _check_form(entry.answer, change)
            entries = [replace(entry, answer=change.text, finish="edited") for entry in calls]
        if not entries:
            raise InputError(
                f"There is no call at {change.slot!r}; they have places such as persona/p001#1."
            )
        for entry in entries:
            run_sync(journal.record(entry))
    finally:
        journal.close()


def _check_form(before: str, change: CallEdit) -> None:
    """See that an answer in JSON is replaced by one of the same form: any other would just be asked
    for again.
    """
    form = _keys(before)
    if form and _keys(change.text) != form:
        raise InputError(
            f"The answer at {change.slot} is a JSON object with {', '.join(sorted(form))}; so "
            "must the new one be."
        )


def _keys(text: str) -> set[str]:
    try:
        value = read_json(text)
    except ValueError:
        return set()
    return set(value) if isinstance(value, dict) else set()
