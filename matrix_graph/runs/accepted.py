"""What options take, and what they hold: paths also as strings, lists also with commas, files also
as objects.

A type checker sees the first, pydantic the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from langchain_core.embeddings import Embeddings
from langchain_core.runnables import Runnable
from pydantic import BeforeValidator, InstanceOf, PlainSerializer, WithJsonSchema

from matrix_graph.errors import InputError
from matrix_graph.filtering.rules import Rules
from matrix_graph.generation.requirements import KindName, Requirement, read_requirements
from matrix_graph.llm.budget import Price
from matrix_graph.llm.models import NONE, ModelObject, inner_model, recorded
from matrix_graph.society.profiles import profile_rows
from matrix_graph.tables import Table


def split(value: Any) -> Any:
    """The parts of a value that lists several, with commas or as a list of such."""
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    if not isinstance(value, list | tuple):
        return (value,)
    parts: list[Any] = []
    for item in value:
        parts += split(item) if isinstance(item, str) else [item]
    return tuple(parts)


def read_prices(value: Any) -> Any:
    """Prices by model name, from `NAME=IN,OUT` flags or a mapping.

    Raises:
        ValueError: a flag is none of that form, or a price is no number of at least 0.
    """
    flags = [value] if isinstance(value, str) else value
    prices: dict[str, Any] = {}
    if isinstance(flags, list | tuple):
        for flag in flags:
            name, _, pair = str(flag).rpartition("=")
            if not name or len(pair.split(",")) != 2:
                raise ValueError(f"--price takes NAME=IN,OUT, such as gpt-4.1-mini=0.4,1.6: {flag}")
            prices[name] = tuple(pair.split(","))
    elif isinstance(flags, Mapping) or not flags:
        prices = dict(flags or {})
    else:
        raise ValueError(f"a price is a mapping of models to pairs of numbers, not {flags!r}")
    for name, pair in prices.items():
        try:
            Price(*map(float, pair))
        except (TypeError, ValueError, InputError):
            raise ValueError(f"--price {name}: two numbers of at least 0 are needed") from None
    return prices


def _path(value: Any) -> Any:
    return Path(value).expanduser() if isinstance(value, str | Path) else value


def _path_or(read: Any) -> BeforeValidator:
    """Paths as such, what is given in place of a file through `read`."""
    return BeforeValidator(
        lambda value: _path(value) if isinstance(value, str | Path) else read(value)
    )


def _profiles(value: Any) -> Any:
    return None if value is None else tuple(profile_rows(value))


def _requirements(value: Any) -> Any:
    if isinstance(value, Mapping | Requirement):
        raise ValueError("requirements are a list")
    if not isinstance(value, Sequence):
        return value
    rows = tuple(r.model_dump(mode="json") if isinstance(r, Requirement) else r for r in value)
    if not all(isinstance(row, Mapping) for row in rows):
        raise ValueError("each requirement is a mapping, such as {'kind': 'sft', 'count': 10}")
    read_requirements([{"count": 1} | dict(row) for row in rows])
    return rows


def _rules(value: Any) -> Any:
    return Rules.model_validate(value) if isinstance(value, Mapping) else value


def _model(value: Any) -> Any:
    if value is None or isinstance(value, str | ModelObject | Embeddings):
        return value
    if isinstance(value, Mapping):
        return ModelObject.model_validate(value)
    if isinstance(value, Runnable):
        inner_model(value)
        return value
    raise ValueError("a model is its name or a LangChain object")


def _written(spec: Any) -> Any:
    kept = recorded(spec)
    return kept if isinstance(kept, str) else kept.model_dump()


if TYPE_CHECKING:
    StrPath = str | Path
    Names = str | Sequence[str]
    Kinds = str | Sequence[KindName]
    Prices = Mapping[str, tuple[float, float]] | str | Sequence[str]
    ChatModel = str | Runnable[Any, Any]
    ChatModels = str | Runnable[Any, Any] | Sequence[str | Runnable[Any, Any]]
    EmbeddingModel = str | Embeddings
    Profiles = str | Path | Table
    Requirements = str | Path | Sequence[Requirement | Mapping[str, Any]]
    Benchmark = str | Path | Sequence[str]
    RulesFile = str | Path | Rules | Mapping[str, Any]
else:
    _stored = PlainSerializer(_written, when_used="json-unless-none")
    _as_text = WithJsonSchema({"type": "string"})
    StrPath = Annotated[Path, BeforeValidator(_path)]
    _list = WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    )
    Names = Annotated[tuple[str, ...], BeforeValidator(split), _list]
    Kinds = Annotated[tuple[KindName, ...], BeforeValidator(split), _list]
    _prices = WithJsonSchema({"type": ["object", "string", "array"]})
    Prices = Annotated[dict[str, tuple[float, float]], BeforeValidator(read_prices), _prices]
    ChatModel = Annotated[
        str | ModelObject | InstanceOf[Runnable], BeforeValidator(_model), _stored, _as_text
    ]
    ChatModels = Annotated[tuple[ChatModel, ...], BeforeValidator(split), _list]
    EmbeddingModel = Annotated[
        str | ModelObject | InstanceOf[Embeddings], BeforeValidator(_model), _stored, _as_text
    ]
    Profiles = Annotated[Path | tuple[dict[str, Any], ...], _path_or(_profiles)]
    Requirements = Annotated[Path | tuple[dict[str, Any], ...], _path_or(_requirements)]
    Benchmark = Annotated[Path | tuple[str, ...], _path_or(lambda value: value)]
    RulesFile = Annotated[
        Path | Rules, _path_or(_rules), WithJsonSchema({"type": ["string", "object"]})
    ]


def served(spec: object) -> bool:
    """Whether it is a spec of a model behind a server."""
    return isinstance(spec, str) and spec.startswith("openai:")


def lent(model: Any) -> Any:
    """A chat model of a configuration as a `Context` takes it; of an object that is not here, what
    reads its answers on record.
    """
    return model.stand_in() if isinstance(model, ModelObject) else model


def lent_embeddings(model: Any) -> Any:
    """The same of embeddings."""
    return f"{NONE}:{model.name}" if isinstance(model, ModelObject) else model
