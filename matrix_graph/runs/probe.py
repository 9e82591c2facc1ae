"""See that models answer before anything is written or paid for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

from matrix_graph.context import Context
from matrix_graph.errors import InputError, RunPaused
from matrix_graph.llm.budget import Account
from matrix_graph.llm.models import LOCAL, NONE
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.usage import Usage
from matrix_graph.resources import Resources, opening


async def probe(contexts: Iterable[Context], used: dict[str, Usage]) -> None:
    """Ask each model of the contexts one thing; what each was used for is added to `used`, by its
    name, also where this is cancelled.

    Raises:
        InputError: a model cannot be made, or does not answer.
    """
    for context in contexts:
        trial = replace(context, journal=None, journals=None, max_calls=None)
        async with counted(trial, used) as resources:
            await _ask(trial, resources)


@asynccontextmanager
async def counted(trial: Context, used: dict[str, Usage]) -> AsyncIterator[Resources]:
    """What is open of a context, until the block ends; `used` gets what that took."""
    account: Account | None = None
    try:
        async with opening(trial) as resources:
            account = resources.account
            yield resources
    finally:
        for model, usage in (account.by_model if account else {}).items():
            used[model] = used.get(model, Usage()) + usage


async def _ask(trial: Context, resources: Resources) -> None:
    ask = [{"role": "user", "content": "Answer with the word: ready"}]
    server = f" at {trial.base_url}" if trial.base_url else ""
    try:
        if not _is(trial.embeddings, NONE):
            await resources.embedder.embed(["probe"])
        if not _is(trial.model, LOCAL, NONE):
            await resources.model.text(Slot(stage="probe", who="model"), ask)
        if trial.student and not _is(trial.student, LOCAL, NONE):
            await resources.student.text(Slot(stage="probe", who="student"), ask)
    except RunPaused as error:
        raise InputError(f"The model cannot be reached{server}: {error}") from error


def _is(spec: object, *names: str) -> bool:
    return isinstance(spec, str) and spec.partition(":")[0] in names
