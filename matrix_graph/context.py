"""What a run is given from outside: the `Context` that travels through the graphs.

It is data: written by hand, sent over an API, passed again on resume. What is opened from it
(models, journal, memory) is in `resources`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from matrix_graph.errors import InputError
from matrix_graph.schema import Communication, End, Routing

# In a JSON schema, as Studio asks for it, a model is its name.
ChatSpec = Annotated[str | InstanceOf[Runnable[Any, Any]], WithJsonSchema({"type": "string"})]
EmbeddingsSpec = Annotated[str | InstanceOf[Embeddings], WithJsonSchema({"type": "string"})]

_Share = Annotated[float, Field(ge=0, le=1)]

SETTING = (
    "The people of a group know each other by name from an online group, which people with lives "
    "like theirs have joined; they live wherever each of them lives. There they post, ask and "
    "answer before all, or write to one of them alone. What one of them posts is at times passed "
    "on in other groups of that kind."
)
"""People of a group are alike (homophily), and need not live in one place."""
START = date(2025, 1, 6)
"""A Monday."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Context:
    """Settings of one run; pass it as `context=` to the compiled graph, and again on resume.

    Attributes:
        model: Who plays, routes and writes: `local`, `openai:NAME`, a LangChain chat model (also
            within `bind()` or `with_retry()`), or `none`.
        student: The model about to be tuned, which writes DPO's rejected answers; `model` if None.
        embeddings: `local`, `openai:NAME`, LangChain embeddings, or `none`.
        base_url: The server behind `openai:` specs, with its `/v1`; OpenAI's own if None.
        temperature: Sampling temperature; the provider's default if None.
        run: Name of the run in the store, shared by all who give it. If None, each thread of a
            graph is a run of its own, named by its id; without threads it is `run`.
        branch_of: The thread that this is a branch of: what its people answered need not be asked
            again.
        seed: Seeds grouping, sampling and the random control arm; not the models.
        communication: `structured`, or the control arms `random` and `none`.
        modulator: `batched` (one call routes all actions of a group's step), `per_action`, or
            `human`: a person is asked through `interrupt()`, which needs a checkpointer.
        setting: How the people of a group know each other, in a few sentences that agents and
            modulators read; the same for all groups.
        start: The day of the first step.
        step_days: Days that a step stands for.
        end: `scenarios`: an agent that has carried out its plan, or reached its goal, writes the
            next ones, so that there are as many scenarios as are asked for. `goals`: it acts no
            more (arXiv 2410.14251).
        setbacks: Share of the plan's steps at which something does not go as planned; drawn by
            `seed`.
        outreach: Share of the plan's steps at which an agent turns to people whom it knows; drawn
            by `seed`. Otherwise it does so where it wants to, which strong models seldom do.
        plausible: Check each action of an agent that the model plays, and ask once again for one
            that could not have happened: a call more for each.
        concurrency: Model calls in flight at most.
        timeout: Seconds per attempt of a model call.
        memory_limit: Memories of an agent past which the older half is consolidated into one.
        max_calls, max_cost: Caps (requests; US dollars) that pause the run. They hold over all
            contexts that write to the same journal.
        prices: US dollars per million tokens (in, out) by model name, in place of the list price.
        journal: File of the call journal. In memory if None: then it ends with this object.
        journals: Folder with a journal for each thread of the graph, for servers, where each
            request brings a context of its own; `journal` goes before it.
        prompts: Folder with the user's own versions of prompts.
        offline: Ask no model: a call that the journal has no answer to interrupts the graph.

    Raises:
        InputError: a field is wrong.
    """

    model: ChatSpec = "local"
    student: ChatSpec | None = None
    embeddings: EmbeddingsSpec = "local"
    base_url: str | None = None
    temperature: float | None = None
    run: str | None = None
    branch_of: str | None = None
    seed: int = 0
    communication: Communication = "structured"
    modulator: Routing = "batched"
    setting: str = SETTING
    start: date = START
    step_days: PositiveInt = 1
    end: End = "scenarios"
    setbacks: _Share = 0.25
    outreach: _Share = 0.25
    plausible: bool = False
    concurrency: PositiveInt = 8
    timeout: PositiveFloat = 120.0
    memory_limit: PositiveInt = 500
    max_calls: int | None = None
    max_cost: float | None = None
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    journal: str | Path | None = None
    journals: str | Path | None = None
    prompts: str | Path | None = None
    offline: bool = False

    def __post_init__(self) -> None:
        kind: Any = type(self)
        try:
            fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
            checked = _checking(kind).model_validate(fields)
        except ValidationError as error:
            problems = [
                f"{e['loc'][0]}: {e['msg']} (given: {e['input']!r:.100})"
                for e in error.errors(include_url=False)
            ]
            raise InputError(f"Invalid context: {'; '.join(problems)}") from error
        for name in self.__dataclass_fields__:
            object.__setattr__(self, name, getattr(checked, name))


@cache
def _checking(kind: Any) -> type[BaseModel]:
    """A model that checks the fields."""
    hints = get_type_hints(kind, include_extras=True)
    made: dict[str, Any] = {name: (hints[name], ...) for name in kind.__dataclass_fields__}
    return create_model(kind.__name__, __config__=ConfigDict(strict=False), **made)
