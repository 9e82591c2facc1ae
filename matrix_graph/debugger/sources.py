"""What one can step through as it happens: a run in a folder, and a compiled graph with a society
in it.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.types import Command

from matrix_graph.boundary.files import remove
from matrix_graph.context import Context
from matrix_graph.debugger.changes import Change, put_into
from matrix_graph.debugger.live import Live
from matrix_graph.errors import InputError
from matrix_graph.memory.records import RUN
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.record import RunRecord
from matrix_graph.runs.result import RunResult
from matrix_graph.runs.runner import arun
from matrix_graph.runs.shown import Listener
from matrix_graph.schema import Group
from matrix_graph.society.watch import Watch, watched


class LiveRun(Live):
    """A run that lives in a folder, as `arun` makes it.

    Args:
        config, resume, overwrite, listen: As for `arun`.
    """

    def __init__(
        self,
        config: RunConfig,
        *,
        resume: bool = False,
        overwrite: bool = False,
        listen: Listener | None = None,
    ) -> None:
        def work(by: Watch) -> Coroutine[Any, Any, RunResult]:
            return arun(config, resume=resume, overwrite=overwrite, listen=listen, watch=by)

        self.folder, self.config = config.folder, config
        past = (
            RunRecord(config.folder).scenarios
            if resume and (config.folder / "scenarios.jsonl").is_file()
            else []
        )
        super().__init__(
            work,
            lambda: RunRecord(config.folder).groups if self.moments else (),
            str(config.folder),
            past,
        )

    def _stopped(self) -> RunResult | None:
        return RunResult.of(self.folder) if (self.folder / "run.json").is_file() else None


class LiveGraph(Live):
    """A compiled graph with a society in it, the graph of a society itself or any that holds one.

    Args:
        graph, given, config: What would be `graph.ainvoke(given, config, context=context)`.
        groups: Those of the society.
    """

    def __init__(
        self,
        graph: Pregel[Any, Any, Any, Any],
        given: Any,
        *,
        groups: Sequence[Group],
        context: Context,
        config: RunnableConfig | None = None,
    ) -> None:
        async def work(by: Watch) -> Any:
            with watched(context, by):
                return await graph.ainvoke(given, config, context=context)

        name = context.run or (config or {}).get("configurable", {}).get("thread_id") or RUN
        super().__init__(work, lambda: groups, name)
        self._graph, self._given, self._context, self._config = graph, given, context, config or {}

    def branch(self, change: Change, out: Path) -> LiveGraph:
        """Another life of the same graph, with a change: under a name of its own in its store, from
        a copy of the journal at `out`, so that nothing is asked again up to the change."""
        if self._res is None:
            raise InputError("The run has not begun; there is no past to branch from.")
        if out.exists():
            raise InputError(f"{out} is there already; name a new file for the branch's journal.")
        if self._given is None or isinstance(self._given, Command):
            raise InputError(
                "A graph that went on from a checkpoint cannot branch; fork where it began."
            )
        self._res.journal.copy_to(out)
        try:
            put_into(out, change)
        except InputError:
            remove(out)
            raise
        before = self._context
        thread = before.branch_of or (None if before.run else self.name)
        context = replace(before, journal=out, run=f"{self.name}-{out.stem}", branch_of=thread)
        configurable = self._config.get("configurable", {})
        if "thread_id" in configurable:
            configurable = configurable | {"thread_id": f"{configurable['thread_id']}-{out.stem}"}
        config: RunnableConfig = self._config | {"configurable": configurable}
        return LiveGraph(
            self._graph, self._given, groups=self.groups, context=context, config=config
        )
