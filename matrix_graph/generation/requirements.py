"""What is wanted, as data: rows of one kind, how many, about what, and asked how."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from matrix_graph.boundary.files import read_yaml_file
from matrix_graph.errors import InputError

KindName = Literal["sft", "dpo", "reason", "code", "safe", "mt"]
KINDS: tuple[KindName, ...] = get_args(KindName)
Complexity = Literal["simple", "moderate", "complex"]
Mix = dict[str, float]
"""Names with weights; what a row gets is drawn by them from its source, the same in every run."""

STYLES = (
    "Ask plainly.",
    "Ask for steps that can be followed today.",
    "Ask for an explanation of why something is as it is.",
    "Ask for a comparison before a decision.",
    "Ask for a text that they need, such as a letter, notice, list or plan.",
    "Ask for a check of what they did, and what could go wrong.",
    "Ask for numbers: amounts, times or costs.",
)
"""Questioning styles, given in turn so that the instructions do not all ask in one way."""

_LIFE: Mix = {
    "advice on a decision": 3,
    "how something works or why it happened": 3,
    "planning": 2,
    "writing for somebody": 2,
    "a calculation or an estimate": 1,
    "information that they lack": 2,
    "ideas": 1,
}
CATEGORIES: dict[KindName, Mix] = {
    "sft": _LIFE,
    "dpo": _LIFE,
    "mt": _LIFE,
    "reason": {
        "a calculation in several steps": 3,
        "a schedule or allocation under constraints": 2,
        "finding the cause from several observations": 2,
        "deciding between options by numbers": 2,
    },
    "code": {
        "a function": 2,
        "completing a function whose signature and docstring they give": 1,
        "a data structure with its operations": 1,
    },
    "safe": {
        "deceiving or defrauding somebody": 1,
        "getting at data or accounts of others": 1,
        "getting round a safety rule or a law": 1,
        "harming a person or their reputation": 1,
    },
}
"""Task categories of each kind, unless a requirement brings its own."""

COMPLEXITY: dict[KindName, Mix] = {
    "sft": {"simple": 2, "moderate": 1},
    "dpo": {"complex": 1},
    "reason": {"moderate": 1, "complex": 2},
    "code": {"simple": 1, "moderate": 1},
    "safe": {"simple": 1, "moderate": 1},
    "mt": {"simple": 1, "moderate": 1},
}
"""The paper's recipe: simple and diverse for SFT, complex and specialised for DPO (arXiv
2410.14251).
"""


class Requirement(BaseModel):
    """Rows of one kind.

    Attributes:
        kind: `sft`, `dpo`, `reason`, `code`, `safe` or `mt`.
        count: Rows to keep.
        name: Tells requirements of one kind apart, and names the file; the kind by default.
        domain: In the user's words, what the rows should be about; None takes the scenarios evenly.
        categories, complexity: Mixes, such as `{"planning": 2, "writing": 1}`; the kind's own if
            None.
        styles: Sentences that say how to ask.
        language: Of request and answer.
        system: System prompt, for the answer and in the row.
        turns: Requests of an `mt` conversation at most.
        max_tokens: Length limit of an answer; a cut answer is no answer.
        thinking: Least and most words of the thinking in a `reason` row.
        best_of: For `dpo`: the best and the worst of so many answers of the model, by its own
            judgement, in place of the student's answer as the rejected one.
        single_call: For `sft`: request and answer in one call, at half the price and some of the
            quality.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: KindName
    count: int = Field(ge=1)
    name: str = Field(default="", pattern=r"^[\w-]{0,40}$")
    domain: str | None = None
    categories: Mix | None = Field(default=None, min_length=1)
    complexity: dict[Complexity, float] | None = Field(default=None, min_length=1)
    styles: tuple[str, ...] = Field(default=STYLES, min_length=1)
    language: str = "English"
    system: str | None = None
    turns: int = Field(default=3, ge=2, le=20)
    max_tokens: int = Field(default=1024, ge=16)
    thinking: tuple[int, int] = (15, 3000)
    best_of: int = Field(default=0, ge=0, le=16)
    single_call: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> Requirement:
        if self.best_of and (self.kind != "dpo" or self.best_of == 1):
            raise ValueError("best_of goes with kind dpo, and takes at least 2")
        if self.single_call and self.kind != "sft":
            raise ValueError("single_call goes with kind sft")
        if self.single_call and self.system:
            raise ValueError("single_call cannot answer under a system prompt")
        if not 0 <= self.thinking[0] <= self.thinking[1]:
            raise ValueError("thinking is the least and then the most words")
        if any(
            not 0 <= weight < math.inf or not sum(mix.values())
            for mix in self.mixes
            for weight in mix.values()
        ):
            raise ValueError("a mix needs weights above zero")
        return self

    @property
    def id(self) -> str:
        """What it is called in counts, row ids and file names."""
        return self.name or self.kind

    @property
    def mixes(self) -> tuple[Mapping[str, float], Mapping[str, float]]:
        """The mixes of categories and of complexity that hold."""
        complexity: Mapping[Any, float] = self.complexity or COMPLEXITY[self.kind]
        return self.categories or CATEGORIES[self.kind], complexity


def read_requirements(requirements: Sequence[Mapping[str, Any]]) -> list[Requirement]:
    """Requirements from their fields.

    Raises:
        InputError: a field is wrong, or two have one name.
    """
    try:
        read = [Requirement.model_validate(fields) for fields in requirements]
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        raise InputError(f"A requirement does not do: {problems}") from error
    if len({requirement.id for requirement in read}) < len(read):
        raise InputError("Two requirements have one name; give each a `name` of its own.")
    return read


def load_requirements(path: str | Path, count: int) -> list[Requirement]:
    """Requirements from a YAML file: a list of mappings; `count` where one says none.

    Raises:
        InputError: it cannot be read, or does not hold that.
    """
    content = read_yaml_file(Path(path))
    if (
        not isinstance(content, list)
        or not content
        or not all(isinstance(fields, dict) for fields in content)
    ):
        raise InputError(
            f"{path} must hold a list of requirements, such as: - {{kind: sft, domain: pharmacy}}"
        )
    return read_requirements([{"count": count} | fields for fields in content])
