"""A run directory: configuration → models, store, graph → files, and on from there after a stop.

run.json  society.json  scenarios.jsonl  dataset/<kind>.jsonl  rejected.jsonl  README.md
journal.sqlite  checkpoints.sqlite  chroma/
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import platform
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from matrix_graph.config import RunConfig
from matrix_graph.context import Context, Resources, close, opened
from matrix_graph.errors import InputError, RunPaused
from matrix_graph.estimates import estimate
from matrix_graph.export.card import card
from matrix_graph.export.files import read_json_lines, write_json_lines, write_text
from matrix_graph.filtering.contamination import Contamination, read_benchmark
from matrix_graph.filtering.graph import DEFAULT_STEPS
from matrix_graph.filtering.step import Step
from matrix_graph.garbage import fewer_collections
from matrix_graph.llm.models import LOCAL
from matrix_graph.memory.records import Records
from matrix_graph.memory.store import ChromaStore
from matrix_graph.memory.table import LOCK, hold, let_go
from matrix_graph.pipeline import create_matrix
from matrix_graph.schema import Failure, Group, Profile, Row
from matrix_graph.society import plan
from matrix_graph.society.grouping import form_groups, homophily
from matrix_graph.society.personas import write_personas
from matrix_graph.society.profiles import SHIPPED, BadRow, load_profiles, sample_profiles

Listener = Callable[[dict[str, Any]], None]
FORMAT = 1
MAY_CHANGE = {"out", "durability", "max_calls", "max_cost", "price", "concurrency", "timeout", "base_url", "strict"}
"""Options that a resumed run may be given anew; the others are those of its start."""

_OWN = ("society.json", "scenarios.jsonl", "rejected.jsonl", "README.md", "dataset", "run.json")
_DATABASES = ("journal.sqlite", "checkpoints.sqlite")


@dataclass(frozen=True)
class RunResult:
    """A run directory after the run: `summary` is its run.json."""

    out: Path
    summary: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether every row asked for was kept."""
        return bool(self.summary["ended"] == "complete")

    def rows(self, kind: str) -> list[Row]:
        """The kept rows of a kind."""
        return read_json_lines(self.out / "dataset" / f"{kind}.jsonl")

    def scenarios(self) -> list[dict[str, Any]]:
        """The scenarios."""
        return read_json_lines(self.out / "scenarios.jsonl")


def run(
    config: RunConfig, *, resume: bool = False, overwrite: bool = False, listen: Listener | None = None
) -> RunResult:
    """`arun` for code that is not asynchronous."""
    return asyncio.run(arun(config, resume=resume, overwrite=overwrite, listen=listen))


async def arun(
    config: RunConfig, *, resume: bool = False, overwrite: bool = False, listen: Listener | None = None
) -> RunResult:
    """From profiles to a filtered data set in `config.out`.

    Args:
        resume: Go on with the run in that folder; calls that were answered are not made again.
        overwrite: Delete the run in that folder first.
        listen: Hears events, each a dict with `stage`.

    Returns:
        The result, also when fewer rows were kept than asked (`summary["ended"]` says why) and when a
        cap or a provider that is down paused the run.

    Raises:
        InputError: what was given cannot work; nothing was written.
    """
    session = await _Session.begin(config, resume, overwrite, listen or (lambda _: None))
    with fewer_collections():
        return await session.go()


def resumed(config: RunConfig) -> RunConfig:
    """The configuration of the run in `config.out`, with what a resumed run may be given anew.

    Raises:
        InputError: no run there, or one that began with other profiles.
    """
    path = config.out / "run.json"
    try:
        before = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{config.out} holds no run to resume ({error}).") from error
    if before["profiles_digest"] != _digest(config.model_copy(update={"profiles": before["config"]["profiles"]})):
        raise InputError(
            f"The profiles of the run in {config.out} have changed since it began; start anew with --overwrite."
        )
    given = {name: getattr(config, name) for name in config.model_fields_set}
    clashes = sorted(
        name for name in config.model_fields_set - MAY_CHANGE if config.public()[name] != before["config"][name]
    )
    if clashes:
        raise InputError(
            f"The run in {config.out} began with another --{clashes[0].replace('_', '-')}, which cannot change."
        )
    fields = before["config"] | {name: value for name, value in given.items() if name in MAY_CHANGE}
    return RunConfig.load(None, fields)


@dataclass
class _Session:
    """One stretch of work on a run directory."""

    config: RunConfig
    profiles: list[Profile]
    bad_rows: list[BadRow]
    steps: tuple[Step, ...]
    context: Context
    listen: Listener
    started: float
    probes: int
    before: dict[str, Any]

    @classmethod
    async def begin(cls, config: RunConfig, resume: bool, overwrite: bool, listen: Listener) -> _Session:
        if resume and overwrite:
            raise InputError("--resume and --overwrite exclude each other.")
        if resume:
            config = resumed(config)
        else:
            _check_folder(config.out, overwrite)
        profiles, bad = load_profiles(config.profiles, strict=config.strict)
        benchmark = read_benchmark(config.decontaminate) if config.decontaminate else []
        steps = (*DEFAULT_STEPS, Contamination.of(benchmark)) if benchmark else DEFAULT_STEPS
        context = config.context()
        probes = 0 if resume else await _probe(replace(context, journal=None, max_calls=None))
        if overwrite:
            _clear(config.out)
        before = _begin_folder(config)
        return cls(config, profiles, bad, steps, context, listen, time.time(), probes, before)

    async def go(self) -> RunResult:
        res = await opened(self.context)
        res.budget.calls = max(res.budget.calls, self.before["calls"]) + self.probes
        self.listen({"stage": "start", "budget": res.budget, "config": self.config, "bad_rows": self.bad_rows})
        try:
            store = await asyncio.to_thread(ChromaStore, self.config.out / "chroma")
            try:
                return await self._work(res, store)
            finally:
                store.close()
        finally:
            await close(self.context)

    async def _work(self, res: Resources, store: ChromaStore) -> RunResult:
        counts: dict[str, Any] = {}
        groups: Sequence[Group] = ()
        similarity: dict[str, float] = {}
        records = Records(store, self.context.run)
        self._save(res, counts, similarity, "running")
        try:
            groups, similarity = await self._society(res, records)
            counts = await self._graph(store, groups)
            kept = counts.get("kept", {})
            short = [kind for kind in self.config.kind if kept.get(kind, 0) < self.config.rows]
            ended = "complete" if not short else "exhausted: no source is left for " + ", ".join(short)
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

    async def _graph(self, store: ChromaStore, groups: Sequence[Group]) -> dict[str, Any]:
        builder = create_matrix(groups, steps=self.steps, agent_checkpoints=self.config.checkpoints == "step")
        config: Any = {"configurable": {"thread_id": self.context.run}, "recursion_limit": 1_000_000}
        async with AsyncSqliteSaver.from_conn_string(str(self.config.out / "checkpoints.sqlite")) as saver:
            graph = builder.compile(checkpointer=saver, store=store)
            begun = await saver.aget_tuple(config) is not None
            wanted = [r.model_dump() for r in self.config.requirements()]
            given: Any = None if begun else {"quota": self.config.scenarios, "wanted": wanted}
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
            return dict(state.values)

    async def _export(
        self, res: Resources, records: Records, groups: Sequence[Group], similarity: dict[str, float], ended: str
    ) -> RunResult:
        out = self.config.out
        scenarios, rows = await records.all("scenarios"), await records.all("samples")
        rejections, failures = await records.all("rejections"), await records.all("failures")
        counts = {
            "profiles": len(self.profiles),
            "bad_profiles": len(self.bad_rows),
            "agents": sum(len(group.members) for group in groups),
            "groups": len(groups),
            "scenarios": len(scenarios),
            "actions": (actions := sum(len(s["actions"]) for s in scenarios)),
            "turns": actions + sum(failure["stage"] == "act" for failure in failures),
            "messages": sum(len(s["messages"]) for s in scenarios),
            "generated": dict(Counter(row["kind"] for row in [*rows, *rejections])),
            "kept": {kind: sum(row["kind"] == kind for row in rows) for kind in self.config.kind},
            "rejected": dict(Counter(r["rule"] for r in rejections)),
            "failed": _told(failures),
        }
        write_json_lines(out / "scenarios.jsonl", scenarios)
        for kind in self.config.kind:
            write_json_lines(out / "dataset" / f"{kind}.jsonl", [row for row in rows if row["kind"] == kind])
        write_json_lines(out / "rejected.jsonl", rejections)
        summary = self._save(res, counts, similarity, ended)
        write_text(out / "README.md", card(summary, rejections))  # type: ignore[arg-type]
        self.listen({"stage": "end", "ended": ended})
        return RunResult(out, summary)

    def _save(self, res: Resources, counts: dict[str, Any], similarity: dict[str, float], ended: str) -> dict[str, Any]:
        summary = {
            "format": FORMAT,
            "config": self.config.public(),
            "profiles_digest": _digest(self.config),
            "versions": _versions(),
            "seed": self.config.seed,
            "counts": counts,
            "homophily": similarity,
            "calls": res.budget.calls,
            "tokens": {"input": res.budget.input_tokens, "output": res.budget.output_tokens},
            "cost_usd": round(res.budget.cost, 6),
            "estimate": estimate(self.config, self.profiles).totals(),
            "seconds": round(self.before["seconds"] + time.time() - self.started, 2),
            "ended": ended,
        }
        write_text(self.config.out / "run.json", json.dumps(summary, ensure_ascii=False, indent=2) + "\n")
        return summary


async def _probe(context: Context) -> int:
    """See that the models answer; returns the number of chat calls that it took."""
    res = await opened(context)
    try:
        await res.embedder.embed(["probe"])
        ask = [{"role": "user", "content": "Answer with the word: ready"}]
        if context.model != LOCAL:
            await res.model.text("probe", ask)
        if context.student and context.student != LOCAL:
            await res.student.text("probe/student", ask)
    except RunPaused as error:
        raise InputError(
            f"The model cannot be reached{f' at {context.base_url}' if context.base_url else ''}: {error}"
        ) from error
    finally:
        await close(context)
    return res.budget.calls


def _check_folder(out: Path, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; name a folder.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not (out / "run.json").is_file():
        raise InputError(f"--out {out} holds files that are no run; name an empty or a new folder.")
    if not overwrite:
        raise InputError(
            f"--out {out} holds another run; go on with it (--resume), replace it (--overwrite), or name a new folder."
        )


def _clear(out: Path) -> None:
    """Delete the run in `out`, `run.json` last, unless another process works on it."""
    if not (out / "run.json").is_file():
        return
    held = hold(out / "chroma")
    try:
        databases = [path for name in _DATABASES for path in out.glob(f"{name}*")]
        inside = [path for path in (out / "chroma").iterdir() if path.name != LOCK]
        for path in [*databases, *inside, *(out / name for name in _OWN)]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    finally:
        let_go(held)


def _begin_folder(config: RunConfig) -> dict[str, Any]:
    """Make the folder with a first run.json, and return what an earlier part of the run used."""
    path = config.out / "run.json"
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            begun = {"config": config.public(), "profiles_digest": _digest(config), "calls": 0, "seconds": 0.0}
            write_text(path, json.dumps({"format": FORMAT, **begun, "ended": "running"}))
        before: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(f"Cannot write to --out {config.out}: {error}") from error
    return before


def _digest(config: RunConfig) -> str:
    try:
        return hashlib.sha256(Path(config.profiles or SHIPPED).read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"Cannot read the profiles in {config.profiles}: {error}") from error


def _told(failures: Sequence[dict[str, Any]]) -> dict[str, int]:
    told = [Failure(stage=f["stage"], who=f["who"], reason=f["reason"]) for f in failures]
    return dict(Counter(f"{f['stage']}: {f['reason']}" for f in told).most_common())


def _versions() -> dict[str, str]:
    names = ("matrix-graph", "langgraph", "langchain-core", "langchain-openai", "chromadb")
    return {"python": platform.python_version()} | {name: version(name) for name in names}
