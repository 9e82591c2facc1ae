"""From profiles to a society in one call: a persona for each, grouped with the alike."""

from __future__ import annotations

from collections.abc import Sequence

from matrix_graph.context import Context
from matrix_graph.errors import InputError
from matrix_graph.llm.tasks import run_sync
from matrix_graph.resources import opened
from matrix_graph.schema import Group, Profile
from matrix_graph.society.grouping import form_groups
from matrix_graph.society.personas import awrite_personas


def build_groups(
    profiles: Sequence[Profile], context: Context, *, size: int = 5, largest: int = 10
) -> tuple[Group, ...]:
    """`abuild_groups` for code that is not asynchronous."""
    return run_sync(abuild_groups(profiles, context, size=size, largest=largest))


async def abuild_groups(
    profiles: Sequence[Profile], context: Context, *, size: int = 5, largest: int = 10
) -> tuple[Group, ...]:
    """The groups of a society: personas by the context's model, homophily by its embeddings.

    A profile that gets no persona is left out (`awrite_personas` says which, and why).

    Args:
        size: Members of a group on average; K = ⌈N/size⌉ groups.
        largest: Members of a group at most.

    Raises:
        InputError: no profile got a persona, or groups that cannot hold them.
        RunPaused: a cap was reached or the provider is down.
    """
    if not all(isinstance(profile, Profile) for profile in profiles):
        raise InputError(
            "build_groups takes Profiles; load_profiles returns them beside the bad rows: "
            "profiles, bad_rows = load_profiles(...)."
        )
    personas, failures = await awrite_personas(profiles, context)
    if not personas:
        reason = failures[0]["reason"] if failures else "there are no profiles"
        raise InputError(f"No profile got a persona ({reason}).")
    vectors = await (await opened(context)).embedder.embed([p.profile.text for p in personas])
    return form_groups(
        personas,
        vectors,
        size=size,
        largest=largest,
        seed=context.seed,
        communication=context.communication,
    )
