"""What a run that is resumed may be given: what may change, what may grow, and what must be as it
was.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from matrix_graph.errors import InputError
from matrix_graph.generation.requirements import Requirement, read_requirements
from matrix_graph.llm.models import ModelObject
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.given import digest, prompts_digest, same_benchmark, tables_in
from matrix_graph.runs.received import check_trust, read_summary
from matrix_graph.runs.stretches import Stretch, stretches_of

MAY_CHANGE = {
    *("out", "durability", "max_calls", "max_cost", "price", "concurrency", "timeout", "base_url"),
    *("strict", "offline", "play", "trust"),
}
"""Options that a resumed run may be given anew."""
MAY_GROW = {"rows", "scenarios", "requirements"}
"""Options of which a resumed run may be given more: it goes on past its end."""
MODELS = {"model", "student", "embeddings", "judge"}
"""Options that a resumed run must be given again where they were objects."""


class Resumed(NamedTuple):
    """A run to go on with: how, to what end, by which stretches, and whether the last is new."""

    config: RunConfig
    wanted: list[Requirement]
    stretches: list[Stretch]
    grown: bool


def resumed(config: RunConfig) -> Resumed:
    """The run in `config.out`, with what a resumed run may be given anew.

    Raises:
        InputError: no run there, or what is given does not go with it.
    """
    if not (config.folder / "run.json").is_file():
        raise InputError(
            f"{config.folder} holds no run to resume; begin one without --resume, or name its "
            "folder with --out."
        )
    before = read_summary(config.folder)
    began = before["config"]
    tables = tables_in(config.folder)
    if before["profiles_digest"] != digest(tables.get("profiles", began["profiles"])):
        raise InputError(
            f"The profiles of the run in {config.folder} have changed since it began; start anew "
            "with --overwrite."
        )
    check_trust(config.folder, before, config)
    prompts = began["prompts"]
    if before.get("prompts_digest", "") != prompts_digest(Path(prompts) if prompts else None):
        raise InputError(
            f"The prompts in {prompts} have changed since the run in {config.folder} began; put "
            "them back, or start anew with --overwrite."
        )
    given = {name: getattr(config, name) for name in config.model_fields_set}
    for name in sorted(given.keys() - MAY_CHANGE - MAY_GROW):
        if not _as_before(name, config, before):
            raise InputError(
                f"The run in {config.folder} began with another --{name.replace('_', '-')}, which "
                "cannot change."
            )
    wanted = read_requirements(before["requirements"])
    further = _wanted(config, wanted, by_kind=not began["requirements"])
    if config.scenarios < began["scenarios"] and "scenarios" in given:
        raise InputError(_less(config, "scenarios", began["scenarios"]))
    anew = {n: value for n, value in given.items() if n in MAY_CHANGE | MAY_GROW | MODELS}
    fields = {name: value for name, value in began.items() if name in RunConfig.model_fields}
    if fields["requirements"]:
        for name in ("kind", "domain", "max_tokens"):
            fields.pop(name)
    resumed = RunConfig.model_validate(
        fields | {"offline": False, "trust": False} | tables | anew
    ).checked()
    if missing := [] if resumed.offline else objects_of(resumed):
        raise InputError(
            f"The run in {config.folder} began with objects for {', '.join(missing)}; give them "
            f"again, such as RunConfig({missing[0]}=..., out=...)."
        )
    stretches = stretches_of(before)
    last = Stretch.to(resumed.scenarios, further)
    grown = stretches[-1] != last
    return Resumed(resumed, further, [*stretches, last] if grown else stretches, grown)


def branched(before: Mapping[str, Any], out: Path, models: RunConfig | None) -> RunConfig:
    """The configuration by which a branch of a run in `out` goes on.

    Args:
        before: The run.json of the run.
        models: Holds its models, where those were objects.

    Raises:
        InputError: one of them is missing.
    """
    given = models.model_fields_set & (MODELS | {"trust"}) if models else set()
    held = {name: getattr(models, name) for name in given}
    began = {
        name: before["config"].get(name) or RunConfig.model_fields[name].default for name in MODELS
    }
    if missing := objects_of(RunConfig.model_validate(began | held)):
        raise InputError(
            f"The run began with objects for {', '.join(missing)}; give them again: "
            f"models=RunConfig({missing[0]}=...)."
        )
    return RunConfig.model_validate(held | {"out": out})


def _wanted(config: RunConfig, before: list[Requirement], *, by_kind: bool) -> list[Requirement]:
    """The requirements as they are now: the same with as many rows, or more."""
    given = config.model_fields_set
    if "requirements" in given:
        further = _as_many(config, before)
    elif "rows" not in given:
        return before
    elif by_kind:
        further = [wanted.model_copy(update={"count": config.rows}) for wanted in before]
    else:
        raise InputError(
            f"The run in {config.folder} began with requirements; give them again with larger "
            "counts, in place of --rows."
        )
    counts = {wanted.id: wanted.count for wanted in before}
    same = [wanted.model_copy(update={"count": 1}) for wanted in before]
    if [wanted.model_copy(update={"count": 1}) for wanted in further] != same:
        raise InputError(
            f"The run in {config.folder} began with other requirements; only their counts may grow."
        )
    for wanted in further:
        if wanted.count < counts[wanted.id]:
            raise InputError(_less(config, f"rows of {wanted.id}", counts[wanted.id]))
    return further


def _as_many(config: RunConfig, before: list[Requirement]) -> list[Requirement]:
    """The requirements that are given again; one that says no count has that of before."""
    further = config.wanted()
    if "rows" in config.model_fields_set:
        return further
    counts = {wanted.id: wanted.count for wanted in before}
    other = config.model_copy(update={"rows": config.rows + 1}).wanted()
    return [
        now.model_copy(update={"count": counts.get(now.id, now.count)})
        if now.count != then.count
        else now
        for now, then in zip(further, other, strict=True)
    ]


def _less(config: RunConfig, what: str, before: int) -> str:
    return f"The run in {config.folder} has {before} {what}; it can go on to more, not to fewer."


def _as_before(name: str, config: RunConfig, before: Mapping[str, Any]) -> bool:
    """Whether an option says what it said at the run's beginning."""
    given: Any = getattr(config, name)
    if name == "profiles":
        return bool(digest(given) == before["profiles_digest"])
    began = before["config"].get(name)
    if name == "decontaminate":
        path = tables_in(config.folder).get(name, began)
        return same_benchmark(given, Path(path) if path else None)
    return bool(config.public()[name] == began)


def objects_of(config: RunConfig) -> list[str]:
    """The options that were objects, which are not here."""
    held = {name: getattr(config, name) for name in sorted(MODELS)}
    return [
        name
        for name, value in held.items()
        if any(isinstance(m, ModelObject) for m in (value if isinstance(value, tuple) else [value]))
    ]
