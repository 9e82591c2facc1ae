"""A run that is not at its end (it goes on elsewhere, was stopped or killed), as far as its journal
tells it.
"""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path

from matrix_graph.debugger.branch import copy_run
from matrix_graph.debugger.live import nowhere
from matrix_graph.debugger.sources import LiveRun
from matrix_graph.errors import InputError
from matrix_graph.memory.lane import Memory
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.filter_folder import SUMMARY
from matrix_graph.runs.moments import Moment
from matrix_graph.runs.record import RunRecord
from matrix_graph.schema import Group, Scenario


class Snapshot(RunRecord):
    """What has happened in the run in `folder` up to now, lived again from a copy of its journal.

    The run itself is not touched, and no model is asked: where the journal ends, so does the
    snapshot.

    Raises:
        InputError: there is no run.
    """

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        with tempfile.TemporaryDirectory(prefix="matrix-graph-") as out:
            copy_run(self.folder, Path(out))
            self._live = LiveRun(RunConfig(out=out, offline=True), resume=True)
            self._live.go_on(nowhere)
            self._society = tuple(self._live.groups)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The society."""
        return self._society

    @cached_property
    def scenarios(self) -> list[Scenario]:
        """The scenarios, the last ones as far as they have come."""
        return [scenario for scenario in self._live.scenarios if scenario["actions"]]

    @cached_property
    def moments(self) -> list[Moment]:
        """The turns in their order."""
        return sorted(
            self._live.moments,
            key=lambda m: (m.scenario["round"], m.step, m.scenario["group"], m.agent),
        )

    def memories(self, agent: str) -> dict[str, Memory]:
        """What the agent remembers."""
        return self._live.memories(agent)


def record_of(folder: str | Path) -> RunRecord:
    """What is on record of a run; of one that is not at its end, what its journal tells.

    Raises:
        InputError: there is no run.
    """
    folder = Path(folder)
    if (folder / SUMMARY).is_file() and not (folder / "run.json").is_file():
        raise InputError(
            f"{folder} holds a filter run, which has no turns; matrix-graph report {folder} shows "
            "it."
        )
    record = RunRecord(folder)
    if record.ended.over:
        return record
    if not (folder / "journal.sqlite").is_file():
        raise InputError(f"The run in {folder} has only just begun; wait for its first calls.")
    try:
        return Snapshot(folder)
    except InputError:
        if record.scenarios:
            return record
        raise
