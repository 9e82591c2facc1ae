from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from matrix_graph.errors import InputError
from matrix_graph.filtering.graph import create_filter
from matrix_graph.generation.graph import create_generator
from matrix_graph.generation.requirements import KINDS, load_requirements, read_requirements
from matrix_graph.testing import FakeChat
from tests.generation.test_generator import SCENARIOS
from tests.helpers import context


async def _rows(requirement: dict[str, Any], **options: Any) -> tuple[list[Any], list[Any]]:
    given: Any = {"requirements": [{"count": 6} | requirement], "scenarios": SCENARIOS}
    result = await create_generator().compile().ainvoke(given, context=context(**options))
    return result["rows"], result["failures"]


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_gives_rows_that_the_filter_keeps(kind: str) -> None:
    rows, failures = await _rows({"kind": kind})
    assert len(rows) == 6
    assert failures == []
    kept = await create_filter().compile().ainvoke({"rows": rows})
    assert [r["rule"] for r in kept["rejections"]] == []
    assert len({row["id"] for row in rows}) == 6
    assert all(row["category"] and row["complexity"] for row in rows)


async def test_reason_keeps_thinking_and_answer_apart_and_holds_its_bounds() -> None:
    rows, _ = await _rows({"kind": "reason"})
    for row in rows:
        assert (
            row["messages"][-1]["content"]
            == f"<think>\n{row['thinking']}\n</think>\n\n{row['answer']}"
        )
        assert "think>" not in row["answer"]
    rows, failures = await _rows({"kind": "reason", "thinking": [500, 900]})
    assert rows == []
    assert all("500 to 900 words" in f["reason"] for f in failures)


async def test_code_comes_with_tests_that_are_kept_apart() -> None:
    rows, _ = await _rows({"kind": "code"})
    for row in rows:
        assert row["messages"][-1]["content"] == f"```python\n{row['solution']}```"
        assert row["tests"].count("assert") >= 4
        assert "assert" not in row["solution"]


async def test_safe_rows_are_marked() -> None:
    rows, _ = await _rows({"kind": "safe"})
    assert all(row["safety"] is True for row in rows)


async def test_a_conversation_alternates_and_ends_when_the_person_is_satisfied() -> None:
    rows, _ = await _rows({"kind": "mt", "turns": 4})
    for row in rows:
        assert [m["role"] for m in row["messages"]] == ["user", "assistant"] * 4
    content = FakeChat(replies={"What was said so far": "SATISFIED."})
    rows, failures = await _rows({"kind": "mt"}, model=content)
    assert rows == [], "nobody is satisfied by the first answer"
    assert all("still have something to ask" in f["reason"] for f in failures)


async def test_the_second_answer_may_satisfy() -> None:
    class Soon(FakeChat):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            said = str(messages[-1].text)
            self.replies = {"said so far": "SATISFIED"} if said.count("Assistant:") >= 2 else {}
            return super()._generate(messages, *args, **kwargs)

    rows, _ = await _rows({"kind": "mt", "turns": 9}, model=Soon())
    assert {len(row["messages"]) for row in rows} == {4}


async def test_the_best_and_the_worst_of_several_answers_make_a_pair() -> None:
    class Varied(FakeChat):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            result = super()._generate(messages, *args, **kwargs)
            if "{" not in (text := str(result.generations[0].message.text)):
                result.generations[0].message.content = f"{self.calls}: {text}"
            return result

    rows, _ = await _rows({"kind": "dpo", "best_of": 4}, model=Varied())
    for row in rows:
        assert row["chosen_score"] >= row["rejected_score"]
        assert row["chosen"] != row["rejected"]
        assert len(row["provenance"]["calls"]) == 9


async def test_one_call_can_make_a_whole_row() -> None:
    rows, _ = await _rows({"kind": "sft", "single_call": True})
    assert all(len(row["provenance"]["calls"]) == 1 for row in rows)
    assert all("===" not in m["content"] for row in rows for m in row["messages"])


async def test_a_system_prompt_stands_first_in_the_row() -> None:
    for kind in ("sft", "mt"):
        rows, _ = await _rows({"kind": kind, "system": "You are a harbour pilot."})
        assert all(
            row["messages"][0] == {"role": "system", "content": "You are a harbour pilot."}
            for row in rows
        )
    rows, _ = await _rows({"kind": "dpo", "system": "You are a harbour pilot."})
    assert all(row["prompt"][0]["role"] == "system" for row in rows)


async def test_mixes_domain_and_language_reach_the_prompt() -> None:
    seen: list[str] = []

    class Noting(FakeChat):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            seen.append(" ".join(str(m.text) for m in messages))
            return super()._generate(messages, *args, **kwargs)

    wanted = {"kind": "sft", "categories": {"riddles": 1}, "domain": "eels", "language": "Croatian"}
    rows, _ = await _rows(
        wanted | {"styles": ["Ask in rhyme."], "complexity": {"complex": 1}}, model=Noting()
    )
    assert all(row["category"] == "riddles" for row in rows)
    instructions = [text for text in seen if "riddles" in text]
    assert len(instructions) == 6
    assert all("eels" in t and "Croatian" in t and "Ask in rhyme." in t for t in instructions)


async def test_a_mix_is_drawn_by_its_weights_and_the_same_each_time() -> None:
    from matrix_graph.generation.writer import _drawn

    mix = {"a": 3.0, "b": 1.0, "never": 0.0}
    drawn = [_drawn(mix, f"source-{n}") for n in range(4000)]
    counts = Counter(drawn)
    assert counts["never"] == 0
    assert 2.6 < counts["a"] / counts["b"] < 3.4
    assert drawn == [_drawn(mix, f"source-{n}") for n in range(4000)]


def test_requirements_come_from_a_file(tmp_path: Any) -> None:
    path = tmp_path / "wanted.yaml"
    path.write_text(
        "- {kind: sft, domain: pharmacy, count: 3}\n- {kind: sft, name: night, system: You work "
        "nights.}\n"
    )
    first, second = load_requirements(path, 9)
    assert (first.id, first.count, second.id, second.count) == ("sft", 3, "night", 9)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kind: sft", "must hold a list"),
        ("- {kind: poem}", "kind"),
        ("- {kind: sft}\n- {kind: sft}", "one name"),
        ("- {kind: sft, best_of: 4}", "best_of goes with kind dpo"),
        ("- {kind: sft, categories: {a: 0}}", "weights above zero"),
        ("- {kind: sft, name: ../../x}", "name"),
        ("- [", "Cannot read"),
    ],
)
def test_a_requirement_that_does_not_do_is_told(tmp_path: Any, text: str, told: str) -> None:
    path = tmp_path / "wanted.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=told):
        load_requirements(path, 5)


def test_two_of_a_kind_need_names() -> None:
    with pytest.raises(InputError, match="one name"):
        read_requirements([{"kind": "sft", "count": 1}, {"kind": "sft", "count": 2}])
