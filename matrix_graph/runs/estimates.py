"""What a run will take, before it begins: its calls and tokens, from its configuration, prompts and
profiles.

Prompts are rendered as in the run, with texts of typical length in place of what is not there yet.
How long answers are depends on the model; the figures below are those of a large one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matrix_graph.filtering.steps.rollouts import Guesses
from matrix_graph.generation.requirements import Requirement
from matrix_graph.llm.budget import FREE, Price, list_price
from matrix_graph.llm.local import CHAT_MODEL
from matrix_graph.llm.models import LOCAL, ModelObject, recorded
from matrix_graph.llm.prompts import Prompts
from matrix_graph.llm.usage import Usage
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.schema import Profile
from matrix_graph.society.modulator import SHORTLIST
from matrix_graph.society.profiles import check_enough, load_profiles
from matrix_graph.society.state import STEPS
from matrix_graph.society.turn import LATEST, RECALLED

CHARACTERS = 4
"""Characters to a token, in English."""

ANSWERS = {
    "persona": 230,
    "act": 60,
    "life": 150,
    "reason": 30,
    "summary": 100,
    "instruction": 90,
    "response": 350,
}
"""Tokens of an answer; `reason` is one routing decision."""

SPARE = 1.1
"""Rows generated to one kept."""

REACTIONS_SHARE = 0.4
"""Share of turns that are reactions."""

PLAN_STEPS = 6
"""Steps of a plan."""

NEWS = 0.8
"""Share of scenarios after a group's first that begin with news from others."""


@dataclass(frozen=True)
class Part:
    """Calls of one sort, with the tokens that each sends and receives on average."""

    name: str
    calls: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Estimate:
    """The calls of a run by sort; `cost` is in US dollars, 0 where no price is known."""

    parts: tuple[Part, ...]
    cost: float

    @property
    def calls(self) -> int:
        return sum(part.calls for part in self.parts)

    @property
    def input_tokens(self) -> int:
        return sum(part.calls * part.input_tokens for part in self.parts)

    @property
    def output_tokens(self) -> int:
        return sum(part.calls * part.output_tokens for part in self.parts)

    def totals(self) -> dict[str, Any]:
        """The sums, as in run.json."""
        tokens = {"input": self.input_tokens, "output": self.output_tokens}
        return {"calls": self.calls, "tokens": tokens, "cost_usd": round(self.cost, 6)}


def estimate(config: RunConfig, profiles: Sequence[Profile] | None = None) -> Estimate:
    """What a run would take.

    Args:
        profiles: Those of the configuration if None.

    Raises:
        InputError: options or a prompt of the user's own that do not do.
    """
    config.checked()
    if profiles is None:
        profiles, _ = load_profiles(config.profile_source, strict=config.strict)
    if not config.clone:
        check_enough(profiles, config.agents)
    prompts = Prompts(config.prompts, small=config.model == LOCAL)
    made = (
        *_society(config, profiles, prompts),
        *_rows(config, profiles, prompts),
        *_filter(config, prompts),
    )
    parts = [part for part in made if part.calls]
    return Estimate(tuple(parts), sum(_cost(config, part) for part in parts))


def _society(config: RunConfig, profiles: Sequence[Profile], prompts: Prompts) -> list[Part]:
    about, posts = (
        _mean([p.description for p in profiles]),
        _mean(["\n".join(p.posts) for p in profiles]),
    )
    rounds, rest = divmod(config.agents, len(profiles))
    sizes = [*[len(profiles)] * rounds, rest]
    groups = sum(-(-size // config.group_size) for size in sizes)
    size = config.agents / groups
    whole = round(size)
    turns = STEPS * size
    routed = config.communication != "none"
    later = max(0, config.scenarios - groups)
    action, reason = _text(ANSWERS["act"]), ANSWERS["reason"]
    member = f"{about} {_text(40)}\n"
    group = {"members": member * whole, "names": "", "setting": config.setting}
    person = {
        "name": "Name",
        "description": about,
        "personality": _text(50),
        "goal": _text(25),
        "plan": _text(90),
        "setting": config.setting,
        "acquaintances": _text(30 * (whole - 1)),
        "date": _text(5),
        "memories": action * (RECALLED + LATEST),
        "observations": "",
    }
    act = prompts.render("agent", "act_goal", plan_step=_text(15), chance="", **person)
    life = prompts.render("next_life", **person)
    check = prompts.render("plausible", action=action, **person)
    lives = turns * config.scenarios * (1 - REACTIONS_SHARE) / PLAN_STEPS - config.agents
    deliver = prompts.render(
        "modulator", "deliver", actions=action * whole, scene=_text(ANSWERS["summary"]), **group
    )
    exchange = prompts.render(
        "modulator",
        "exchange",
        scenario=action * round(turns),
        candidates=about * whole * min(SHORTLIST, groups - 1),
        candidate_names=_text(5 * whole * min(SHORTLIST, groups - 1)),
        **group,
    )
    summary = prompts.render("modulator", "summarise", scenario=action * round(turns), **group)
    news = prompts.render(
        "modulator", "receive", news=action * 3, scene=_text(ANSWERS["summary"]), **group
    )
    each, n = config.modulator == "per_action", config.scenarios
    exchanges = routed and groups > 1
    per_step = round(n * turns) if each else n * STEPS
    persona = prompts.render("persona", name="Name", description=about, posts=posts)
    return [
        Part("persona", config.agents, _tokens(persona), ANSWERS["persona"]),
        Part("act", round(n * turns), _tokens(act), ANSWERS["act"]),
        Part("check", round(n * turns) * config.plausible, _tokens(check), ANSWERS["reason"]),
        Part(
            "life",
            max(0, round(lives)) * (config.end == "scenarios"),
            _tokens(life),
            ANSWERS["life"],
        ),
        Part(
            "deliver",
            routed * (whole > 1) * per_step,
            _tokens(deliver),
            reason if each else round(reason * size),
        ),
        Part(
            "receive",
            exchanges * round(later * NEWS * (3 if each else 1)),
            _tokens(news),
            reason * 2,
        ),
        Part(
            "exchange",
            exchanges * round(later * (turns if each else 1)),
            _tokens(exchange),
            reason * 2,
        ),
        Part("summary", n, _tokens(summary), ANSWERS["summary"]),
    ]


def _rows(config: RunConfig, profiles: Sequence[Profile], prompts: Prompts) -> list[Part]:
    return [
        part for requirement in config.wanted() for part in _row(requirement, profiles, prompts)
    ]


def _row(requirement: Requirement, profiles: Sequence[Profile], prompts: Prompts) -> list[Part]:
    person = {"name": "Name", "description": _mean([p.description for p in profiles])}
    person |= {
        "personality": _text(50),
        "goal": _text(25),
        "actions": _text(ANSWERS["act"]) * (STEPS + 2),
    }
    asked = {
        "style": _text(10),
        "category": _text(5),
        "complexity": _text(15),
        "domain": _text(10),
        "language": "",
    }
    request, name, n = ANSWERS["instruction"], requirement.id, round(requirement.count * SPARE)
    response = min(ANSWERS["response"], requirement.max_tokens)
    if requirement.single_call:
        return [
            Part(
                f"{name} row",
                n,
                _tokens(prompts.render("instruct", "single", **person, **asked)),
                request + response,
            )
        ]
    instruct = _tokens(
        prompts.render("instruct", f"instruct_{requirement.kind}", **person, **asked)
    )
    special = (
        f"respond_{requirement.kind}"
        if requirement.kind in ("reason", "code", "safe")
        else "respond"
    )
    answer = _tokens(prompts.render(special, language=""))
    parts = [Part(f"{name} instruction", n, instruct, request)]
    if requirement.kind == "mt":
        talk = round(requirement.turns / 2 * (request + response))
        parts.append(Part(f"{name} response", n * requirement.turns, answer + talk, response))
        parts.append(
            Part(f"{name} follow-up", n * (requirement.turns - 1), instruct + talk, request)
        )
    elif requirement.best_of:
        parts.append(Part(f"{name} response", n * requirement.best_of, answer + request, response))
        parts.append(
            Part(
                f"{name} rating",
                n * requirement.best_of,
                request + response + 80,
                ANSWERS["reason"],
            )
        )
    else:
        parts.append(Part(f"{name} response", n, answer + request, response))
        if requirement.kind == "dpo":
            parts.append(Part(f"{name} rejected", n, request, response))
    return parts


def _filter(config: RunConfig, prompts: Prompts) -> list[Part]:
    """Judges, rollouts, rewards and comparisons of all rows: how many the steps before let through
    is not known, so none are spared.
    """
    setting = FilterConfig.of_run(config)
    rules = setting.funnel()
    wanted = [r for r in config.wanted() if r.kind != "safe"]
    n = sum(round(r.count * SPARE) for r in wanted)
    response = max((min(ANSWERS["response"], r.max_tokens) for r in wanted), default=0)
    request = ANSWERS["instruction"]
    judged = _tokens(prompts.render("judge", request="", answer="")) + request + response
    tries = rules.rollouts.n if setting.student and rules.rollouts else 0
    by_judge = "judge" in config.reward or bool(config.judges and not config.reward)
    scored = tries * by_judge
    if "pairwise" in config.reward:
        scored = tries * (tries - 1)
    pairs = sum(round(r.count * SPARE) for r in wanted if r.kind == "dpo" or rules.pairs)
    guesses = n * Guesses.n if rules.not_guessable and setting.student else 0
    reason = ANSWERS["reason"]
    return [
        Part("filter judge", n * len(config.judges), judged, reason * 2),
        Part("filter rollouts", n * tries, request, response),
        Part("filter guesses", guesses, request, reason),
        Part("filter rewards", n * scored, judged, reason),
        Part("filter preferences", 2 * pairs * bool(rules.preferred), judged + response, reason),
    ]


def _cost(config: RunConfig, part: Part) -> float:
    spec: Any = config.model
    if config.student and part.name.endswith((" rejected", " rollouts", " guesses")):
        spec = config.student
    if config.judges and part.name in ("filter judge", "filter rewards", "filter preferences"):
        spec = config.judges[0]
    name = _name(spec)
    priced = config.prices.get(name)
    price = (Price(*priced) if priced else list_price(name)) or FREE
    return price.cost(
        Usage(part.calls, part.calls * part.input_tokens, part.calls * part.output_tokens)
    )


def _name(spec: Any) -> str:
    kept = recorded(spec)
    if isinstance(kept, ModelObject):
        return kept.name
    return CHAT_MODEL if kept == LOCAL else kept.removeprefix("openai:")


def _text(tokens: int) -> str:
    return "x" * (tokens * CHARACTERS)


def _mean(texts: Sequence[str]) -> str:
    return "x" * (sum(map(len, texts)) // len(texts))


def _tokens(messages: Sequence[dict[str, str]]) -> int:
    return sum(len(message["content"]) for message in messages) // CHARACTERS
