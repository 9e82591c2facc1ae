"""Every option of a filter run over a file, once: the YAML file and the flags are two ways to fill
`FilterConfig`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.filtering.rules import Models, Rules
from matrix_graph.filtering.steps.contamination import read_benchmark
from matrix_graph.filtering.steps.rewards import (
    HttpReward,
    JudgeReward,
    LocalReward,
    PairwiseReward,
    Scorer,
    Verifier,
)
from matrix_graph.filtering.steps.rollouts import Rollouts
from matrix_graph.filtering.steps.selection import Select
from matrix_graph.llm.models import LOCAL, NONE
from matrix_graph.runs.config import CONCURRENCY, JOURNAL, LOCAL_CONCURRENCY, RunConfig
from matrix_graph.runs.options import PRICE, Options, checked_url, read_prices, split

REWARDS = (
    "'verifier', 'judge', 'pairwise', a URL that ends in /classify or /score, or 'local:FOLDER'"
)


class FilterConfig(Options):
    """What a filter run needs to know. Without judge, student and embeddings no model is needed."""

    out: Path = Field(
        default=Path("runs/filtered"), description="folder for what is kept, dropped and counted"
    )
    rules: Path | None = Field(
        default=None, description="YAML with rules and thresholds; see README"
    )
    decontaminate: Path | None = Field(
        default=None, description="benchmark prompts; rows that share an 8-gram with them go"
    )
    judge: tuple[str, ...] = Field(
        default=(), description="models that judge, with commas: 'local' or 'openai:NAME'"
    )
    student: str | None = Field(
        default=None, description="the model to be trained, whose answers show what it would learn"
    )
    reward: tuple[str, ...] = Field(
        default=(), description=f"what scores its answers: {REWARDS}; verifier, judge by default"
    )
    rollouts: int | None = Field(
        default=None, ge=2, le=256, description="answers of the student per row (8)"
    )
    embeddings: str | None = Field(
        default=None, description="'local' or 'openai:NAME', for semantic duplicates and selection"
    )
    select: int | None = Field(
        default=None, ge=1, description="keep so many: difficulty × quality, none too like another"
    )
    base_url: str | None = Field(
        default=None, description="URL of the server behind openai: names, with its /v1"
    )
    language: str | None = Field(
        default=None, description="language of rows that do not say their own, such as English"
    )
    temperature: float = Field(default=0.8, ge=0, le=2, description="of the student; judges have 0")
    seed: int = Field(default=0, ge=0, description="seeds the controls and the bootstrap")
    concurrency: int | None = Field(default=None, ge=1, description="model calls in flight")
    timeout: float = Field(default=120.0, gt=0, description="seconds per attempt of a model call")
    max_calls: int | None = Field(
        default=None, ge=1, description="stop after so many requests, to all models together"
    )
    max_cost: float | None = Field(
        default=None, gt=0, description="stop after so many US dollars, for all models together"
    )
    price: dict[str, tuple[float, float]] = Field(default={}, description=PRICE)
    prompts: Path | None = Field(
        default=None, description="folder with your own versions of prompts"
    )

    @field_validator("judge", "reward", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return split(value)

    @field_validator("price", mode="before")
    @classmethod
    def _prices(cls, value: Any) -> Any:
        return read_prices(value)

    @model_validator(mode="after")
    def _consistent(self) -> FilterConfig:
        checked_url(self.base_url)
        if (self.reward or self.rollouts) and not self.student:
            raise ValueError(
                "--reward and --rollouts are for a student's answers; name it with --student"
            )
        return self

    @classmethod
    def of_run(cls, run: RunConfig) -> Self:
        """The filter of a run: its student is asked for rollouts only where they are wanted."""
        shared = run.model_fields_set & cls.model_fields.keys()
        options = {name: getattr(run, name) for name in shared if name != "temperature"}
        wants_rollouts = bool(run.rollouts or run.reward)
        options |= {
            "out": run.out,
            "student": (run.student or run.model) if wants_rollouts else None,
            "embeddings": run.embeddings if run.rules else None,
        }
        if run.temperature is not None:
            options["temperature"] = run.temperature
        return cls.model_validate(options)

    def funnel(self) -> Rules:
        """The rules of the file, with what flags say over it.

        Raises:
            InputError: the file is refused.
        """
        rules = Rules.load(self.rules) if self.rules else Rules()
        over: dict[str, Any] = {}
        if self.rollouts:
            over["rollouts"] = replace(rules.rollouts or Rollouts(), n=self.rollouts)
        if self.select:
            over["select"] = replace(rules.select or Select(), budget=self.select)
        if self.language and rules.language:
            over["language"] = replace(rules.language, expected=self.language)
        if self.language and rules.form:
            over["form"] = replace(rules.form, expected=self.language)
        return rules.model_copy(update=over)

    def models(self, *, offline: bool = False) -> Models:
        """What the measuring steps measure with: a context for each model, all on one journal, so
        that the caps hold over all of them.

        Args:
            offline: Ask no model; what is on record will do.

        Raises:
            InputError: a reward that is not understood, or a benchmark file that is refused.
        """
        judges = tuple(self._context(spec, 0.0, offline) for spec in self.judge)
        student = self._context(self.student, self.temperature, offline) if self.student else None
        embeddings = None
        if self.embeddings:
            embeddings = replace(self._context(NONE, None, offline), embeddings=self.embeddings)
        return Models(
            judges=judges,
            student=student,
            scorers=tuple(self._scorer(spec, judges, offline) for spec in self.reward),
            embeddings=embeddings,
            benchmark=tuple(read_benchmark(self.decontaminate)) if self.decontaminate else (),
        )

    def _context(self, model: str, temperature: float | None, offline: bool) -> Context:
        return Context(
            model=model,
            embeddings=NONE,
            base_url=self.base_url,
            temperature=temperature,
            concurrency=self.concurrency or (LOCAL_CONCURRENCY if model == LOCAL else CONCURRENCY),
            timeout=self.timeout,
            max_calls=self.max_calls,
            max_cost=self.max_cost,
            prices=self.price,
            journal=self.out / JOURNAL,
            prompts=self.prompts,
            offline=offline,
        )

    def _scorer(self, spec: str, judges: tuple[Context, ...], offline: bool) -> Scorer:
        if spec == "verifier":
            return Verifier()
        if spec in ("judge", "pairwise"):
            if not judges:
                raise InputError(f"--reward {spec} needs --judge.")
            return JudgeReward(judges[0]) if spec == "judge" else PairwiseReward(judges[0])
        if spec.startswith(("http://", "https://")):
            return HttpReward(spec, self._context(NONE, None, offline))
        if spec.startswith("local:"):
            folder = Path(spec.removeprefix("local:"))
            if not (folder / "config.json").is_file():
                raise InputError(
                    f"--reward {spec}: {folder} is no folder with a sequence-classification model."
                )
            return LocalReward(folder)
        raise InputError(f"--reward {spec!r} is not understood; there are {REWARDS}.")
