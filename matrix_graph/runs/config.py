"""Every option of a run, once: the YAML file and the flags are two ways to fill `RunConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, cast

from langgraph.types import Durability
from pydantic import Field

from matrix_graph.context import SETTING, START, Context
from matrix_graph.generation.requirements import (
    KindName,
    Requirement,
    load_requirements,
    read_requirements,
)
from matrix_graph.llm.models import LOCAL
from matrix_graph.memory.records import RUN
from matrix_graph.runs.accepted import (
    Benchmark,
    ChatModel,
    ChatModels,
    EmbeddingModel,
    Kinds,
    Names,
    Prices,
    Profiles,
    Requirements,
    RulesFile,
    StrPath,
    lent,
    lent_embeddings,
    served,
)
from matrix_graph.runs.options import Options, checked_url
from matrix_graph.schema import Communication, End, Routing

JOURNAL = "journal.sqlite"
"""Of a run, in its folder: all of its contexts write there."""
LOCAL_CONCURRENCY, CONCURRENCY = 8, 16
LOCAL_MAX_TOKENS, MAX_TOKENS = 256, 1024


class RunConfig(Options):
    """What a run needs to know. Paths are relative to the working directory; what is given as an
    object in place of a file (profiles, requirements, rules, benchmark prompts) goes into the
    folder, so that the run can be resumed without it.

    Raises:
        InputError: an option is refused.
    """

    profiles: Profiles | None = None
    """JSON Lines of profiles; the shipped synthetic ones by default."""
    agents: int = Field(default=20, ge=1, le=100_000)
    """How many agents live in the society."""
    clone: bool = False
    """Let people come round again where there are more agents than profiles; for load tests."""
    scenarios: int = Field(default=12, ge=1)
    """How many scenarios to simulate."""
    rows: int = Field(default=20, ge=1)
    """How many rows to keep per kind."""
    kind: Kinds = ("sft",)
    """Kinds of rows: sft, dpo, reason, code, safe, mt; with commas, or repeated."""
    requirements: Requirements | None = None
    """YAML list of requirements in place of --kind; see docs/rows.md."""
    domain: str | None = None
    """What the rows should be about, in your words; anything by default."""
    model: ChatModel = LOCAL
    """'local', or 'openai:NAME' for any server that speaks OpenAI's API."""
    student: ChatModel | None = None
    """The model to be tuned, which writes rejected answers; --model by default."""
    embeddings: EmbeddingModel = LOCAL
    """'local' or 'openai:NAME'."""
    base_url: str | None = None
    """URL of that server with its /v1, such as http://127.0.0.1:8000/v1."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Sampling temperature; the provider's own by default."""
    max_tokens: int | None = Field(default=None, ge=16)
    """Length limit of an answer in tokens; 1024 by default, 256 for local."""
    communication: Communication = "structured"
    """structured, or the control arms random and none."""
    modulator: Routing = "batched"
    """batched: a call routes all actions of a step; per_action: one each; human."""
    setting: str = Field(default=SETTING, min_length=1, max_length=2000)
    """How the people of a group know each other, in a few sentences."""
    start: date = START
    """The day of the first step, as 2025-01-06."""
    step_days: int = Field(default=1, ge=1, le=366)
    """Days that a step stands for; a scenario has three."""
    end: End = "scenarios"
    """scenarios: who has reached a goal takes the next one; goals: acts no more."""
    setbacks: float = Field(default=0.25, ge=0, le=1)
    """Share of the plan's steps at which something goes wrong."""
    outreach: float = Field(default=0.25, ge=0, le=1)
    """Share of the plan's steps at which an agent turns to people whom it knows."""
    plausible: bool = False
    """Check each action, and ask once again for one that could not have happened."""
    play: Names = ()
    """People whom you play, by id or name, with commas or repeated."""
    checkpoints: Literal["scenario", "step"] = "scenario"
    """What is checkpointed: whole scenarios, or each step at about twice the CPU."""
    durability: Durability = "async"
    """When checkpoints are written: async, exit (at the end) or sync (at once)."""
    group_size: int = Field(default=5, ge=1, le=10)
    """Agents per group on average."""
    seed: int = Field(default=0, ge=0)
    """Seeds sampling, grouping and the random arm; models sample on their own."""
    concurrency: int | None = Field(default=None, ge=1)
    """Model calls in flight; 16 by default, 8 for local."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds per attempt of a model call."""
    max_calls: int | None = Field(default=None, ge=1)
    """Pause after so many requests to the model."""
    max_cost: float | None = Field(default=None, gt=0)
    """Pause after so many US dollars."""
    price: Prices = Field(default_factory=dict)
    """US dollars per million tokens of a model, as NAME=IN,OUT, in place of its list price;
    repeatable.
    """
    decontaminate: Benchmark | None = None
    """Benchmark prompts; rows that share an 8-gram with them go."""
    rules: RulesFile | None = None
    """YAML with the filter's rules and thresholds; see docs/filtering.md."""
    judge: ChatModels = ()
    """Models that judge the rows, with commas or repeated."""
    reward: Names = ()
    """What scores the student's answers, with commas or repeated; see: matrix-graph filter --help.
    """
    rollouts: int | None = Field(default=None, ge=2, le=256)
    """Answers of the student per row, for rewards."""
    prompts: StrPath | None = None
    """Folder with your own versions of prompts."""
    offline: bool = False
    """Ask no model: go as far as what is on record in --out goes."""
    out: StrPath = Path("runs/run")
    """Folder for the run."""
    trust: bool = False
    """Go on with a run that somebody else began, at the addresses and with the models that its
    folder names."""
    strict: bool = False
    """Stop at the first bad profile row."""

    def _check(self) -> None:
        if len(set(self.kind)) < len(self.kind):
            raise ValueError("a kind is named twice")
        asked = (self.model, self.student or LOCAL, *self.judges)
        if self.base_url and not any(map(served, (*asked, self.embeddings))):
            raise ValueError("--base-url goes with an openai:NAME, such as --model openai:NAME")
        if self.requirements and self.model_fields_set & {"kind", "domain", "max_tokens"}:
            raise ValueError("--requirements states kinds, domains and limits itself")
        checked_url(self.base_url)
        if self.durability == "sync" and not self.step_checkpoints:
            # LangGraph 1.2 waits for a checkpoint that a subgraph without a checkpointer never
            # makes.
            raise ValueError("--durability sync needs --checkpoints step")
        if self.max_cost is not None and all(spec == LOCAL for spec in asked):
            raise ValueError("--max-cost has no meaning for the local model, which costs nothing")

    @property
    def profile_source(self) -> Path | tuple[dict[str, Any], ...] | None:
        """The file or the rows of the profiles; None for the shipped ones."""
        return cast("Path | tuple[dict[str, Any], ...] | None", self.profiles)

    @property
    def kinds(self) -> tuple[KindName, ...]:
        """The kinds of rows."""
        return cast("tuple[KindName, ...]", self.kind)

    @property
    def prompt_folder(self) -> Path | None:
        """The folder of the user's own versions of prompts."""
        return Path(self.prompts) if self.prompts else None

    @property
    def played(self) -> tuple[str, ...]:
        """Whom people play, by id or name."""
        return cast("tuple[str, ...]", self.play)

    @property
    def step_checkpoints(self) -> bool:
        """Whether groups checkpoint every step, as they must where a person may be asked inside
        them.
        """
        return self.checkpoints == "step" or self.modulator == "human" or bool(self.play)

    def preview(self) -> RunConfig:
        """The same in small, to look at before the whole: one group, one scenario, two rows of each
        requirement, in a folder beside `out`.
        """
        self.checked()
        small: dict[str, Any] = {
            "agents": min(self.agents, self.group_size),
            "scenarios": 1,
            "rows": min(self.rows, 2),
            "out": self.folder.resolve().with_name(f"{self.folder.resolve().name}-preview"),
        }
        if self.requirements:
            wanted = self.wanted()
            small["requirements"] = [w.model_dump(mode="json") | {"count": 2} for w in wanted]
        given = {name: getattr(self, name) for name in self.model_fields_set}
        return RunConfig.model_validate(given | small)

    def context(self) -> Context:
        """The context that this configuration stands for."""
        return Context(
            model=lent(self.model),
            student=lent(self.student),
            embeddings=lent_embeddings(self.embeddings),
            base_url=self.base_url,
            temperature=self.temperature,
            run=RUN,
            seed=self.seed,
            communication=self.communication,
            modulator=self.modulator,
            setting=self.setting,
            start=self.start,
            step_days=self.step_days,
            end=self.end,
            setbacks=self.setbacks,
            outreach=self.outreach,
            plausible=self.plausible,
            concurrency=self.concurrency
            or (LOCAL_CONCURRENCY if self.model == LOCAL else CONCURRENCY),
            timeout=self.timeout,
            max_calls=self.max_calls,
            max_cost=self.max_cost,
            prices=self.prices,
            journal=self.folder / JOURNAL,
            prompts=self.prompts,
            offline=self.offline,
        )

    def wanted(self) -> list[Requirement]:
        """The requirements given, or one per kind.

        Raises:
            InputError: they do not do.
        """
        if isinstance(self.requirements, Path):
            return load_requirements(self.requirements, self.rows)
        if self.requirements:
            given = cast("tuple[Mapping[str, Any], ...]", self.requirements)
            return read_requirements([{"count": self.rows} | dict(fields) for fields in given])
        limit = self.max_tokens or (LOCAL_MAX_TOKENS if self.model == LOCAL else MAX_TOKENS)
        return [
            Requirement(kind=kind, count=self.rows, domain=self.domain, max_tokens=limit)
            for kind in self.kinds
        ]
