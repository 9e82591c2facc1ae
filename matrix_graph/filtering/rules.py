"""The funnel as data: which rules hold, with which thresholds, in which order.

A rule is switched on with its defaults by `true`, off by `false`, and given its thresholds by a
mapping: `pass_rate: {low: 0.1, high: 0.9}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.filtering.step import Step
from matrix_graph.filtering.steps.code import TestsPass
from matrix_graph.filtering.steps.contamination import Contamination
from matrix_graph.filtering.steps.duplicates import ExactDuplicates, NearDuplicates
from matrix_graph.filtering.steps.form import Form
from matrix_graph.filtering.steps.judge import Judge, Judged
from matrix_graph.filtering.steps.language import Language
from matrix_graph.filtering.steps.pairs import Compare, Pairs, PairShape, Preferred
from matrix_graph.filtering.steps.rewards import JudgeReward, Rewards, Scorer, Verifier
from matrix_graph.filtering.steps.rollouts import Guesses, Rollouts
from matrix_graph.filtering.steps.selection import Select
from matrix_graph.filtering.steps.semantic import SemanticDuplicates
from matrix_graph.filtering.steps.signal import (
    Consistent,
    Learnability,
    MinReward,
    NotGuessable,
    PassRate,
    Rip,
    ZeroAdvantage,
)

_FIXED = {"name", "compares", "measures", "benchmark", "context"}
"""Fields of steps that are no thresholds."""

HYGIENE = (
    "form",
    "language",
    "code",
    "exact_duplicates",
    "near_duplicates",
    "semantic_duplicates",
    "contamination",
)
"""Steps that see to it that a row is usable; those after them choose among usable rows."""


@dataclass(frozen=True)
class Means:
    """What the measuring steps are given to measure with; each may be missing.

    Attributes:
        judges: A context each, whose model judges.
        student: A context whose student answers.
        scorers: Asked in turn for rewards; by default the verifier, then the first judge.
        embeddings: A context whose embeddings compare.
        benchmark: Prompts that no row may share.
    """

    judges: tuple[Context, ...] = ()
    student: Context | None = None
    scorers: tuple[Scorer, ...] = ()
    embeddings: Context | None = None
    benchmark: tuple[str, ...] = ()

    @property
    def contexts(self) -> tuple[Context, ...]:
        """All contexts among them, each once."""
        scorers = [getattr(scorer, "context", None) for scorer in self.scorers]
        return tuple(
            c for c in dict.fromkeys([*self.judges, self.student, self.embeddings, *scorers]) if c
        )


class Rules(BaseModel):
    """The rules of a funnel; what is None is left out. Those that need a measurement go with what
    measures it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    form: Form | None = Form()
    language: Language | None = Language()
    code: TestsPass | None = TestsPass()
    exact_duplicates: ExactDuplicates | None = ExactDuplicates()
    near_duplicates: NearDuplicates | None = NearDuplicates()
    semantic_duplicates: float | None = Field(default=0.9, ge=-1, le=1)
    contamination: Contamination | None = Contamination()
    judged: Judged | None = Judged()
    rollouts: int = Field(default=8, ge=1, le=256)
    rollout_tokens: int = Field(default=1024, ge=1)
    zero_advantage: ZeroAdvantage | None = ZeroAdvantage()
    pass_rate: PassRate | None = None
    learnability: Learnability | None = None
    min_reward: MinReward | None = None
    rip: Rip | None = None
    consistent: Consistent | None = None
    not_guessable: NotGuessable | None = None
    pairs: Pairs | None = None
    pair_shape: PairShape | None = PairShape()
    preferred: Preferred | None = None
    select: int | None = Field(default=None, ge=1)
    select_max_cosine: float = Field(default=0.9, ge=-1, le=1)
    order: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _switched(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            raise ValueError("rules are a mapping, such as: pass_rate: {low: 0.2, high: 0.8}")
        return {name: _rule(name, value) for name, value in given.items()}

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """From a YAML file.

        Raises:
            InputError: it cannot be read, or a rule or threshold in it does not do.
        """
        try:
            return cls.model_validate(yaml.safe_load(Path(path).read_text("utf-8")) or {})
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise InputError(f"Cannot read the rules in {path}: {error}") from error
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, e['loc'])) or 'rules'}: {e['msg']}"
                for e in error.errors(include_url=False)
            ]
            raise InputError(f"{path}: {'; '.join(problems)}") from error

    def steps(self, means: Means | None = None) -> tuple[Step, ...]:
        """The steps of the funnel, in its order or in `order` (steps not named there follow in the
        funnel's).

        Raises:
            InputError: `order` names no step, or a rule is on whose measurement nothing can make.
        """
        steps = {step.name: step for step in self._funnel(means or Means())}
        if strangers := [name for name in self.order if name not in steps]:
            raise InputError(
                f"order: no step is called {', '.join(strangers)}; there are {', '.join(steps)}."
            )
        return tuple(steps[name] for name in dict.fromkeys([*self.order, *steps]))

    def _funnel(self, means: Means) -> list[Step]:
        steps: list[Step | None] = [
            self.form,
            self.language,
            self.code,
            self.exact_duplicates,
            self.near_duplicates,
            self._semantic(means),
            self._contamination(means),
            *self._judging(means),
            *self._rolled(means),
            *self._signal(means),
            self.pairs,
            self.pair_shape,
            *self._preferring(means),
            self._select(means),
        ]
        return [step for step in steps if step is not None]

    def _semantic(self, means: Means) -> Step | None:
        if self.semantic_duplicates is None or means.embeddings is None:
            return None
        return SemanticDuplicates(means.embeddings, threshold=self.semantic_duplicates)

    def _contamination(self, means: Means) -> Step | None:
        if self.contamination is None or not means.benchmark:
            return None
        return Contamination.of(means.benchmark, share=self.contamination.share)

    def _judging(self, means: Means) -> list[Step | None]:
        return [Judge(means.judges), self.judged] if means.judges else []

    def _preferring(self, means: Means) -> list[Step | None]:
        return (
            [Compare(_needed(means.judges, "preferred", "--judge")[0]), self.preferred]
            if self.preferred
            else []
        )

    def _rolled(self, means: Means) -> list[Step]:
        if means.student is None:
            return []
        scorers = means.scorers or (Verifier(), *map(JudgeReward, means.judges[:1]))
        guesses = [Guesses(means.student)] if self.not_guessable else []
        return [
            Rollouts(means.student, self.rollouts, self.rollout_tokens),
            Rewards(scorers),
            *guesses,
        ]

    def _signal(self, means: Means) -> list[Step | None]:
        rules = [
            self.pass_rate,
            self.learnability,
            self.min_reward,
            self.rip,
            self.consistent,
            self.not_guessable,
        ]
        return [self.zero_advantage, *rules]

    @model_validator(mode="after")
    def _possible(self) -> Self:
        for name, field in (
            (n, f) for n in ("learnability", "min_reward", "rip") for f in ("quantile", "share")
        ):
            value = getattr(getattr(self, name), field, 0.5)
            if not 0 <= value <= 1:
                raise ValueError(f"{name}: {field} lies between 0 and 1, and {value:g} does not")
        if self.near_duplicates and not 0.3 <= self.near_duplicates.threshold <= 1:
            raise ValueError("near_duplicates: the threshold lies between 0.3 and 1")
        if self.rollouts < 2 and (self.zero_advantage or self.pass_rate):
            raise ValueError(
                "rollouts: one answer has no spread; take at least 2, or switch zero_advantage off"
            )
        return self

    def _select(self, means: Means) -> Step | None:
        if self.select is None:
            return None
        _needed(means.judges, "select", "--judge")
        return Select(
            _needed(means.embeddings, "select", "--embeddings"), self.select, self.select_max_cosine
        )


def _rule(name: str, value: Any) -> Any:
    kind = Rules.model_fields[name].annotation if name in Rules.model_fields else None
    step = next(
        (part for part in getattr(kind, "__args__", ()) if hasattr(part, "__dataclass_fields__")),
        None,
    )
    if step is None:
        return None if value is False else value
    if isinstance(value, bool):
        return step() if value else None
    if not isinstance(value, Mapping):
        return value
    known = {f.name for f in fields(step)} - _FIXED
    if unknown := value.keys() - known:
        raise ValueError(
            f"{name} has no {', '.join(sorted(map(str, unknown)))}; it has "
            f"{', '.join(sorted(known)) or 'no threshold'}"
        )
    return TypeAdapter(step).validate_python(dict(value))


def _needed(value: Any, rule: str, option: str) -> Any:
    if not value:
        raise InputError(f"The rule {rule} needs {option}.")
    return value
