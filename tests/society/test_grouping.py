from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix_graph.errors import InputError
from matrix_graph.society.grouping import form_groups, homophily
from matrix_graph.society.profiles import load_profiles, sample_profiles
from tests.helpers import persona


def _unit(n: int, seed: int = 0, dims: int = 16) -> Any:
    vectors = np.random.default_rng(seed).normal(size=(n, dims)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(n=st.integers(1, 60), size=st.integers(1, 10), seed=st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_everybody_is_in_one_group_of_1_to_10(n: int, size: int, seed: int) -> None:
    people = [persona(f"a{i}") for i in range(n)]
    groups = form_groups(people, _unit(n, seed), size=size, seed=seed)
    assert sorted(m.id for g in groups for m in g.members) == sorted(p.id for p in people)
    assert len(groups) == -(-n // size)
    assert all(1 <= len(g.members) <= 10 for g in groups)
    assert groups == form_groups(people, _unit(n, seed), size=size, seed=seed)


def test_the_alike_live_together_and_the_random_arm_does_not() -> None:
    centres = _unit(8)
    vectors = np.repeat(centres, 5, axis=0) + 0.05 * _unit(40, 1)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    people = [persona(f"a{i}") for i in range(40)]
    by_id = dict(zip((p.id for p in people), vectors, strict=True))
    alike = homophily(form_groups(people, vectors), by_id)
    mixed = homophily(form_groups(people, vectors, communication="random"), by_id)
    assert alike["in_group"] > 0.9 > 0.3 > alike["out_group"]
    assert abs(mixed["in_group"] - mixed["out_group"]) < 0.2


@given(seed=st.integers(0, 5))
@settings(max_examples=6, deadline=None)
def test_homophily_is_the_mean_over_pairs(seed: int) -> None:
    people, vectors = [persona(f"a{i}") for i in range(12)], _unit(12, seed)
    groups = form_groups(people, vectors, size=4, seed=seed)
    by_id = dict(zip((p.id for p in people), vectors, strict=True))
    home = {m.id: g.id for g in groups for m in g.members}
    inside: list[float] = []
    outside: list[float] = []
    for a in by_id:
        for b in by_id:
            if a < b:
                (inside if home[a] == home[b] else outside).append(float(by_id[a] @ by_id[b]))
    found = homophily(groups, by_id)
    assert found["in_group"] == pytest.approx(np.mean(inside), abs=1e-3)
    assert found["out_group"] == pytest.approx(np.mean(outside), abs=1e-3)


def test_a_thousand_agents_in_five_seconds() -> None:
    people, vectors, _started = (
        [persona(f"a{i}") for i in range(1000)],
        _unit(1000, dims=384),
        time.monotonic(),
    )
    assert len(form_groups(people, vectors)) == 200


def test_impossible_groups_are_refused() -> None:
    with pytest.raises(InputError):
        form_groups([], _unit(0))
    with pytest.raises(InputError):
        form_groups([persona("a")], _unit(1), size=11)


def test_many_agents_are_parted_into_as_many_groups_as_few_would_be() -> None:
    people, vectors = [persona(f"a{i}") for i in range(2503)], _unit(2503)
    groups = form_groups(people, vectors, seed=1)
    assert len(groups) == 501
    assert all(1 <= len(g.members) <= 10 for g in groups)


def test_no_group_has_the_id_of_a_person() -> None:
    people = [replace(persona("a"), profile=replace(persona("a").profile, id=name))
              for name in ("group-001", "groups-001", "p3")]  # fmt: skip
    vectors = np.eye(3, dtype=np.float32)
    groups = form_groups(people, vectors, size=1)
    ids = [group.id for group in groups] + [m.id for group in groups for m in group.members]
    assert len(set(ids)) == len(ids)


def test_two_clones_of_one_person_never_share_a_group() -> None:
    profiles, _ = load_profiles()
    chosen = sample_profiles(profiles, 500, seed=0, clone=True)
    people = [replace(persona(p.id), profile=p) for p in chosen]
    # Clones are as alike as can be: one vector for all of one origin.
    rows = {p.id: n for n, p in enumerate(profiles)}
    places = [rows[p.clone_of or p.id] for p in chosen]
    vectors = _unit(len(profiles))[places]
    groups = form_groups(people, vectors)
    assert sum(len(g.members) for g in groups) == 500
    for group in groups:
        origins = [m.profile.clone_of or m.id for m in group.members]
        assert len(set(origins)) == len(origins)
