"""Every option of a run, once: the YAML file and the flags are two ways to fill `RunConfig`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from langgraph.types import Durability
from pydantic import Field, field_validator, model_validator

from matrix_graph.context import RUN, Context
from matrix_graph.generation.requirements import KINDS, KindName, Requirement, load_requirements
from matrix_graph.llm.models import LOCAL
from matrix_graph.runs.options import PRICE, Options, checked_url, read_prices, split
from matrix_graph.schema import Communication, Routing

JOURNAL = "journal.sqlite"
"""Of a run, in its folder: all of its contexts write there."""
LOCAL_CONCURRENCY, CONCURRENCY = 8, 16
LOCAL_MAX_TOKENS, MAX_TOKENS = 256, 1024


class RunConfig(Options):
    """What a run needs to know. Paths are relative to the working directory."""

    profiles: Path | None = Field(
        default=None, description="JSON Lines of profiles; the shipped synthetic ones by default"
    )
    agents: int = Field(
        default=20, ge=1, le=100_000, description="how many agents live in the society"
    )
    scenarios: int = Field(default=12, ge=1, description="how many scenarios to simulate")
    rows: int = Field(default=20, ge=1, description="how many rows to keep per kind")
    kind: tuple[KindName, ...] = Field(
        default=("sft",), description=f"kinds of rows: {', '.join(KINDS)}"
    )
    requirements: Path | None = Field(
        default=None, description="YAML list of requirements in place of --kind; see README"
    )
    domain: str | None = Field(
        default=None,
        description="what the rows should be about, in your words; anything by default",
    )
    model: str = Field(
        default=LOCAL,
        description="'local', or 'openai:NAME' for any server that speaks OpenAI's API",
    )
    student: str | None = Field(
        default=None,
        description="the model to be tuned, which writes rejected answers; --model by default",
    )
    embeddings: str = Field(default=LOCAL, description="'local' or 'openai:NAME'")
    base_url: str | None = Field(
        default=None,
        description="URL of that server with its /v1, such as http://127.0.0.1:8000/v1",
    )
    temperature: float | None = Field(
        default=None, ge=0, le=2, description="sampling temperature; the provider's own by default"
    )
    max_tokens: int | None = Field(
        default=None,
        ge=16,
        description=f"length limit of an answer ({MAX_TOKENS}; {LOCAL_MAX_TOKENS} for local)",
    )
    communication: Communication = Field(
        default="structured", description="structured, or the control arms random and none"
    )
    modulator: Routing = Field(
        default="batched",
        description="batched: a call routes all actions of a step; per_action: one each; human",
    )
    play: tuple[str, ...] = Field(
        default=(), description="people whom you play, by id or name, with commas"
    )
    checkpoints: Literal["scenario", "step"] = Field(
        default="scenario",
        description="what is checkpointed: whole scenarios, or each step at about twice the CPU",
    )
    durability: Durability = Field(
        default="async",
        description="when checkpoints are written: async, exit (at the end) or sync (at once)",
    )
    group_size: int = Field(default=5, ge=1, le=10, description="agents per group on average")
    seed: int = Field(
        default=0,
        ge=0,
        description="seeds sampling, grouping and the random arm; models sample on their own",
    )
    concurrency: int | None = Field(
        default=None,
        ge=1,
        description=f"model calls in flight ({CONCURRENCY}; {LOCAL_CONCURRENCY} for local)",
    )
    timeout: float = Field(default=120.0, gt=0, description="seconds per attempt of a model call")
    max_calls: int | None = Field(
        default=None, ge=1, description="pause after so many requests to the model"
    )
    max_cost: float | None = Field(default=None, gt=0, description="pause after so many US dollars")
    price: dict[str, tuple[float, float]] = Field(default={}, description=PRICE)
    decontaminate: Path | None = Field(
        default=None, description="benchmark prompts; rows that share an 8-gram with them go"
    )
    rules: Path | None = Field(
        default=None, description="YAML with the filter's rules and thresholds; see README"
    )
    judge: tuple[str, ...] = Field(
        default=(), description="models that judge the rows, with commas"
    )
    reward: tuple[str, ...] = Field(
        default=(), description="what scores the student's answers; see: matrix-graph filter --help"
    )
    rollouts: int | None = Field(
        default=None, ge=2, le=256, description="answers of the student per row, for rewards"
    )
    prompts: Path | None = Field(
        default=None, description="folder with your own versions of prompts"
    )
    offline: bool = Field(
        default=False, description="ask no model: go as far as what is on record in --out goes"
    )
    out: Path = Field(default=Path("runs/run"), description="folder for the run")
    strict: bool = Field(default=False, description="stop at the first bad profile row")

    @field_validator("kind", "judge", "reward", "play", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return split(value)

    @field_validator("price", mode="before")
    @classmethod
    def _prices(cls, value: Any) -> Any:
        return read_prices(value)

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        if len(set(self.kind)) < len(self.kind):
            raise ValueError("a kind is named twice")
        specs = (self.model, self.embeddings, self.student or "", *self.judge)
        if self.base_url and not any(spec.startswith("openai:") for spec in specs):
            raise ValueError("--base-url goes with an openai:NAME, such as --model openai:NAME")
        if self.requirements and self.model_fields_set & {"kind", "domain", "max_tokens"}:
            raise ValueError("--requirements states kinds, domains and limits itself")
        checked_url(self.base_url)
        if self.durability == "sync" and not self.step_checkpoints:
            # LangGraph 1.2 waits for a checkpoint that a subgraph without a checkpointer never
            # makes.
            raise ValueError("--durability sync needs --checkpoints step")
        if self.max_cost is not None and {*specs[:1], *specs[2:]} <= {LOCAL, ""}:
            raise ValueError("--max-cost has no meaning for the local model, which costs nothing")
        return self

    @property
    def step_checkpoints(self) -> bool:
        """Whether groups checkpoint every step, as they must where a person may be asked inside
        them.
        """
        return self.checkpoints == "step" or self.modulator == "human" or bool(self.play)

    def context(self) -> Context:
        """The context that this configuration stands for."""
        return Context(
            model=self.model,
            student=self.student,
            embeddings=self.embeddings,
            base_url=self.base_url,
            temperature=self.temperature,
            run=RUN,
            seed=self.seed,
            communication=self.communication,
            modulator=self.modulator,
            concurrency=self.concurrency
            or (LOCAL_CONCURRENCY if self.model == LOCAL else CONCURRENCY),
            timeout=self.timeout,
            max_calls=self.max_calls,
            max_cost=self.max_cost,
            prices=self.price,
            journal=self.out / JOURNAL,
            prompts=self.prompts,
            offline=self.offline,
        )

    def wanted(self) -> list[Requirement]:
        """The requirements of the file, or one per kind.

        Raises:
            InputError: the file does not do.
        """
        if self.requirements:
            return load_requirements(self.requirements, self.rows)
        limit = self.max_tokens or (LOCAL_MAX_TOKENS if self.model == LOCAL else MAX_TOKENS)
        return [
            Requirement(kind=kind, count=self.rows, domain=self.domain, max_tokens=limit)
            for kind in self.kind
        ]
