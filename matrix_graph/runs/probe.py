"""See that models answer before anything is written or paid for."""

from __future__ import annotations

from dataclasses import replace

from matrix_graph.context import Context, close, opened
from matrix_graph.errors import InputError, RunPaused
from matrix_graph.llm.models import LOCAL, NONE


async def probe(context: Context) -> int:
    """Ask each model of `context` one thing; returns the number of chat calls that it took.

    Raises:
        InputError: a model cannot be made, or does not answer.
    """
    trial = replace(context, journal=None, max_calls=None)
    res = await opened(trial)
    try:
        if not _is(trial.embeddings, NONE):
            await res.embedder.embed(["probe"])
        ask = [{"role": "user", "content": "Answer with the word: ready"}]
        if not _is(trial.model, LOCAL, NONE):
            await res.model.text("probe", ask)
        if trial.student and not _is(trial.student, LOCAL, NONE):
            await res.student.text("probe/student", ask)
    except RunPaused as error:
        raise InputError(
            f"The model cannot be reached{f' at {context.base_url}' if context.base_url else ''}: "
            f"{error}"
        ) from error
    finally:
        await close(trial)
    return res.budget.calls


def _is(spec: object, *names: str) -> bool:
    return isinstance(spec, str) and spec.partition(":")[0] in names
