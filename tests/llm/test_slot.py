from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix_graph.llm.slot import STAGES, Slot

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TIMES = st.none() | st.integers(0, 999)


@pytest.mark.parametrize(
    ("slot", "text"),
    [
        (Slot(stage="persona", who="p001", attempt=1), "persona/p001#1"),
        (Slot(stage="society", who="p001", what="act", round=0, step=2), "society/r0.s2/p001/act"),
        (Slot(stage="society", who="g", what="summary", round=3), "society/r3/g/summary"),
        (Slot(stage="memory", who="p1", what="main", step=12), "memory/s12/p1/main"),
        (Slot(stage="filter", who="a/b#1", what="judge", part="2"), "filter/a%2Fb%231/judge/2"),
        (Slot(stage="generate", who="r1", what="sft", part="response"), "generate/r1/sft/response"),
    ],
)
def test_a_slot_is_written_and_read(slot: Slot, text: str) -> None:
    assert str(slot) == text
    assert Slot.parse(text) == slot


@given(st.sampled_from(STAGES), NAMES, NAMES, NAMES | st.just(""), TIMES, TIMES, st.integers(0, 9))
def test_whatever_the_names_are_nothing_is_lost(
    stage: str, who: str, what: str, part: str, round: int | None, step: int | None, attempt: int
) -> None:
    timed = stage in ("society", "memory", "modulated", "amend")
    slot = Slot(
        stage=stage,  # type: ignore[arg-type]
        who=who,
        what=what,
        part=part,
        round=round if timed else None,
        step=step if timed else None,
        attempt=attempt,
    )
    assert Slot.parse(str(slot)) == slot


@pytest.mark.parametrize("text", ["", "persona", "nowhere/p1", "persona/p1#x", "society/p1",
                                  "persona/a/b/c/d"])  # fmt: skip
def test_what_is_no_slot_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no slot"):
        Slot.parse(text)
