"""Command line options made from the fields of `RunConfig`, so that each is stated once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

import typer

from matrix_graph.config import RunConfig


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command that takes `**options` a flag for every field of `RunConfig`, None where it is not given."""
    hints = get_type_hints(command, include_extras=True)
    own = [p.replace(annotation=hints[n]) for n, p in signature(command).parameters.items() if p.kind != p.VAR_KEYWORD]
    made = [Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_option(name)) for name in _FIELDS]
    parameters = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own] + made

    @wraps(command)
    def called(**given: Any) -> None:
        command(**given)

    called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called


_FIELDS = RunConfig.model_fields


def _option(name: str) -> Any:
    field = _FIELDS[name]
    kinds = {kind for kind in (get_args(field.annotation) or (field.annotation,)) if kind is not type(None)}
    kind = next((k for k in (bool, int, float, Path) if k in kinds), str)
    flag = "--" + name.replace("_", "-")
    # Without an explicit name a switch would get a --no-... twin, which no option here needs.
    option = typer.Option(flag, help=field.description, show_default=False)
    return Annotated[kind | None, option]
