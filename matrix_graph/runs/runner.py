"""A run directory: configuration → models, store, graph → files, and on from there after a stop.

run.json  society.json  scenarios.jsonl  dataset/<requirement>.jsonl  rejected.jsonl  README.md
journal.sqlite  checkpoints.sqlite  chroma/
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command

from matrix_graph.boundary.files import write_json, write_json_lines, write_text
from matrix_graph.context import Context
from matrix_graph.errors import InputError, PersonAsked, RunPaused
from matrix_graph.export.card import card
from matrix_graph.filtering.sandbox import check_sandbox
from matrix_graph.filtering.step import Step
from matrix_graph.generation.requirements import Requirement
from matrix_graph.llm.offline import ANSWER, NotOnRecord
from matrix_graph.llm.tasks import run_sync, to_end, waits_for
from matrix_graph.llm.usage import Usage
from matrix_graph.memory.records import RUN, Records
from matrix_graph.memory.store import ChromaStore
from matrix_graph.pipeline import create_matrix
from matrix_graph.resources import GRACE, SHORT_GRACE, Resources, opening
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.estimates import estimate
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.runs.folder import (
    begin_folder,
    check_folder,
    claimed,
    clear_folder,
    versions,
)
from matrix_graph.runs.given import in_memory
from matrix_graph.runs.notes import notes_on
from matrix_graph.runs.places import checkpointed, checkpoints_in, store_in
from matrix_graph.runs.probe import probe
from matrix_graph.runs.received import FORMAT, read_society, seal_of, sealed
from matrix_graph.runs.result import RunResult
from matrix_graph.runs.resuming import resumed
from matrix_graph.runs.shown import Listener, listening
from matrix_graph.runs.stretches import Stretch
from matrix_graph.runs.tally import tally, used_by_model
from matrix_graph.schema import Group, Profile, Row, requirement_of
from matrix_graph.society.grouping import form_groups, homophily
from matrix_graph.society.own_agents import human_agent
from matrix_graph.society.personas import awrite_personas
from matrix_graph.society.profiles import BadRow, check_enough, load_profiles, sample_profiles
from matrix_graph.society.serialization import groups_to_json
from matrix_graph.society.watch import Watch, watched

_GO_ON = "go on with --resume, or run(..., resume=True)"
_OFFLINE = "there is no more on record, and no model is asked offline"


async def arun(
    config: RunConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listen: Listener | None = None,
    progress: bool | None = None,
    watch: Watch | None = None,
    answers: Mapping[str, Any] | None = None,
) -> RunResult:
    """From profiles to a filtered data set in `config.out`.

    Args:
        resume: Go on with the run in that folder; calls that were answered are not made again. With
            more `rows` or `scenarios` than it had, it goes on past its end.
        overwrite: Delete the run in that folder first.
        listen: Hears events, each a dict with `stage`.
        progress: Show how far it is, how fast, and what it has used. If None, in a notebook and on
            a terminal.
        watch: Sees each turn of the society, and may hold it up.
        answers: Of people, with `resume`: by the ids of what `RunResult.asked` holds.

    Returns:
        The result, also when fewer rows were kept than asked (`result.ended` says why), when a cap
        or a provider that is down paused the run, or when people are asked something (`play`,
        `modulator`).

    Raises:
        InputError: what was given cannot work; nothing was written.
        CancelledError: it was cancelled; what was answered is kept, and `resume` goes on.
    """
    if not isinstance(config, RunConfig):
        raise InputError(f"run() takes a RunConfig, not a {type(config).__name__}.")
    with claimed(config.folder), listening(listen, progress) as hear:
        session = await _Session.begin(config, resume, overwrite, hear)
        try:
            with watched(session.context, watch):
                return await session.go(answers or {})
        except BaseException as error:
            session.stopped_by(error)
            raise


@waits_for(arun)
def run(
    config: RunConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listen: Listener | None = None,
    progress: bool | None = None,
) -> RunResult:
    """`arun` for code that is not asynchronous."""
    work = arun(config, resume=resume, overwrite=overwrite, listen=listen, progress=progress)
    return run_sync(work)


@dataclass
class _Session:
    """One stretch of work on a run directory.

    Attributes:
        measuring: Contexts of judges, rollouts and rewards.
        notes: What one should know of what was given.
        probed: What it took to see that the models answer.
        before: The run.json from which this stretch goes on.
        others: What is open of `measuring`.
        held: Whether the folder is ours alone: it is new, or its store is open.
    """

    config: RunConfig
    profiles: list[Profile]
    bad_rows: list[BadRow]
    steps: tuple[Step, ...]
    measuring: tuple[Context, ...]
    wanted: list[Requirement]
    stretches: list[Stretch]
    notes: list[str]
    context: Context
    listen: Listener
    probed: Mapping[str, Usage]
    before: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    others: list[Resources] = field(default_factory=list)
    asked: Mapping[str, Any] = field(default_factory=dict)
    similarity: dict[str, float] = field(default_factory=dict)
    held: bool = False

    @classmethod
    async def begin(
        cls, config: RunConfig, resume: bool, overwrite: bool, listen: Listener
    ) -> _Session:
        if resume and overwrite:
            raise InputError("--resume and --overwrite exclude each other.")
        if overwrite and config.offline:
            raise InputError("--offline lives on what is on record, which --overwrite deletes.")
        if resume:
            config, wanted, stretches, grown = resumed(config)
        else:
            config.checked()
            check_folder(config.folder, overwrite)
            wanted = config.wanted()
            stretches, grown = [Stretch.to(config.scenarios, wanted)], True
        profiles, bad = load_profiles(config.profile_source, strict=config.strict)
        if not config.clone:
            check_enough(profiles, config.agents)
        setting = FilterConfig.of_run(config)
        models = setting.models(offline=config.offline)
        steps = setting.funnel().steps(models)
        if any(w.kind == "code" for w in wanted):
            check_sandbox()
        notes = notes_on(config, profiles, wanted)
        context = config.context()
        asks = not (resume or config.offline)
        probed: dict[str, Usage] = {}
        stopped = False
        try:
            if asks:
                await probe((context, *models.contexts), probed)
        except asyncio.CancelledError:
            # What was asked is on record, unless that would be in the place of another run.
            if overwrite:
                raise
            stopped = True
        if overwrite:
            config = in_memory(config)
            clear_folder(config.folder)
        foreseen = estimate(config, profiles).totals() if grown else {}
        config, before = begin_folder(config, wanted, foreseen)
        if grown:
            before["estimate"] = foreseen
        session = cls(
            config,
            profiles,
            bad,
            steps,
            models.contexts,
            wanted,
            stretches,
            notes,
            context,
            listen,
            probed,
            before,
            held=not resume,
        )
        if asks:
            await to_end(session._count_probes())
        if stopped:
            raise asyncio.CancelledError
        return session

    async def go(self, answers: Mapping[str, Any]) -> RunResult:
        async with AsyncExitStack() as stack:
            resources = await stack.enter_async_context(opening(self.context))
            for context in self.measuring:
                self.others.append(await stack.enter_async_context(opening(context)))
            self.listen(
                {
                    "stage": "start",
                    "account": resources.account,
                    "scenarios": self.config.scenarios,
                    "rows": sum(wanted.count for wanted in self.wanted),
                    "bad_rows": self.bad_rows,
                    "notes": self.notes,
                }
            )
            store = await stack.enter_async_context(store_in(self.config.folder))
            self.held = True
            return await self._work(resources, store, answers)

    async def _work(
        self, resources: Resources, store: ChromaStore, answers: Mapping[str, Any]
    ) -> RunResult:
        records = resources.records(store)
        groups: Sequence[Group] = ()
        self._save(resources, {}, Ended("running"))
        try:
            groups = await self._society(resources, records)
            ended = self._complete(await self._graph(store, groups, answers))
        except NotOnRecord:
            ended = Ended("offline", _OFFLINE)
        except (RunPaused, InputError) as pause:
            ended = Ended.by(pause)
            self.asked = pause.asked if isinstance(pause, PersonAsked) else {}
        except asyncio.CancelledError:
            await to_end(self._export(resources, records, groups, Ended("interrupted", _GO_ON)))
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            await to_end(self._export(resources, records, groups, Ended("failed", reason)))
            raise
        return await to_end(self._export(resources, records, groups, ended))

    async def _count_probes(self) -> None:
        async with opening(self.context) as resources:
            for model, usage in self.probed.items():
                resources.account.add(model, usage)
            self._save(resources, {}, Ended("interrupted"))

    def stopped_by(self, error: BaseException) -> None:
        """Have run.json say how it ended, where that was too early to save anything else."""
        result = RunResult.of(self.config.folder)
        if result.ended.status != "running" or not self.held:
            return
        if isinstance(error, RunPaused | InputError):
            ended = Ended.by(error)
        elif isinstance(error, Exception):
            ended = Ended("failed", f"{type(error).__name__}: {error}")
        else:
            ended = Ended("interrupted")
        _write_summary(result.out, result.summary | {"ended": ended.public()})

    def _complete(self, state: Mapping[str, Any]) -> Ended:
        kept = state.get("kept", {})
        short = [wanted.id for wanted in self.wanted if kept.get(wanted.id, 0) < wanted.count]
        if not short:
            return Ended("complete")
        return Ended("exhausted", f"no source is left for {', '.join(short)}")

    async def _society(self, resources: Resources, records: Records) -> Sequence[Group]:
        path = self.config.folder / "society.json"
        if path.is_file():
            groups, self.similarity = read_society(path)
            return groups
        chosen = sample_profiles(
            self.profiles, self.config.agents, self.config.seed, clone=self.config.clone
        )
        done = 0

        def count(profile: Profile) -> None:
            nonlocal done
            done += 1
            self.listen({"stage": "personas", "done": done, "total": len(chosen)})

        personas, failures = await awrite_personas(chosen, self.context, count)
        by_profile = {f"persona-{failure['who']}": failure for failure in failures}
        await records.asave("failures", by_profile)
        if not personas:
            raise InputError(f"no profile got a persona ({failures[0]['reason']})")
        vectors = await resources.embedder.embed([persona.profile.text for persona in personas])
        groups = await asyncio.to_thread(
            form_groups,
            personas,
            vectors,
            size=self.config.group_size,
            seed=self.config.seed,
            communication=self.config.communication,
        )
        by_id = dict(zip((p.id for p in personas), vectors, strict=True))
        self.similarity = homophily(groups, by_id)
        saved = {"groups": groups_to_json(groups), "homophily": self.similarity}
        await asyncio.to_thread(write_json, path, saved)
        return groups

    async def _graph(
        self, store: ChromaStore, groups: Sequence[Group], answers: Mapping[str, Any]
    ) -> dict[str, Any]:
        builder = create_matrix(
            groups,
            steps=self.steps,
            agents={agent: human_agent() for agent in self._played(groups)},
            agent_checkpoints=self.config.step_checkpoints,
        )
        config: RunnableConfig = {
            "configurable": {"thread_id": RUN},
            "recursion_limit": 1_000_000,
        }
        async with checkpoints_in(self.config.folder) as saver:
            graph = builder.compile(checkpointer=saver, store=store)
            with checkpointed():
                before = (await graph.aget_state(config)).values
            already = {
                "scenarios": before.get("produced", 0),
                "rows": sum(before.get("kept", {}).values()),
            }
            begin = {"event": "begin", "groups": len(groups), "already": already}
            self.listen({"stage": "society", **begin})
            state: dict[str, Any] = {}
            left = list(self.stretches)
            if before:
                # The one that it is in, on from its checkpoint.
                while len(left) > 1 and not left[0].is_of(before):
                    left.pop(0)
                resuming: Any = Command(resume=dict(answers)) if answers else None
                state = await self._stretch(graph, resuming, config)
                left = left[1:] if left[0].is_of(state) else left
            for stretch in left:
                state = await self._stretch(graph, stretch.given(self.wanted), config)
            return state

    async def _stretch(self, graph: Any, given: Any, config: RunnableConfig) -> dict[str, Any]:
        """Run the graph to its end, or to where it can go no further.

        Raises:
            StoreFailed: the disk does not take a checkpoint.
        """
        options: Any = {"stream_mode": "custom", "durability": self.config.durability}
        with checkpointed():
            async for part in graph.astream(
                given, config, context=self.context, subgraphs=True, version="v2", **options
            ):
                self.listen(cast("dict[str, Any]", part["data"]))
            state = await graph.aget_state(config)
        asked = {i.id: i.value for i in state.interrupts if i.value["asks"] != ANSWER}
        if asked:
            raise PersonAsked(asked)
        if state.next:
            raise NotOnRecord("the next step")
        return dict(state.values)

    def _played(self, groups: Sequence[Group]) -> list[str]:
        """The ids of those whom a person plays."""
        ids: dict[str, str] = {}
        for group in groups:
            for member in group.members:
                ids[member.name] = ids[member.id] = member.id
        played = self.config.played
        if strangers := set(played) - ids.keys():
            known = ", ".join(f"{m.name} ({m.id})" for group in groups for m in group.members)
            raise InputError(
                f"there is no {', '.join(sorted(strangers))} to --play. "
                f"Go on with --resume and one of {known}."
            )
        return [ids[name] for name in played]

    async def _export(
        self, resources: Resources, records: Records, groups: Sequence[Group], ended: Ended
    ) -> RunResult:
        # What calls under way use is part of the totals.
        grace = SHORT_GRACE if ended.status == "interrupted" else GRACE
        await asyncio.gather(*(each.settle(grace) for each in (resources, *self.others)))
        out = self.config.folder
        scenarios, rows = await records.aall("scenarios"), await records.aall("samples")
        rejections, failures = await records.aall("rejections"), await records.aall("failures")
        kept: dict[str, list[Row]] = {wanted.id: [] for wanted in self.wanted}
        for row in rows:
            kept[requirement_of(row)].append(row)
        counts: dict[str, Any] = {
            "profiles": len(self.profiles),
            "bad_profiles": len(self.bad_rows),
            **tally(groups, scenarios, rows, rejections, failures),
            "wanted": {w.id: w.count for w in self.wanted},
            "kept": {name: len(of_name) for name, of_name in kept.items()},
        }
        files = {f"dataset/{name}.jsonl": of_name for name, of_name in kept.items()}
        files |= {"scenarios.jsonl": scenarios, "rejected.jsonl": rejections}

        def write() -> dict[str, Any]:
            for name, part in files.items():
                write_json_lines(out / name, part)
            summary = self._save(resources, counts, ended)
            write_text(out / "README.md", card(summary, rejections))  # type: ignore[arg-type]
            return summary

        summary = await asyncio.to_thread(write)
        self.listen({"stage": "end", "ended": ended})
        return RunResult(out, summary)

    def _save(self, resources: Resources, counts: dict[str, Any], ended: Ended) -> dict[str, Any]:
        total = resources.account.total
        summary = {
            "format": FORMAT,
            "config": self.config.public(),
            "profiles_digest": self.before["profiles_digest"],
            "prompts_digest": self.before.get("prompts_digest", ""),
            "versions": versions(),
            "models": {
                "chat": resources.model.name,
                "student": resources.student.name,
                "embeddings": resources.embedder.name,
            },
            "seed": self.config.seed,
            "counts": counts,
            "homophily": self.similarity,
            "calls": total.requests,
            "tokens": {"input": total.input_tokens, "output": total.output_tokens},
            "cost_usd": round(resources.account.cost, 6),
            "used": used_by_model(resources.account),
            "requirements": [wanted.model_dump(mode="json") for wanted in self.wanted],
            "stretches": [stretch._asdict() for stretch in self.stretches],
            "estimate": self.before["estimate"],
            "seconds": round(self.before["seconds"] + time.monotonic() - self.started, 2),
            "ended": ended.public(),
        }
        if self.asked:
            summary["asked"] = dict(self.asked)
        if "forked" in self.before:
            summary["forked"] = self.before["forked"]
        # What was only looked at stays a stranger's.
        trusted = sealed(self.before) or self.config.trust or not self.config.offline
        summary["seal"] = seal_of(summary) if trusted else ""
        _write_summary(self.config.folder, summary)
        return summary


def _write_summary(out: Path, summary: Mapping[str, Any]) -> None:
    write_json(out / "run.json", summary, indent=2)
