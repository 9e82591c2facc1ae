"""What holds for every step: ids, switches, findings together, and comparisons over batches."""

from __future__ import annotations

import math
import sys
import textwrap
import types
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from matrix_graph import Context, Records, create_filter, create_matrix, filtering
from matrix_graph.errors import InputError
from matrix_graph.filtering import (
    Comparing,
    ExactDuplicates,
    Form,
    Models,
    NearDuplicates,
    Note,
    PassRate,
    Rules,
    SemanticDuplicates,
    Step,
    ZeroAdvantage,
)
from matrix_graph.filtering.graph import with_notes
from matrix_graph.schema import Row
from tests.helpers import context, groups, sft

ASK = "How do I mend a torn net before the storm?"
DOCS = Path(__file__).parents[2] / "docs" / "filtering.md"
RULES = [name for name in Rules.model_fields if name != "order"]
ROWS = [sft("1", ASK), sft("2", ASK.lower())]


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"prompt": "How?"}], "Row 1 has no id"),
        ([sft("1", ASK), {"id": 7, "prompt": "How?"}], "Row 2 has no id"),
        ([sft("1", ASK), sft("2", "x"), sft("1", "y")], "2 rows have the id '1'"),
    ],
)
async def test_rows_that_cannot_be_told_apart_are_refused(rows: list[Row], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        await create_filter().compile().ainvoke({"rows": rows})
    for step in (Form(), ExactDuplicates(), NearDuplicates(), ZeroAdvantage()):
        with pytest.raises(InputError, match=problem):
            await step(rows)


def test_what_is_no_step_is_refused() -> None:
    step: Any = lambda rows: []  # noqa: E731
    with pytest.raises(InputError, match="derive it from"):
        create_filter([step])


@pytest.mark.parametrize("name", RULES)
def test_true_is_the_documented_default_of_every_rule(name: str) -> None:
    on: Any = getattr(Rules.model_validate({name: True}), name)
    assert isinstance(on, Step)
    assert on == type(on)()
    off = Rules.model_validate({name: False})
    assert getattr(off, name) is None
    assert getattr(Rules.model_validate({name: {}}), name) == on


@pytest.mark.parametrize("name", RULES)
def test_thresholds_are_the_fields_of_a_step(name: str) -> None:
    on: Any = getattr(Rules.model_validate({name: True}), name)
    assert is_dataclass(on)
    values = {f.name: getattr(on, f.name) for f in fields(on) if f.init}
    given = {n: v for n, v in values.items() if n not in ("context", "benchmark") and v is not None}
    assert getattr(Rules.model_validate({name: given}), name) == on
    with pytest.raises(ValueError, match="it has no colour"):
        Rules.model_validate({name: {"colour": 1}})
    with pytest.raises(ValueError, match="takes true, false or"):
        Rules.model_validate({name: 3})


@pytest.mark.parametrize(
    "odd",
    [
        {"contamination": {"share": 7}},
        {"contamination": {"share": math.nan}},
        {"semantic_duplicates": {"threshold": 5}},
        {"semantic_duplicates": {"threshold": math.nan}},
        {"judged": {"min_quality": math.nan}},
        {"judged": {"min_quality": 50}},
        {"judged": {"min_difficulty": 8, "max_difficulty": 3}},
        {"pass_rate": {"low": 0.9, "high": 0.1}},
        {"pass_rate": {"low": math.nan}},
        {"min_reward": {"at_least": math.nan}},
        {"rollouts": {"max_tokens": -5}},
        {"pairs": {"length_coefficient": math.inf}},
        {"form": {"min_prompt_words": 9, "max_prompt_words": 2}},
        {"language": {"confidence": 2}},
    ],
)
def test_a_threshold_that_would_switch_its_rule_off_is_refused(odd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(odd))):
        Rules.model_validate(odd)


async def test_true_compares_by_its_default() -> None:
    rules = Rules.model_validate({"semantic_duplicates": True, "select": True, "rollouts": True})
    models = Models(embeddings=context(), judges=(context(),), student=context())
    steps: dict[str, Any] = {step.name: step for step in rules.steps(models)}
    assert steps["semantic_duplicates"].threshold == 0.9
    assert steps["select"].budget == 10_000
    assert steps["rollouts"].n == 8


def test_a_threshold_can_be_given_by_position() -> None:
    assert PassRate(0.1, 0.9) == PassRate(low=0.1, high=0.9)
    assert PassRate(0.1, 0.9).name == "pass_rate"


def test_two_notes_of_one_row_are_one() -> None:
    rows = with_notes(ROWS, [Note("1", {"a": 1, "b": 2}), Note("1", {"b": 3, "kind": None})])
    assert rows[0]["a"] == 1
    assert rows[0]["b"] == 3
    assert "kind" not in rows[0]
    assert rows[1] == ROWS[1]


async def test_what_one_invocation_dropped_is_not_the_next_ones() -> None:
    from langgraph.checkpoint.memory import InMemorySaver

    graph = create_filter().compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    for _ in range(3):
        state = await graph.ainvoke({"rows": ROWS}, config)
        assert [r["id"] for r in state["rejections"]] == ["2"]


TEXTS = st.lists(
    st.sampled_from([f"how do {who} {do} the {what}" for who in ("I", "we") for do in
                     ("mend", "sell", "lend") for what in ("old net", "boat", "long ladder")]),
    min_size=1, max_size=24,
)  # fmt: skip


@pytest.mark.parametrize("step", [ExactDuplicates(), NearDuplicates()], ids=lambda s: s.name)
@given(texts=TEXTS, cut=st.integers(1, 8))
def test_batches_are_compared_as_the_whole_is(step: Comparing, texts: list[str], cut: int) -> None:
    rows = [sft(str(n), text) for n, text in enumerate(texts)]
    whole: Any = step.comparison().compare(rows)
    parts = step.comparison()
    drops: list[Any] = []
    for start in range(0, len(rows), cut):
        batch = rows[start : start + cut]
        drops += parts.compare(batch)  # type: ignore[arg-type]
        gone = {drop.id for drop in drops}
        parts.keep([row["id"] for row in batch if row["id"] not in gone])
    assert drops == whole


@pytest.mark.parametrize("step", [ExactDuplicates(), NearDuplicates()], ids=lambda s: s.name)
def test_what_was_not_kept_does_not_count(step: Comparing) -> None:
    comparison = step.comparison()
    assert comparison.compare([sft("1", ASK)]) == []
    comparison.keep([])
    assert comparison.compare([sft("2", ASK)]) == []
    comparison.keep(["2"])
    assert [d.id for d in comparison.compare([sft("3", ASK)])] == ["3"]  # type: ignore[union-attr]
    assert comparison.compare([sft("2", ASK)]) == [], "a row that comes again is not its own copy"


async def test_semantic_comparison_over_batches() -> None:
    step = SemanticDuplicates(threshold=0.95, context=context())
    comparison: Any = step.comparison()
    assert await comparison.compare([sft("1", "mend the net"), sft("2", "sell a boat")]) == []
    comparison.keep(["1"])
    drops = await comparison.compare([sft("3", "mend the net"), sft("4", "sell a boat")])
    assert [drop.id for drop in drops] == ["3"]


class Reading(Comparing):
    """Counts how often each row is read."""

    name = "reading"

    def __init__(self) -> None:
        self.read: Counter[str] = Counter()
        self.near = NearDuplicates()

    def comparison(self) -> Any:
        counting, inner = self.read, self.near.comparison()

        class Counted(type(inner)):  # type: ignore[misc]
            def compare(self, rows: Any) -> Any:
                counting.update(row["id"] for row in rows)
                return super().compare(rows)

        return Counted(0.6)


async def test_no_row_of_a_run_is_read_twice_however_many_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("matrix_graph.pipeline.BATCH", 5)
    step, store = Reading(), InMemoryStore()
    graph = create_matrix(groups(4, 4), steps=[step]).compile(store=store)
    given: Context = context()
    wanted: Any = {"quota": 4, "wanted": [{"kind": "sft", "count": 24}]}
    state = await graph.ainvoke(wanted, context=given)
    assert state["kept"] == {"sft": 24}
    assert len(step.read) >= 24
    assert set(step.read.values()) == {1}
    rows = Records(store, "run").all("samples")
    assert state["rows"] == rows
    assert len(rows) == 24


def everything() -> tuple[Step, ...]:
    """Every rule, switched on, with something to measure by."""
    models = Models(
        judges=(context(),), student=context(), embeddings=context(), benchmark=("a prompt",)
    )
    return Rules.model_validate(dict.fromkeys(RULES, True)).steps(models)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_is_wired_everywhere(name: str) -> None:
    by_name = {step.name: step for step in everything()}
    assert name in by_name, "its step's name is that of the field, and it is part of the funnel"
    kind = type(by_name[name])
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert kind.__name__ in filtering.__all__  # type: ignore[attr-defined]
    table = DOCS.read_text("utf-8").split("| rule |")[1].split("\n\n")[0]
    assert f"`{name}`" in table or name == "rollouts"


def test_the_funnel_has_the_order_of_the_rules() -> None:
    names = [step.name for step in everything() if step.name in RULES]
    assert names == RULES
    hygiene = [step.name for step in everything() if step.hygiene]
    assert hygiene == names[: len(hygiene)], "first what is usable, then what to choose"


def test_the_documented_example_of_a_rule_works(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS.parents[1] / "CONTRIBUTING.md").read_text("utf-8")
    code = textwrap.dedent(page.split("```python\n")[1].split("```")[0])
    module = types.ModuleType("example")
    monkeypatch.setitem(sys.modules, "example", module)
    exec(code, module.__dict__)
    rows = [sft("1", ASK, "MEND IT AT ONCE."), sft("2", ASK, "Mend it at once.")]
    assert [drop.id for drop in module.NoShouting().find(rows)] == ["1"]
