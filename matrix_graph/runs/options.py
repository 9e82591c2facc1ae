"""Options that a YAML file and flags can fill, and what their values have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from matrix_graph.errors import InputError
from matrix_graph.llm.budget import Price


class Options(BaseModel):
    """Options that a YAML file and flags can fill; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def load(cls, path: Path | None, options: dict[str, Any]) -> Self:
        """From a YAML file (if any) with `options` that are not None over it.

        Raises:
            InputError: the file cannot be read, or an option is wrong; the message names it.
        """
        try:
            fields = yaml.safe_load(path.read_text("utf-8-sig")) or {} if path else {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"Cannot read the configuration {path}: {error}") from error
        if not isinstance(fields, dict):
            raise InputError(f"{path} must hold options as 'name: value' lines.")
        try:
            # `max-cost`, as on the command line, and `max_cost`.
            fields = {str(name).replace("-", "_"): value for name, value in fields.items()}
            named = {name: value for name, value in options.items() if value not in (None, [])}
            return cls.model_validate(fields | named)
        except ValidationError as error:
            raise InputError(_told(error, list(cls.model_fields))) from error

    def public(self) -> dict[str, Any]:
        """The fields, JSON-ready; they hold no secret."""
        return self.model_dump(mode="json")


PRICE = (
    "US dollars per million tokens of a model, as NAME=IN,OUT, in place of its list price; "
    "repeatable"
)


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


def split(value: Any) -> Any:
    """The parts of a flag's value that lists several with commas."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def checked_url(base_url: str | None) -> None:
    """See that a server's URL is one, and holds no key.

    Raises:
        ValueError: it does not do.
    """
    url = urlsplit(base_url or "http://")
    if url.scheme not in ("http", "https"):
        raise ValueError("--base-url must start with http:// or https://")
    if "@" in url.netloc or url.query:
        raise ValueError("--base-url may hold no key or password; set OPENAI_API_KEY")


def _told(error: ValidationError, options: Sequence[str]) -> str:
    problems = []
    for e in error.errors(include_url=False):
        name = "--" + str(e["loc"][0]).replace("_", "-") if e["loc"] else ""
        reason = e["msg"].removeprefix("Value error, ")
        if e["type"] == "extra_forbidden":
            reason = "there is no such option"
            if near := get_close_matches(str(e["loc"][0]), options, 1):
                reason += f"; did you mean {near[0].replace('_', '-')}?"
        problems.append(f"{name}: {reason} (given: {e['input']!r})" if name else reason)
    return "; ".join(dict.fromkeys(problems))
