"""A filter run: a file of rows → a folder with what is kept, what is dropped and why, controls, and
what changed.

dataset/  rejected.jsonl  controls/  funnel.svg  filter.json  README.md  ·  rows.jsonl  ledger.jsonl
journal.sqlite
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from matrix_graph.boundary.files import (
    read_json_lines,
    read_json_object,
    write_json,
    write_json_lines,
)
from matrix_graph.boundary.locks import held
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed, InputError, RunPaused
from matrix_graph.filtering.columns import responses_of, rewards_of
from matrix_graph.filtering.funnel import funnel
from matrix_graph.filtering.graph import create_filter
from matrix_graph.filtering.ledger import Ledger
from matrix_graph.filtering.rows import wrong_shape
from matrix_graph.filtering.rules import Models, Rules
from matrix_graph.filtering.step import Step
from matrix_graph.filtering.steps.rewards import HttpReward
from matrix_graph.llm.models import NONE
from matrix_graph.llm.tasks import run_sync, to_end, waits_for
from matrix_graph.llm.usage import Usage
from matrix_graph.resources import GRACE, SHORT_GRACE, Resources, opening
from matrix_graph.runs.accepted import RulesFile
from matrix_graph.runs.config import JOURNAL
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.runs.filter_folder import (
    LEDGER,
    ROWS,
    SUMMARY,
    Filtered,
    FilterResult,
    begin_filter_folder,
    check_filter_folder,
    write_filtered,
)
from matrix_graph.runs.folder import claimed
from matrix_graph.runs.given import in_folder, in_memory, tables_in, write_tables
from matrix_graph.runs.probe import counted, probe
from matrix_graph.runs.received import opened as received
from matrix_graph.runs.shown import Listener, listening
from matrix_graph.runs.tally import used_by_model
from matrix_graph.schema import Row
from matrix_graph.tables import Table, rows_of


def read_rows(source: str | Path | Table) -> list[Row]:
    """The rows of a JSON Lines file or a table in a TRL layout, each with an id: its own, or the
    file's name (`row`, of a table) and its number.

    Raises:
        InputError: there is no such file, it holds none, or two rows have one id.
    """
    if isinstance(source, str | Path):
        path, stem = Path(source), Path(source).stem
        if not path.is_file():
            raise InputError(f"There is no file {path}.")
        given = read_json_lines(path)
    else:
        path, stem, given = Path("the table"), "row", rows_of(source)
    rows = []
    for number, row in enumerate(given, 1):
        row_id = row.get("id")
        rows.append(
            {"id": "", **row} | {"id": f"{stem}-{number}" if row_id is None else str(row_id)}
        )
    if not rows:
        raise InputError(f"{path} holds no row.")
    problems = [wrong_shape(row) for row in rows]
    if all(problems):
        layouts = "messages; prompt and completion; prompt, chosen and rejected"
        raise InputError(f"No row of {path} is in one of TRL's layouts ({layouts}): {problems[0]}.")
    if len({row["id"] for row in rows}) < len(rows):
        raise InputError(f"In {path} two rows have one id; give each an id of its own, or none.")
    return rows


async def afilter_rows(
    rows: str | Path | Table,
    config: FilterConfig | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listen: Listener | None = None,
    progress: bool | None = None,
) -> FilterResult:
    """Filter rows into `config.out`.

    Args:
        rows: A file of JSON Lines, a list of mappings, a data frame or a data set, in one of TRL's
            layouts.
        config: Without one, the defaults: no model is asked.
        resume: Go on with a run in that folder that was stopped; answered calls are not made again.
        overwrite: Delete the run in that folder first.
        listen: Hears the events of the graph, each a dict with `stage`.
        progress: Show how far it is. If None, in a notebook and on a terminal.

    Raises:
        InputError: what was given cannot work.
        RunPaused: a cap was reached, or a model is down; resume later.
    """
    config = FilterConfig() if config is None else config
    if not isinstance(config, FilterConfig):
        raise InputError(f"filter_rows() takes a FilterConfig, not a {type(config).__name__}.")
    with claimed(config.folder), listening(listen, progress) as hear:
        return await _afilter(read_rows(rows), config, resume, overwrite, hear)


@waits_for(afilter_rows)
def filter_rows(
    rows: str | Path | Table,
    config: FilterConfig | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listen: Listener | None = None,
    progress: bool | None = None,
) -> FilterResult:
    """`afilter_rows` for code that is not asynchronous."""
    options: Any = {"resume": resume, "overwrite": overwrite, "progress": progress}
    return run_sync(afilter_rows(rows, config, listen=listen, **options))


async def _afilter(
    rows: list[Row], config: FilterConfig, resume: bool, overwrite: bool, listen: Listener | None
) -> FilterResult:
    rules, models = config.checked().funnel(), config.models()
    steps = rules.steps(models)
    check_filter_folder(config.folder, resume, overwrite)
    _check_rewards(rules, models, rows)
    probed: dict[str, Usage] = {}
    stopped = False
    try:
        if not resume:
            await _probe(models, probed)
    except asyncio.CancelledError:
        # What was asked is on record, unless that would be in the place of another run.
        if overwrite:
            raise
        stopped = True
    with held(config.folder):
        config = in_memory(config) if overwrite else config
        begin_filter_folder(config.folder, overwrite)
        write_tables(config)
        config = in_folder(config)
        await to_end(_count(_opened(config, rules, rows, models, listen), probed))
        if stopped:
            raise asyncio.CancelledError
        return await _worked(_opened(config, rules, rows, models, listen), steps)


async def _worked(
    opened: AbstractAsyncContextManager[_Filtering], steps: Sequence[Step]
) -> FilterResult:
    ledger = Ledger()
    async with opened as filtering:
        filtering.save(Ended("running"))
        if filtering.listen and filtering.opened:
            filtering.listen({"stage": "start", "account": filtering.opened[0].account})
        try:
            return await filtering.go(ledger.recording(steps), ledger)
        except (RunPaused, InputError) as pause:
            await filtering.settle()
            filtering.save(Ended.by(pause))
            raise
        except asyncio.CancelledError:
            await to_end(filtering.settle(SHORT_GRACE))
            filtering.save(Ended("interrupted"))
            raise
        except Exception as error:
            await filtering.settle()
            filtering.save(Ended("failed", f"{type(error).__name__}: {error}"))
            raise


@asynccontextmanager
async def _opened(
    config: FilterConfig, rules: Rules, rows: list[Row], models: Models, listen: Listener | None
) -> AsyncIterator[_Filtering]:
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(opening(c)) for c in models.contexts]
        names = {}
        if models.embeddings:
            place = models.contexts.index(models.embeddings)
            names["embeddings"] = opened[place].embedder.name
        yield _Filtering(config, rules, rows, listen, opened, names)


async def _count(
    opened: AbstractAsyncContextManager[_Filtering], probed: Mapping[str, Usage]
) -> None:
    async with opened as filtering:
        for model, usage in probed.items():
            filtering.opened[0].account.add(model, usage)
        write_json_lines(filtering.config.folder / ROWS, filtering.rows)
        filtering.save(Ended("interrupted"))


async def arefilter(
    out: str | Path, rules: RulesFile | None = None, listen: Listener | None = None
) -> FilterResult:
    """Filter the rows of the run in `out` again with other rules, on what was measured then: no
    model is asked.

    Rules that are not named stay as they were then.

    Rows that come to a measurement which was not made of them then go, as "not measured".

    Raises:
        InputError: no finished filter run there, or the rules are refused.
    """
    out = received(out)
    if not (out / LEDGER).is_file():
        raise InputError(
            f"{out} holds no finished filter run; make one with: matrix-graph filter ROWS.jsonl "
            f"--out {out}"
        )
    try:
        before = read_json_object(out / SUMMARY)
        config = FilterConfig.model_validate(before["config"] | tables_in(out) | {"out": out})
    except (InputError, KeyError, TypeError) as error:
        raise InputError(f"{out / SUMMARY} is not what a filter run writes ({error}).") from error
    chosen = Rules.model_validate(before["rules"]) if "rules" in before else config.funnel()
    if rules is not None:
        chosen = chosen.over(FilterConfig(rules=rules).funnel())
        config = config.model_copy(update={"rules": chosen})
        chosen = config.funnel()
    ledger = Ledger.of(read_json_lines(out / LEDGER))
    names = before.get("models", {})
    models = _recorded(config, names.get("embeddings", ""))
    steps = ledger.replaying(chosen.steps(models))
    rows = read_json_lines(out / ROWS)
    async with AsyncExitStack() as stack:
        stack.enter_context(held(out))
        opened = [await stack.enter_async_context(opening(c)) for c in models.contexts]
        filtering = _Filtering(config, chosen, rows, listen, opened, names, before)
        return await filtering.go(steps)


@waits_for(arefilter)
def refilter(out: str | Path, rules: RulesFile | None = None) -> FilterResult:
    """`arefilter` for code that is not asynchronous."""
    return run_sync(arefilter(out, rules))


def _recorded(config: FilterConfig, embeddings: str) -> Models:
    """Models of which none can be asked."""
    silent = Context(model=NONE, embeddings=NONE)
    models = config.models(offline=True)
    recorded = Context(
        model=NONE, embeddings=f"{NONE}:{embeddings}", journal=config.folder / JOURNAL
    )
    return Models(
        judges=tuple(silent for _ in models.judges),
        student=silent if models.student else None,
        embeddings=recorded if models.embeddings else None,
        benchmark=models.benchmark,
    )


def _check_rewards(rules: Rules, models: Models, rows: Sequence[Row]) -> None:
    by_reward = ("pass_rate", "learnability", "min_reward", "rip", "pairs")
    asking = [name for name in by_reward if getattr(rules, name)]
    if rules.zero_advantage and "zero_advantage" in rules.model_fields_set:
        asking.append("zero_advantage")
    if not asking or models.student:
        return
    if not any(rewards_of(row) or responses_of(row) for row in rows):
        raise InputError(
            f"The rule {asking[0]} looks at rewards of a student's answers; name it with --student."
        )


async def _probe(models: Models, used: dict[str, Usage]) -> None:
    """See that models and reward models answer; `used` gets what that takes."""
    await probe(models.contexts, used)
    for scorer in models.scorers:
        if not isinstance(scorer, HttpReward):
            continue
        trial = replace(scorer, context=replace(scorer.context, journal=None))
        async with counted(trial.context, used):
            try:
                await trial({"id": "probe", "prompt": "Are you there?"}, ["Yes, I am."])
            except (CallFailed, RunPaused) as error:
                raise InputError(f"The reward model does not score: {error}") from error


@dataclass
class _Filtering:
    """One stretch of work on the folder of a filter run.

    Attributes:
        opened: What is open of the models; all share one account.
        names: Of the models by role.
        before: The summary that holds what was used, where nothing is asked any more.
    """

    config: FilterConfig
    rules: Rules
    rows: list[Row]
    listen: Listener | None
    opened: Sequence[Resources]
    names: dict[str, str] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)

    async def go(self, steps: Sequence[Step], ledger: Ledger | None = None) -> FilterResult:
        """Run the steps, and write what comes of them."""
        counts: list[tuple[str, int, int]] = []
        final: dict[str, Any] = {}
        graph = create_filter(steps).compile(name="filter")
        async for mode, data in graph.astream(
            {"rows": self.rows}, stream_mode=["custom", "values"]
        ):
            event = cast("dict[str, Any]", data)
            if mode == "values":
                final = event
                continue
            if event.get("event") == "step":
                counts.append((event["step"], event["dropped"], event["left"]))
            if self.listen:
                self.listen(event)
        await self.settle()
        kept, rejections = final["rows"], final.get("rejections", [])
        if ledger:
            write_json_lines(self.config.folder / LEDGER, ledger.lines())
        hygiene = frozenset(step.name for step in steps if step.hygiene)
        filtered = Filtered(self.rows, kept, rejections, funnel(counts, rejections), hygiene)
        head = self._head(Ended("complete"))
        return await asyncio.to_thread(
            write_filtered, filtered, self.rules.pairs, self.config.folder, head
        )

    async def settle(self, grace: float = GRACE) -> None:
        """Let calls under way end: what they use is part of the totals."""
        await asyncio.gather(*(resources.settle(grace) for resources in self.opened))

    def save(self, ended: Ended) -> None:
        """Write how the run stands."""
        write_json(self.config.folder / SUMMARY, self._head(ended), indent=2)

    def _head(self, ended: Ended) -> dict[str, Any]:
        head = {
            "config": self.config.public(),
            "rules": self.rules.model_dump(mode="json"),
            "models": self.names,
            "ended": ended.public(),
        }
        if self.before:
            return head | {name: self.before[name] for name in _USED if name in self.before}
        total, cost, by_model = Usage(), 0.0, {}
        if self.opened:
            account = self.opened[0].account
            total, cost, by_model = account.total, account.cost, used_by_model(account)
        return head | {
            "calls": total.requests,
            "tokens": {"input": total.input_tokens, "output": total.output_tokens},
            "cost_usd": round(cost, 6),
            "used": by_model,
        }


_USED = ("calls", "tokens", "cost_usd", "used")
