from __future__ import annotations

import pytest

from matrix_graph.schema import Profile
from matrix_graph.society.personas import awrite_personas
from matrix_graph.testing import FakeChat
from tests.helpers import context


async def test_a_profile_without_a_persona_is_a_failure_and_the_others_go_on() -> None:
    profiles = [Profile(f"p{n}", f"Name{n}", "mends nets") for n in range(4)]
    heard: list[str] = []
    model = FakeChat(replies={"Name: Name2": "no JSON"})
    personas, failures = await awrite_personas(
        profiles, context(model=model), lambda p: heard.append(p.id)
    )
    assert [p.id for p in personas] == ["p0", "p1", "p3"]
    assert [(f["stage"], f["who"]) for f in failures] == [("persona", "p2")]
    assert sorted(heard) == ["p0", "p1", "p2", "p3"]


@pytest.mark.slow
async def test_a_call_that_cannot_work_is_told() -> None:
    model = FakeChat(replies={"Name: ": ValueError("context too long")})
    personas, failures = await awrite_personas(
        [Profile("p", "Ana", "mends nets")], context(model=model)
    )
    assert personas == []
    assert "context too long" in failures[0]["reason"]
