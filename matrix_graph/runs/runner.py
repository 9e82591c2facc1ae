"""A run directory: configuration → models, store, graph → files, and on from there after a stop.

run.json  society.json  scenarios.jsonl  dataset/<requirement>.jsonl  rejected.jsonl  README.md
journal.sqlite  journals/  checkpoints.sqlite  chroma/
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from matrix_graph.runs.config import RunConfig
from matrix_graph.context import Context, Resources, close, open_now, opened
from matrix_graph.errors import InputError, PersonAsked, RunPaused
from matrix_graph.runs.estimates import estimate
from matrix_graph.export.card import card
from matrix_graph.export.files import read_json_lines, write_json_lines, write_text
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.filtering.sandbox import check_sandbox
from matrix_graph.filtering.step import Step
from matrix_graph.runs.folder import (
    FORMAT,
    began_with,
    begin_folder,
    check_folder,
    clear_folder,
    profiles_digest,
    resumed,
    versions,
)
from matrix_graph.generation.requirements import Requirement
from matrix_graph.llm.offline import ANSWER, NotOnRecord
from matrix_graph.llm.settled import finished
from matrix_graph.memory.records import Records
from matrix_graph.memory.store import ChromaStore
from matrix_graph.pipeline import create_matrix
from matrix_graph.runs.probe import probe
from matrix_graph.runs.process import tuned_process
from matrix_graph.schema import Group, Profile, Row, requirement_of
from matrix_graph.society import plan
from matrix_graph.society.agent import human_agent
from matrix_graph.society.grouping import form_groups, homophily
from matrix_graph.society.personas import write_personas
from matrix_graph.society.profiles import BadRow, load_profiles, sample_profiles
from matrix_graph.society.watch import Watch, watched
from matrix_graph.runs.tally import tally

OFFLINE = "paused: there is no more on record, and no model is asked offline"
Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RunResult:
    """A run directory after the run: `summary` is its run.json."""

    out: Path
    summary: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether every row asked for was kept."""
        return bool(self.summary["ended"] == "complete")

    @property
    def asked(self) -> dict[str, Any]:
        """What people are asked, by the id of the answer: `arun(..., resume=True, answers={id:
        answer})` goes on.
        """
        return dict(self.summary.get("asked", {}))

    def rows(self, name: str) -> list[Row]:
        """The kept rows of a kind, or of the requirement of that name."""
        return read_json_lines(self.out / "dataset" / f"{name}.jsonl")

    def scenarios(self) -> list[dict[str, Any]]:
        """The scenarios."""
        return read_json_lines(self.out / "scenarios.jsonl")


def run(
    config: RunConfig, *, resume: bool = False, overwrite: bool = False, listen: Listener | None = None
) -> RunResult:
    """`arun` for code that is not asynchronous."""
    return finished(arun(config, resume=resume, overwrite=overwrite, listen=listen))


async def arun(
    config: RunConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listen: Listener | None = None,
    watch: Watch | None = None,
    answers: Mapping[str, Any] | None = None,
) -> RunResult:
    """From profiles to a filtered data set in `config.out`.

    Args:
        resume: Go on with the run in that folder; calls that were answered are not made again.
        overwrite: Delete the run in that folder first.
        listen: Hears events, each a dict with `stage`.
        watch: Sees each turn of the society, and may hold it up.
        answers: Of people, with `resume`: by the ids of what `RunResult.asked` holds.

    Returns:
        The result, also when fewer rows were kept than asked (`summary["ended"]` says why) and when
        a cap or a provider that is down paused the run, or people are asked something (`play`,
        `modulator`).

    Raises:
        InputError: what was given cannot work; nothing was written.
    """
    with tuned_process():
        session = await _Session.begin(config, resume, overwrite, listen or (lambda _: None))
        with watched(session.context, watch):
            return await session.go(answers or {})


@dataclass
class _Session:
    """One stretch of work on a run directory."""

    config: RunConfig
    profiles: list[Profile]
    bad_rows: list[BadRow]
    steps: tuple[Step, ...]
    measuring: tuple[Context, ...]
    wanted: list[Requirement]
    context: Context
    listen: Listener
    started: float
    probes: int
    before: dict[str, Any]
    asked: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    async def begin(cls, config: RunConfig, resume: bool, overwrite: bool, listen: Listener) -> _Session:
        if resume and overwrite:
            raise InputError("--resume and --overwrite exclude each other.")
        if overwrite and config.offline:
            raise InputError("--offline lives on what is on record, which --overwrite deletes.")
        if resume:
            config = resumed(config)
        else:
            check_folder(config.out, overwrite)
        profiles, bad = load_profiles(config.profiles, strict=config.strict)
        measuring = FilterConfig.of_run(config)
        means = measuring.means(offline=config.offline)
        steps = measuring.funnel().steps(means)
        wanted = began_with(config.out) if resume else config.wanted()
        if any(w.kind == "code" for w in wanted):
            check_sandbox()
        context = config.context()
        probes = 0 if resume or config.offline else sum([await probe(c) for c in (context, *means.contexts)])
        if overwrite:
            clear_folder(config.out)
        foreseen = {} if resume else estimate(config, profiles).totals()
        before = begin_folder(
            config, {"requirements": [w.model_dump(mode="json") for w in wanted], "estimate": foreseen}
        )
        (config.out / "journals").mkdir(exist_ok=True)
        return cls(config, profiles, bad, steps, means.contexts, wanted, context, listen, time.time(), probes, before)

    async def go(self, answers: Mapping[str, Any]) -> RunResult:
        res = await opened(self.context)
        res.budget.calls = max(res.budget.calls, self.before["calls"]) + self.probes
        told = {"config": self.config, "wanted": self.wanted, "bad_rows": self.bad_rows}
        self.listen({"stage": "start", "budget": res.budget, **told})
        try:
            store = await asyncio.to_thread(ChromaStore, self.config.out / "chroma")
            try:
                return await self._work(res, store, answers)
            finally:
                store.close()
        finally:
            for context in (self.context, *self.measuring):
                await close(context)

    async def _work(self, res: Resources, store: ChromaStore, answers: Mapping[str, Any]) -> RunResult:
        counts: dict[str, Any] = {}
        groups: Sequence[Group] = ()
        similarity: dict[str, float] = {}
        records = res.records(store)
        self._save(res, counts, similarity, "running")
        try:
            groups, similarity = await self._society(res, records)
            counts = await self._graph(store, groups, answers)
            kept = counts.get("kept", {})
            short = [wanted.id for wanted in self.wanted if kept.get(wanted.id, 0) < wanted.count]
            ended = "complete" if not short else "exhausted: no source is left for " + ", ".join(short)
        except NotOnRecord:
            ended = OFFLINE
        except PersonAsked as pause:
            ended, self.asked = f"paused: {pause}", pause.asked
        except (RunPaused, InputError) as pause:
            ended = f"paused: {pause}"
        except asyncio.CancelledError:
            ended = "interrupted"
        return await self._export(res, records, groups, similarity, ended)

    async def _society(self, res: Resources, records: Records) -> tuple[Sequence[Group], dict[str, float]]:
        path = self.config.out / "society.json"
        if path.is_file():
            saved = json.loads(path.read_text("utf-8"))
            return plan.from_json(saved["groups"]), saved["homophily"]
        chosen = sample_profiles(self.profiles, self.config.agents, self.config.seed)
        done = Counter[str]()

        def count(profile: Profile) -> None:
            done["personas"] += 1
            self.listen({"stage": "personas", "done": done["personas"], "total": len(chosen)})

        personas, failures = await write_personas(chosen, self.context, count)
        await records.save("failures", {failure["who"]: failure for failure in failures})
        if not personas:
            raise RunPaused(f"no profile got a persona ({failures[0]['reason']})")
        vectors = await res.embedder.embed([persona.profile.text for persona in personas])
        groups = await asyncio.to_thread(
            form_groups,
            personas,
            vectors,
            size=self.config.group_size,
            seed=self.config.seed,
            communication=self.config.communication,
        )
        similarity = homophily(groups, dict(zip((p.id for p in personas), vectors, strict=True)))
        write_text(path, json.dumps({"groups": plan.to_json(groups), "homophily": similarity}, ensure_ascii=False))
        return groups, similarity

    async def _graph(self, store: ChromaStore, groups: Sequence[Group], answers: Mapping[str, Any]) -> dict[str, Any]:
        builder = create_matrix(
            groups,
            steps=self.steps,
            agents={agent: human_agent() for agent in self._played(groups)},
            agent_checkpoints=self.config.step_checkpoints,
        )
        config: Any = {"configurable": {"thread_id": self.context.run}, "recursion_limit": 1_000_000}
        async with AsyncSqliteSaver.from_conn_string(str(self.config.out / "checkpoints.sqlite")) as saver:
            graph = builder.compile(checkpointer=saver, store=store)
            begun = await saver.aget_tuple(config) is not None
            wanted = [r.model_dump() for r in self.wanted]
            given: Any = None if begun else {"quota": self.config.scenarios, "wanted": wanted}
            given = Command(resume=dict(answers)) if answers else given
            self.listen({"stage": "society", "event": "begin", "groups": len(groups)})
            async for part in graph.astream(
                given,
                config,
                context=self.context,
                stream_mode="custom",
                subgraphs=True,
                version="v2",
                durability=self.config.durability,
            ):
                self.listen(cast("dict[str, Any]", part["data"]))
            state = await graph.aget_state(config)
            if asked := {i.id: i.value for i in state.interrupts if i.value["asks"] != ANSWER}:
                raise PersonAsked(asked)
            if state.next:
                raise NotOnRecord("the next step")
            return dict(state.values)

    def _played(self, groups: Sequence[Group]) -> list[str]:
        """The ids of those whom a person plays."""
        names = {name: m.id for group in groups for m in group.members for name in (m.name, m.id)}
        if strangers := set(self.config.play) - names.keys():
            known = ", ".join(f"{m.name} ({m.id})" for group in groups for m in group.members)
            raise InputError(
                f"there is no {', '.join(sorted(strangers))} to --play. Go on with --resume and "
                f"one of {known}."
            )
        return [names[name] for name in self.config.play]

    async def _export(
        self, res: Resources, records: Records, groups: Sequence[Group], similarity: dict[str, float], ended: str
    ) -> RunResult:
        out = self.config.out
        scenarios, rows = await records.all("scenarios"), await records.all("samples")
        rejections, failures = await records.all("rejections"), await records.all("failures")
        kept = {w.id: [row for row in rows if requirement_of(row) == w.id] for w in self.wanted}
        counts: dict[str, Any] = {
            "profiles": len(self.profiles),
            "bad_profiles": len(self.bad_rows),
            **tally(groups, scenarios, rows, rejections, failures),
            "wanted": {w.id: w.count for w in self.wanted},
            "kept": {name: len(own) for name, own in kept.items()},
        }
        write_json_lines(out / "scenarios.jsonl", scenarios)
        for name, own in kept.items():
            write_json_lines(out / "dataset" / f"{name}.jsonl", own)
        write_json_lines(out / "rejected.jsonl", rejections)
        summary = self._save(res, counts, similarity, ended)
        write_text(out / "README.md", card(summary, rejections))  # type: ignore[arg-type]
        self.listen({"stage": "end", "ended": ended})
        return RunResult(out, summary)

    def _save(self, res: Resources, counts: dict[str, Any], similarity: dict[str, float], ended: str) -> dict[str, Any]:
        budgets = [res.budget, *(found.budget for c in self.measuring if (found := open_now(c)))]
        summary = {
            "format": FORMAT,
            "config": self.config.public(),
            "profiles_digest": profiles_digest(self.config.profiles),
            "versions": versions(),
            "models": {"chat": res.model.name, "student": res.student.name, "embeddings": res.embedder.name},
            "seed": self.config.seed,
            "counts": counts,
            "homophily": similarity,
            "calls": sum(budget.calls for budget in budgets),
            "tokens": {
                "input": sum(budget.input_tokens for budget in budgets),
                "output": sum(budget.output_tokens for budget in budgets),
            },
            "cost_usd": round(sum(budget.cost for budget in budgets), 6),
            "requirements": self.before["requirements"],
            "estimate": self.before["estimate"],
            "seconds": round(self.before["seconds"] + time.time() - self.started, 2),
            "ended": ended,
        }
        if self.asked:
            summary["asked"] = dict(self.asked)
        summary |= {name: self.before[name] for name in ("forked",) if name in self.before}
        write_text(self.config.out / "run.json", json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
        return summary
