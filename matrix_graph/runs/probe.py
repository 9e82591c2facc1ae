"""See that models answer before anything is written or paid for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from matrix_graph.context import Context
from matrix_graph.errors import InputError, RunPaused
from matrix_graph.llm.models import LOCAL, NONE
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.usage import Usage
from matrix_graph.resources import opening


async def probe(contexts: Iterable[Context]) -> Mapping[str, Usage]:
    """Ask each model of the contexts one thing.

    Returns:
        What each was used for, by its name.

    Raises:
        InputError: a model cannot be made, or does not answer.
    """
    used: dict[str, Usage] = {}
    for context in contexts:
        for model, usage in (await _probed(context)).items():
            used[model] = used.get(model, Usage()) + usage
    return used


async def _probed(context: Context) -> Mapping[str, Usage]:
    trial = replace(context, journal=None, journals=None, max_calls=None)
    ask = [{"role": "user", "content": "Answer with the word: ready"}]
    server = f" at {context.base_url}" if context.base_url else ""
    async with opening(trial) as resources:
        try:
            if not _is(trial.embeddings, NONE):
                await resources.embedder.embed(["probe"])
            if not _is(trial.model, LOCAL, NONE):
                await resources.model.text(Slot(stage="probe", who="model"), ask)
            if trial.student and not _is(trial.student, LOCAL, NONE):
                await resources.student.text(Slot(stage="probe", who="student"), ask)
        except RunPaused as error:
            raise InputError(f"The model cannot be reached{server}: {error}") from error
        return resources.account.by_model


def _is(spec: object, *names: str) -> bool:
    return isinstance(spec, str) and spec.partition(":")[0] in names
