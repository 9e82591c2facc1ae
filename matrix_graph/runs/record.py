"""The folder of a run, or of a filter run, read: nothing in it is changed and no model is asked."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix_graph.boundary.databases import LOCK, is_held
from matrix_graph.boundary.files import read_json_lines, read_json_object
from matrix_graph.boundary.locks import is_held_here
from matrix_graph.boundary.values import read_json
from matrix_graph.errors import InputError
from matrix_graph.filtering.rows import answer_of, prompt_of
from matrix_graph.llm.embedder import Embedder
from matrix_graph.llm.journal import Entry, entries_in, last_at
from matrix_graph.llm.models import NONE, embedding_model
from matrix_graph.llm.tasks import run_sync
from matrix_graph.memory.episodic import EpisodicMemory
from matrix_graph.memory.folder import DATABASE, copy_folder
from matrix_graph.memory.lane import Memory
from matrix_graph.memory.store import ChromaStore
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.filter_folder import SUMMARY
from matrix_graph.runs.moments import Moment, moments_of
from matrix_graph.runs.notebook import frame, summary_table
from matrix_graph.runs.received import (
    opened,
    read_rejections,
    read_scenarios,
    read_society,
    read_summary,
)
from matrix_graph.schema import Group, Rejection, Row, Scenario

if TYPE_CHECKING:
    from pandas import DataFrame


class _Rows:
    """The kept and the dropped rows in `folder`."""

    folder: Path

    @cached_property
    def rows(self) -> dict[str, list[Row]]:
        """The kept rows by file."""
        return {
            path.stem: read_json_lines(path, ("id",))
            for path in sorted((self.folder / "dataset").glob("*.jsonl"))
        }

    def to_pandas(self, name: str | None = None) -> DataFrame:
        """The kept rows as a data frame: all, or those of the file of that name.

        Raises:
            InputError: there is no such file, or pandas is not installed.
        """
        if name and name not in self.rows:
            raise InputError(f"There is no file of rows {name!r}, but {', '.join(self.rows)}.")
        return frame(
            [row for file, rows in self.rows.items() if name in (None, file) for row in rows]
        )

    def _repr_html_(self) -> str:
        figures = {"in": self.folder, **{name: f"{len(r)} rows" for name, r in self.rows.items()}}
        first = [row for rows in self.rows.values() for row in rows[:2]]
        return summary_table(figures, [(prompt_of(row), answer_of(row)) for row in first])

    @cached_property
    def rejections(self) -> list[Rejection]:
        """The dropped rows."""
        return read_rejections(self.folder / "rejected.jsonl")


class RunRecord(_Rows):
    """What a run left in `folder`; its parts are read when they are asked for.

    Raises:
        InputError: there is no run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder = opened(folder)
        if not (folder / "run.json").is_file():
            raise InputError(
                f"{folder} holds no run; make one with: matrix-graph run --out {folder}"
            )
        self._memories: dict[str, dict[str, Memory]] = {}

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of run.json."""
        return read_summary(self.folder)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The society; nobody if the run ended before there was one."""
        path = self.folder / "society.json"
        return read_society(path)[0] if path.is_file() else ()

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """The scenarios in their order."""
        return read_scenarios(self.folder / "scenarios.jsonl")

    @cached_property
    def calls(self) -> dict[str, Entry]:
        """The model calls by slot."""
        return {entry.slot: entry for entry in self.entries()}

    @cached_property
    def moments(self) -> list[Moment]:
        """The turns in their order."""
        return moments_of(self.scenarios)

    @property
    def over(self) -> bool:
        """Whether it goes no further, which a record does not."""
        return True

    @property
    def ended(self) -> Ended:
        """How the run ended, or that it goes on."""
        return Ended.of(self.summary)

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def entries(self, slot: str = "") -> list[Entry]:
        """What is in the journal under slots that begin so, oldest first."""
        path = self.folder / "journal.sqlite"
        return entries_in(path, slot) if path.is_file() else []

    def call(self, slot: str) -> Entry | None:
        """The call at that place."""
        return self.calls.get(slot) or last_at(slot, list(self.calls.values()))

    def memories(self, agent: str) -> dict[str, Memory]:
        """What the agent remembers at the end, by step and number; nothing where the run's store is
        gone or in use.
        """
        if agent not in self._memories:
            self._memories[agent] = self._read_memories(agent)
        return self._memories[agent]

    def _read_memories(self, agent: str) -> dict[str, Memory]:
        if self._store is None:
            return {}
        memory = EpisodicMemory(self._store, Embedder(embedding_model(NONE)))
        return {f"{m.step}-{m.number}": m for m in run_sync(memory.aall(agent))}

    @cached_property
    def _store(self) -> ChromaStore | None:
        """The run's store, or a copy of it: opening one writes."""
        chroma = self.folder / "chroma"
        if not (chroma / DATABASE).is_file():
            return None
        try:
            if not is_held_here(chroma):
                if is_held(chroma / LOCK):
                    return None
                copy = Path(tempfile.mkdtemp(prefix="matrix-graph-"))
                weakref.finalize(self, shutil.rmtree, copy, ignore_errors=True)
                copy_folder(chroma, copy / "chroma")
                chroma = copy / "chroma"
            store = ChromaStore(chroma)
        except InputError:
            return None
        weakref.finalize(self, store.close)
        return store


class FilterRecord(_Rows):
    """What a filter run left in `folder`.

    Raises:
        InputError: there is none.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = folder = opened(folder)
        if not (folder / SUMMARY).is_file():
            raise InputError(
                f"{folder} holds no filter run; make one with: matrix-graph filter ROWS --out "
                f"{folder}"
            )

    @property
    def ended(self) -> Ended:
        """How the run ended, or that it goes on."""
        return Ended.of(self.summary)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """The content of filter.json."""
        return read_json_object(self.folder / SUMMARY, ("config", "controls", "used", "tokens"))


def asked(entry: Entry) -> list[dict[str, str]]:
    """The chat messages of a call."""
    try:
        asked = read_json(entry.request).get("messages") or []
        return [{name: str(message[name]) for name in ("role", "content")} for message in asked]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise InputError(f"The journal holds no messages at {entry.slot[:80]}.") from error
