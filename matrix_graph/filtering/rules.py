"""The funnel as data: which rules hold, with which thresholds, in which order.

A rule is switched on with its defaults by `true`, off by `false`, and given its thresholds by a
mapping: `pass_rate: {low: 0.1, high: 0.9}`. Its thresholds are the fields of its step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from matrix_graph.boundary.files import read_yaml_file
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

_MEASURED_BY = {
    "semantic_duplicates": "--embeddings",
    "contamination": "--decontaminate",
    "judged": "--judge",
    "rollouts": "--student",
}
"""What a run must be given for rules that are on by default where it is."""

_GIVEN = {"benchmark", "context"}
"""Fields of steps that are no thresholds: a run brings them."""

S = TypeVar("S", bound=Step)
T = TypeVar("T")


@dataclass(frozen=True)
class Models:
    """What the measuring steps measure with; each may be missing.

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
        everybody = [*self.judges, self.student, self.embeddings, *scorers]
        return tuple(context for context in dict.fromkeys(everybody) if context)


def _rule(step: type[S]) -> BeforeValidator:
    """Read `true`, `false` or thresholds as a step of this kind, or as none."""

    def read(value: Any) -> S | None:
        if value is None or value is False:
            return None
        if value is True:
            return step()
        if isinstance(value, step):
            return value
        known = {f.name for f in fields(step)} - _GIVEN  # type: ignore[arg-type]
        if not isinstance(value, Mapping):
            raise ValueError(f"it takes true, false or {_thresholds(known)}, not {value!r}")
        if unknown := [str(name) for name in value if name not in known]:
            raise ValueError(f"it has no {', '.join(sorted(unknown))}, but {_thresholds(known)}")
        kinds = get_type_hints(step, include_extras=True)
        given = {name: _threshold(name, kinds[name], item) for name, item in value.items()}
        try:
            return step(**given)
        except InputError as error:
            raise ValueError(str(error)) from error

    return BeforeValidator(read)


class Rules(BaseModel):
    """The rules of a funnel, in its order; what is None is left out. Those that need a measurement
    go with what measures it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    form: Annotated[Form | None, _rule(Form)] = Form()
    language: Annotated[Language | None, _rule(Language)] = Language()
    code: Annotated[TestsPass | None, _rule(TestsPass)] = TestsPass()
    exact_duplicates: Annotated[ExactDuplicates | None, _rule(ExactDuplicates)] = ExactDuplicates()
    near_duplicates: Annotated[NearDuplicates | None, _rule(NearDuplicates)] = NearDuplicates()
    semantic_duplicates: Annotated[SemanticDuplicates | None, _rule(SemanticDuplicates)] = (
        SemanticDuplicates()
    )
    contamination: Annotated[Contamination | None, _rule(Contamination)] = Contamination()
    judged: Annotated[Judged | None, _rule(Judged)] = Judged()
    rollouts: Annotated[Rollouts | None, _rule(Rollouts)] = Rollouts()
    zero_advantage: Annotated[ZeroAdvantage | None, _rule(ZeroAdvantage)] = ZeroAdvantage()
    pass_rate: Annotated[PassRate | None, _rule(PassRate)] = None
    learnability: Annotated[Learnability | None, _rule(Learnability)] = None
    min_reward: Annotated[MinReward | None, _rule(MinReward)] = None
    rip: Annotated[Rip | None, _rule(Rip)] = None
    consistent: Annotated[Consistent | None, _rule(Consistent)] = None
    not_guessable: Annotated[NotGuessable | None, _rule(NotGuessable)] = None
    pairs: Annotated[Pairs | None, _rule(Pairs)] = None
    pair_shape: Annotated[PairShape | None, _rule(PairShape)] = PairShape()
    preferred: Annotated[Preferred | None, _rule(Preferred)] = None
    select: Annotated[Select | None, _rule(Select)] = None
    order: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("rules are a mapping, such as: pass_rate: {low: 0.2, high: 0.8}")
        return value

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.rollouts and self.rollouts.n < 2 and (self.zero_advantage or self.pass_rate):
            raise ValueError(
                "rollouts: one answer has no spread; take at least 2, or switch zero_advantage off"
            )
        return self

    @model_serializer
    def _written(self) -> dict[str, Any]:
        """As a file would have it: what was named."""
        named = self.model_fields_set - {"order"}
        rules = {name: getattr(self, name) for name in type(self).model_fields if name in named}
        written: dict[str, Any] = {"order": list(self.order)} if self.order else {}
        for name, rule in rules.items():
            thresholds = {f.name for f in fields(rule)} - _GIVEN if rule else set()
            values = {threshold: getattr(rule, threshold) for threshold in sorted(thresholds)}
            written[name] = values or bool(rule)
        return written

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """From a YAML file.

        Raises:
            InputError: it cannot be read, or a rule or threshold in it is refused.
        """
        try:
            return cls.model_validate(read_yaml_file(Path(path)) or {})
        except ValidationError as error:
            problems = []
            for problem in error.errors(include_url=False):
                place = ".".join(map(str, problem["loc"])) or "rules"
                problems.append(f"{place}: {problem['msg'].removeprefix('Value error, ')}")
            raise InputError(f"{path}: {'; '.join(problems)}") from error

    def over(self, others: Rules) -> Rules:
        """These rules, with those that `others` names in place of their own."""
        named = {name: getattr(others, name) for name in others.model_fields_set}
        return self.model_copy(update=named)

    def steps(self, models: Models | None = None) -> tuple[Step, ...]:
        """The steps of the funnel, in its order or in `order` (steps not named there follow in the
        funnel's).

        Raises:
            InputError: `order` names no step, or a rule is on whose measurement nothing can make.
        """
        steps = {step.name: step for step in self._funnel(models or Models())}
        if strangers := [name for name in self.order if name not in steps]:
            known = ", ".join(steps)
            raise InputError(f"order: no step is called {', '.join(strangers)}; there are {known}.")
        return tuple(steps[name] for name in dict.fromkeys([*self.order, *steps]))

    def _funnel(self, models: Models) -> list[Step]:
        """The steps in the order of the fields, with what they need of a run."""
        steps: list[Step] = []
        for name in type(self).model_fields:
            rule = getattr(self, name)
            if isinstance(rule, Step):
                supplied = self._supplied(rule, models)
                if not supplied and name in self.model_fields_set:
                    raise InputError(f"The rule {name} needs {_MEASURED_BY[name]}.")
                steps += supplied
        return steps

    def _supplied(self, rule: Step, models: Models) -> Sequence[Step]:
        """A rule with what measures for it; nothing where a run does not measure that."""
        match rule:
            case SemanticDuplicates():
                return [replace(rule, context=models.embeddings)] if models.embeddings else []
            case Contamination():
                benchmark = models.benchmark
                return [Contamination.of(benchmark, rule.share)] if benchmark else []
            case Judged():
                return [Judge(models.judges), rule] if models.judges else []
            case Rollouts():
                return self._rolled(rule, models) if models.student else []
            case Preferred():
                return [Compare(_needed(models.judges, "preferred", "--judge")[0]), rule]
            case Select():
                _needed(models.judges, "select", "--judge")
                context = _needed(models.embeddings, "select", "--embeddings")
                return [replace(rule, context=context)]
        return [rule]

    def _rolled(self, rollouts: Rollouts, models: Models) -> Sequence[Step]:
        scorers = models.scorers or (Verifier(), *map(JudgeReward, models.judges[:1]))
        steps: list[Step] = [replace(rollouts, context=models.student), Rewards(scorers)]
        if self.not_guessable:
            steps.append(Guesses(context=models.student))
        return steps


_FINITE = ConfigDict(allow_inf_nan=False)


def _thresholds(names: set[str]) -> str:
    return f"thresholds ({', '.join(sorted(names))})" if names else "nothing else"


def _threshold(name: str, kind: Any, value: Any) -> Any:
    # `true` is no number: it would be read as 1.
    if isinstance(value, bool) and kind is not bool:
        raise ValueError(f"{name} takes a value, not {str(value).lower()}")
    try:
        return TypeAdapter(kind, config=_FINITE).validate_python(value)
    except ValidationError as error:
        raise ValueError(f"{name}: {error.errors(include_url=False)[0]['msg']}") from error


def _needed(value: T | None, rule: str, option: str) -> T:
    if not value:
        raise InputError(f"The rule {rule} needs {option}.")
    return value
