"""From a profile to a persona: the model writes personality, life goal and plan from what the
person posted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import BaseModel, Field

from matrix_graph.boundary.quoting import listed, one_line
from matrix_graph.context import Context
from matrix_graph.errors import CallFailed
from matrix_graph.llm.slot import Slot
from matrix_graph.llm.tasks import gather_to_end, run_sync
from matrix_graph.resources import Resources, opened
from matrix_graph.schema import Failure, Persona, Profile
from matrix_graph.society.agent import PlanStep


class PersonaReply(BaseModel):
    """Who somebody is."""

    # The prompt states limits in words; these let through whoever keeps to them and somewhat more,
    # since a second call costs more than a long sentence.
    personality: str = Field(min_length=4, max_length=700)
    life_goal: str = Field(min_length=4, max_length=400)
    plan: list[PlanStep] = Field(min_length=3, max_length=8)


def write_personas(
    profiles: Sequence[Profile], context: Context
) -> tuple[list[Persona], list[Failure]]:
    """`awrite_personas` for code that is not asynchronous."""
    return run_sync(awrite_personas(profiles, context))


async def awrite_personas(
    profiles: Sequence[Profile],
    context: Context,
    on_done: Callable[[Profile], None] = lambda _: None,
) -> tuple[list[Persona], list[Failure]]:
    """One call per profile, concurrently; `on_done` hears of each profile that was dealt with.

    Returns:
        The personas in the order of the profiles, and the profiles that got none, with the reason.

    Raises:
        RunPaused: a cap was reached or the provider is down.
        InputError: the provider refuses us.
    """
    res = await opened(context)

    async def one(profile: Profile) -> Persona | Failure:
        result = await _write(profile, res)
        on_done(profile)
        return result

    results = await gather_to_end(map(one, profiles))
    personas = [r for r in results if isinstance(r, Persona)]
    return personas, [r for r in results if not isinstance(r, Persona)]


async def _write(profile: Profile, res: Resources) -> Persona | Failure:
    messages = res.prompts.render(
        "persona",
        name=one_line(profile.name),
        description=one_line(profile.description),
        posts=listed(profile.posts) or "- (nothing)",
    )
    try:
        slot = Slot(stage="persona", who=profile.id)
        answer = await res.model.parsed(slot, messages, PersonaReply, max_tokens=700)
    except CallFailed as error:
        return Failure(stage="persona", who=profile.id, reason=error.reason, call=error.slot)
    reply = answer.value
    return Persona(
        profile,
        reply.personality.strip(),
        reply.life_goal.strip(),
        tuple(s.strip() for s in reply.plan),
    )
