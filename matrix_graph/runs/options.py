"""Options that a YAML file and flags can fill, and what their values have in common."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from matrix_graph.boundary.files import read_yaml_file
from matrix_graph.boundary.secrets import redacted
from matrix_graph.errors import InputError


class Options(BaseModel):
    """Options that a YAML file and flags can fill; an unknown one is refused.

    The types of the fields are what they take; what they hold is narrower, and properties give it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def load(cls, path: Path | None, options: dict[str, Any]) -> Self:
        """From a YAML file (if any) with `options` that are not None over it.

        Raises:
            InputError: the file cannot be read, or an option is wrong; the message names it.
        """
        fields = (read_yaml_file(path) or {}) if path else {}
        if not isinstance(fields, dict):
            raise InputError(f"{path} must hold options as 'name: value' lines.")
        # `max-cost`, as on the command line, and `max_cost`.
        fields = {str(name).replace("-", "_"): value for name, value in fields.items()}
        named = {name: value for name, value in options.items() if value not in (None, [])}
        return cls.model_validate(fields | named, context=_FLAGS)

    @model_validator(mode="wrap")
    @classmethod
    def _refused(
        cls, value: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            flags = info.context is _FLAGS
            raise InputError(_problems(error, list(cls.model_fields), flags)) from error

    def checked(self) -> Self:
        """The same, if its options go together. Those that a run is resumed with need not, since
        they come on top of others.

        Raises:
            InputError: they do not.
        """
        try:
            self._check()
        except ValueError as error:
            raise InputError(str(error)) from error
        return self

    def _check(self) -> None:
        """See that the options go together; ValueError where they do not."""

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Have `help()` and a notebook's `?` say what each option is."""
        fields = cls.model_fields.items()
        shown = "\n".join(f"    {name}: {field.description}" for name, field in fields)
        cls.__doc__ = f"{cls.__doc__ or ''}\nOptions:\n{shown}\n"
        cls.__signature__ = Signature(
            [
                Parameter(
                    n, Parameter.KEYWORD_ONLY, default=f.get_default(call_default_factory=True)
                )
                for n, f in fields
            ]
        )

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return Path(self._held.out)

    @property
    def judges(self) -> tuple[Any, ...]:
        """The specs of the judges."""
        return tuple(self._held.judge)

    @property
    def prices(self) -> dict[str, tuple[float, float]]:
        """US dollars per million tokens, in and out, by model."""
        return dict(self._held.price)

    @property
    def _held(self) -> Any:
        """Every configuration has `out`, `judge` and `price`, each with a default of its own."""
        return self

    def public(self) -> dict[str, Any]:
        """The fields, JSON-ready; they hold no secret."""
        return self.model_dump(mode="json")


def checked_url(base_url: str | None) -> None:
    """See that a server's URL is one, and holds no key.

    Raises:
        ValueError: it does not do.
    """
    url = urlsplit(base_url or "http://")
    if url.scheme not in ("http", "https"):
        raise ValueError("--base-url must start with http:// or https://")
    if "@" in url.netloc or url.query or url.fragment:
        raise ValueError("--base-url may hold no key or password; set OPENAI_API_KEY")


def checked_rewards(specs: Sequence[str]) -> None:
    """See that the URLs of reward servers hold no key.

    Raises:
        ValueError: one does.
    """
    for spec in specs:
        url = urlsplit(spec)
        if url.scheme in ("http", "https") and ("@" in url.netloc or url.query or url.fragment):
            raise ValueError("--reward URL may hold no key or password; set REWARD_API_KEY")


_FLAGS: dict[str, Any] = {}
"""Says that options come from flags and files, by whose names problems go."""
_ELSEWHERE = ("resume", "overwrite", "listen", "progress")


def _problems(error: ValidationError, options: Sequence[str], flags: bool) -> str:
    problems = []
    for e in error.errors(include_url=False):
        name = str(e["loc"][0]) if e["loc"] else ""
        if name and flags:
            name = "--" + name.replace("_", "-")
        reason = e["msg"].removeprefix("Value error, ")
        shown = redacted(f"{e['input']!r:.200}")
        if e["type"] == "extra_forbidden":
            reason = "there is no such option"
            if e["loc"][0] in _ELSEWHERE and not flags:
                reason = "it goes to the function, beside the configuration"
            elif near := get_close_matches(str(e["loc"][0]), options, 1):
                meant = near[0].replace("_", "-") if flags else near[0]
                reason += f"; did you mean {meant}?"
        problems.append(f"{name}: {reason} (given: {shown})" if name else reason)
    return "; ".join(dict.fromkeys(problems))
