"""Every option of a filter run over a file, once: the YAML file and the flags are two ways to fill
`FilterConfig`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

from pydantic import Field

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
from matrix_graph.runs.accepted import (
    Benchmark,
    ChatModel,
    ChatModels,
    EmbeddingModel,
    Names,
    Prices,
    RulesFile,
    StrPath,
    lent,
    lent_embeddings,
)
from matrix_graph.runs.config import CONCURRENCY, JOURNAL, LOCAL_CONCURRENCY, RunConfig
from matrix_graph.runs.options import Options, checked_rewards, checked_url

REWARDS = (
    "'verifier', 'judge', 'pairwise', a URL that ends in /classify or /score, or 'local:FOLDER'"
)


class FilterConfig(Options):
    """What a filter run needs to know. Without judge, student and embeddings no model is needed."""

    out: StrPath = Path("runs/filtered")
    """Folder for what is kept, dropped and counted."""
    rules: RulesFile | None = None
    """YAML with rules and thresholds; see docs/filtering.md."""
    decontaminate: Benchmark | None = None
    """Benchmark prompts; rows that share an 8-gram with them go."""
    judge: ChatModels = ()
    """Models that judge, with commas or repeated: 'local' or 'openai:NAME'."""
    student: ChatModel | None = None
    """The model to be trained, whose answers show what it would learn."""
    reward: Names = ()
    """What scores its answers, with commas or repeated: 'verifier', 'judge', 'pairwise', a URL
    that ends in /classify or /score, or 'local:FOLDER'; verifier, judge by default.
    """
    rollouts: int | None = Field(default=None, ge=2, le=256)
    """Answers of the student per row; 8 by default."""
    embeddings: EmbeddingModel | None = None
    """'local' or 'openai:NAME', for semantic duplicates and selection."""
    select: int | None = Field(default=None, ge=1)
    """Keep so many: difficulty × quality, none too like another."""
    base_url: str | None = None
    """URL of the server behind openai: names, with its /v1."""
    language: str | None = None
    """Language of rows that do not say their own, such as English."""
    temperature: float = Field(default=0.8, ge=0, le=2)
    """Of the student; judges have 0."""
    seed: int = Field(default=0, ge=0)
    """Seeds the controls and the bootstrap."""
    concurrency: int | None = Field(default=None, ge=1)
    """Model calls in flight; 16 by default, 8 for local."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds per attempt of a model call."""
    max_calls: int | None = Field(default=None, ge=1)
    """Stop after so many requests, to all models together."""
    max_cost: float | None = Field(default=None, gt=0)
    """Stop after so many US dollars, for all models together."""
    price: Prices = Field(default_factory=dict)
    """US dollars per million tokens of a model, as NAME=IN,OUT, in place of its list price;
    repeatable.
    """
    prompts: StrPath | None = None
    """Folder with your own versions of prompts."""

    def _check(self) -> None:
        checked_url(self.base_url)
        checked_rewards(self.rewards)
        if (self.reward or self.rollouts) and not self.student:
            raise ValueError(
                "--reward and --rollouts are for a student's answers; name it with --student"
            )

    @property
    def rewards(self) -> tuple[str, ...]:
        """What scores the student's answers."""
        return cast("tuple[str, ...]", self.reward)

    @classmethod
    def of_run(cls, run: RunConfig) -> Self:
        """The filter of a run: its student is asked for rollouts only where they are wanted."""
        shared = run.model_fields_set & cls.model_fields.keys()
        options = {name: getattr(run, name) for name in shared if name != "temperature"}
        named = cls.model_validate({"rules": run.rules}).funnel()
        wants_rollouts = bool(run.rollouts or run.reward)
        wants_rollouts |= bool(named.rollouts) and "rollouts" in named.model_fields_set
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
        given = cast("Path | Rules | None", self.rules)
        rules = Rules.load(given) if isinstance(given, Path) else given or Rules()
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
        judges = tuple(self._context(spec, 0.0, offline) for spec in self.judges)
        student = self._context(self.student, self.temperature, offline) if self.student else None
        embeddings = None
        if self.embeddings:
            lent_here = lent_embeddings(self.embeddings)
            embeddings = replace(self._context(NONE, None, offline), embeddings=lent_here)
        return Models(
            judges=judges,
            student=student,
            scorers=tuple(self._scorer(spec, judges, offline) for spec in self.rewards),
            embeddings=embeddings,
            benchmark=self._benchmark(),
        )

    def _benchmark(self) -> tuple[str, ...]:
        given = cast("Path | tuple[str, ...] | None", self.decontaminate)
        return tuple(read_benchmark(given)) if isinstance(given, Path) else given or ()

    def _context(self, model: Any, temperature: float | None, offline: bool) -> Context:
        return Context(
            model=lent(model),
            embeddings=NONE,
            base_url=self.base_url,
            temperature=temperature,
            concurrency=self.concurrency or (LOCAL_CONCURRENCY if model == LOCAL else CONCURRENCY),
            timeout=self.timeout,
            max_calls=self.max_calls,
            max_cost=self.max_cost,
            prices=self.prices,
            journal=self.folder / JOURNAL,
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
