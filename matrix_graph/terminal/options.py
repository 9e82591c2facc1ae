"""Command line options made from the fields of a configuration, so that each is stated once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import typer
from pydantic.fields import FieldInfo

from matrix_graph.runs.options import Options


def options_of(config: type[Options]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command that takes `**options` a flag for every field of `config`, None where it is
    not given.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        parameters_of_command = signature(command).parameters.items()
        kept = [
            p.replace(annotation=hints[n])
            for n, p in parameters_of_command
            if p.kind != p.VAR_KEYWORD
        ]
        made = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=_option(name, field))
            for name, field in config.model_fields.items()
        ]
        parameters = [p.replace(kind=Parameter.KEYWORD_ONLY) for p in kept] + made

        @wraps(command)
        def called(**parameters_of_command: Any) -> None:
            command(**parameters_of_command)

        called.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {p.name: p.annotation for p in parameters}
        return called

    return decorated


def _option(name: str, field: FieldInfo) -> Any:
    """The flag for a field: repeatable where it holds several, with its default if it has one."""
    kinds = _kinds(field.annotation)
    kind: Any = next((k for k in (bool, int, float, Path) if k in kinds), str)
    if kind is str and kinds & {tuple, dict}:
        kind = list[str]
    default = field.get_default(call_default_factory=True)
    if isinstance(default, tuple):
        default = ",".join(default)
    shown = str(default) if default and default is not True else False
    flag = "--" + name.replace("_", "-")
    # Without an explicit name a switch would get a --no-... twin, which no option here needs.
    option = typer.Option(flag, help=field.description, show_default=shown)
    return Annotated[kind | None, option]


def _kinds(annotation: Any) -> set[Any]:
    """The types within unions and annotations."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return {kind for part in get_args(annotation) for kind in _kinds(part)}
    return {origin if origin in (tuple, dict) else annotation}
