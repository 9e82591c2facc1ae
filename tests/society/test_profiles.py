from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix_graph.errors import InputError
from matrix_graph.schema import Profile
from matrix_graph.society.profiles import SHIPPED, load_profiles, sample_profiles
from matrix_graph.society.scrub import scrub

GOOD = {
    "id": "p1",
    "name": "Ana",
    "description": "A baker.",
    "posts": ["Bread is up again."],
    "town": "Porto",
}


def _file(tmp_path: Path, *lines: Any) -> Path:
    path = tmp_path / "profiles.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path


def test_the_shipped_profiles_are_many_whole_and_marked_synthetic() -> None:
    profiles, bad = load_profiles()
    assert len(profiles) >= 100
    assert not bad
    assert len({p.name for p in profiles}) == len(profiles)
    for p in profiles:
        assert 3 <= len(p.posts) <= 5
        assert p.extra["synthetic"] is True
    raw = SHIPPED.read_text("utf-8")
    assert "@" not in raw
    assert "http" not in raw


def test_good_rows_go_on_and_bad_ones_are_told(tmp_path: Path) -> None:
    rows = (
        GOOD,
        "{broken",
        {"name": "No text"},
        [1],
        {**GOOD, "name": "Twice"},
        {"name": "Bo", "description": "x"},
    )
    profiles, bad = load_profiles(_file(tmp_path, *rows))
    assert [p.name for p in profiles] == ["Ana", "Bo"]
    assert profiles[0].extra == {"town": "Porto"}
    assert profiles[1].id == "row6"
    assert [b.row for b in bad] == [2, 3, 4, 5]
    reasons = " | ".join(b.reason for b in bad)
    for told in (
        "not JSON",
        "description: Field required",
        "not a JSON object",
        "stands in an earlier row",
    ):
        assert told in reasons


def test_strict_stops_at_bad_rows(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2: not JSON"):
        load_profiles(_file(tmp_path, GOOD, "{broken"), strict=True)


@pytest.mark.parametrize("lines", [(), ("",), ("{broken",)])
def test_a_file_without_profiles_is_bad_input(tmp_path: Path, lines: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="holds no profile"):
        load_profiles(_file(tmp_path, *lines))


def test_an_id_becomes_safe_for_names_and_holds_no_contact(tmp_path: Path) -> None:
    profiles, _ = load_profiles(
        _file(tmp_path, {**GOOD, "id": "a/b.c|d:e"}, {**GOOD, "id": "ana@mail.example"})
    )
    assert [p.id for p in profiles] == ["a-b-c-d-e", "-e-mail-"]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mail ana.b+x@post.example.org now", "mail [e-mail] now"),
        ("ana [at] post [dot] org", "[e-mail]"),
        ("see https://a.b/c?d=e, or www.x.org/y", "see [link] or [link]"),
        ("shop at netmenders.com today", "shop at [link] today"),
        ("ask @ana_b or @bo", "ask [handle] or [handle]"),
        ("call +351 912 345 678 or (020) 7946 0958", "call [phone] or [phone]"),
        ("555-123-4567", "[phone]"),
    ],
)
def test_contacts_go(text: str, clean: str) -> None:
    assert scrub(text) == clean


@pytest.mark.parametrize(
    "text",
    [
        "42 kg for 1,250.50 EUR in 2024",
        "R84,000 on a bakkie",
        "9,200 objects, 3.5 km, 16mm",
        "at 10:30 on 2024-05-12",
        "a e.g. b",
    ],
)
def test_innocent_numbers_stay(text: str) -> None:
    assert scrub(text) == text


@given(st.text())
def test_scrubbing_twice_changes_nothing(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)


@given(count=st.integers(1, 400), seed=st.integers(0, 5))
@pytest.mark.slow
def test_a_sample_has_the_size_asked_and_says_who_is_a_clone(count: int, seed: int) -> None:
    profiles, _ = load_profiles()
    if count > len(profiles):
        with pytest.raises(InputError, match="--clone"):
            sample_profiles(profiles, count, seed)
    chosen = sample_profiles(profiles, count, seed, clone=True)
    assert len(chosen) == count
    assert len({p.id for p in chosen}) == count
    assert {p.name for p in chosen} <= {p.name for p in profiles}
    assert len([p for p in chosen if not p.clone_of]) == min(count, len(profiles))
    assert {p.clone_of for p in chosen} <= {"", *(p.id for p in profiles)}
    assert chosen == sample_profiles(profiles, count, seed, clone=True)
    assert chosen[:120] == sample_profiles(profiles, min(count, 120), seed)


def test_variations_take_no_id_that_is_there() -> None:
    profiles = [Profile(name, name, "mends nets") for name in ("a", "a-2", "a-3", "a-2x")]
    chosen = sample_profiles(profiles, 40, seed=1, clone=True)
    assert len({profile.id for profile in chosen}) == 40


def test_clones_stay_clones_in_a_table() -> None:
    clones = sample_profiles(load_profiles()[0], 240, 0, clone=True)[120:]
    again, _ = load_profiles(clones)
    assert [p.clone_of for p in again] == [p.clone_of for p in clones]
    twice = sample_profiles(again, 240, 0, clone=True)
    assert {p.clone_of for p in twice} == {p.clone_of for p in clones}


def test_all_of_a_profile_is_scrubbed_and_a_name_is_one_line() -> None:
    told = {"site": "https://x.y", "more": ["a@b.com", {"tel": "+49 151 12345678"}]}
    (profile,), _ = load_profiles([{"name": "Ana\n2. Ben", "description": "x", "extra": told}])
    assert profile.name == "Ana 2. Ben"
    assert not re.search(r"x\.y|a@b|12345678", str(profile))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ana＠example．com", "[e-mail]"),
        ("an\u200ba@exam\u200bple.com", "[e-mail]"),
        ("ana at example dot com", "[e-mail]"),
        ("ana[at]example[dot]com", "[e-mail]"),
        ("1.https://site.xyz/u/anna", "1.[link]"),
        ("...mysite.com", "...[link]"),
        ("a@b.c+d@e.f", "[e-mail][e-mail]"),
        ("a" * 80 + "@b.cd", "[e-mail]"),
        ("@11@11", "[handle]"),
        ("میخواهم meet at noon", "میخواهم meet at noon"),
    ],
)
def test_contacts_that_hide(text: str, left: str) -> None:
    assert scrub(text) == left


@given(st.text(alphabet="ab1@.:/+- w\u200b＠[at]dot(\n", max_size=60))
def test_scrubbing_twice_is_scrubbing_once(text: str) -> None:
    assert scrub(scrub(text)) == scrub(text)
