from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from matrix_graph.errors import InputError
from matrix_graph.filtering.controls import effects
from matrix_graph.filtering.graph import create_filter
from matrix_graph.filtering.rules import Models, Rules
from matrix_graph.filtering.step import Comparing, Drop, Step
from matrix_graph.filtering.steps.code import TestsPass
from matrix_graph.filtering.steps.contamination import Contamination, read_benchmark
from matrix_graph.filtering.steps.duplicates import ExactDuplicates, NearDuplicates
from matrix_graph.filtering.steps.form import Form
from matrix_graph.filtering.steps.judge import Judged
from matrix_graph.filtering.steps.pairs import Preferred, audit
from matrix_graph.schema import Row
from matrix_graph.testing import prose
from tests.helpers import sft

ASK = "My oven loses heat on the left side since Monday. How do I find the leak?"


async def test_a_users_own_rows_go_through_without_model_store_or_context() -> None:
    rows = [
        sft("1", ASK),
        sft("2", ASK.upper()),
        sft("3", "The market was full today and I sold it all."),
    ]
    result = await create_filter().compile().ainvoke({"rows": rows})
    assert result["rows"] == [rows[0]]
    assert [(r["id"], r["rule"], r["threshold"]) for r in result["rejections"]] == [
        ("3", "no request", "a question or a task"),
        ("2", "exact duplicate", "no equal prompt"),
    ]
    assert result["rejections"][0]["row"] == rows[2]


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (sft("x", "Why so?"), "prompt too short"),
        (sft("x", "I went to the market and bought two nets there."), "no request"),
        (sft("x", ASK, ""), "answer too short"),
        (sft("x", ASK, "First check the seal, then the"), "answer breaks off"),
        (sft("x", ASK, "As an AI language model I cannot bake."), "template residue"),
        (sft("x", ASK + " <|im_end|>"), "template residue"),
        (sft("x", "Dear [Your Name], how do I greet a customer?"), "template residue"),
        (
            {"id": "x", "prompt": ASK, "chosen": "Check the seal.", "rejected": "Check the seal."},
            "identical answers",
        ),
    ],
)
def test_form_drops(row: Row, rule: str) -> None:
    assert [d.rule for d in Form().find([row])] == [rule]


@pytest.mark.parametrize(
    "row",
    [
        sft("x", ASK),
        sft("x", "Write a notice for the door: closed on Sunday from now on."),
        sft("x", "I need a plan for six weeks of exams, two hours a day."),
        sft("x", "¿Cómo arreglo la puerta del horno de mi tienda?"),
        sft("x", "オーブンの左側が冷たいです。 どう 直せば いい ですか？"),
        sft("x", ASK, "```python\nprint(1)\n```"),
        {
            "id": "x",
            "prompt": [{"role": "user", "content": ASK}],
            "completion": "Look at the seal first.",
        },
    ],
)
def test_form_keeps(row: Row) -> None:
    assert Form().find([row]) == []


def test_near_duplicates_are_found_and_others_kept() -> None:
    rng = random.Random(0)
    base = [prose(rng, 3) for _ in range(300)]
    edited = []
    for text in base[:100]:
        words = text.split()
        words[rng.randrange(len(words))] = "indeed"
        edited.append(" ".join(words))
    rows = [sft(f"b{i}", t) for i, t in enumerate(base)] + [
        sft(f"e{i}", t) for i, t in enumerate(edited)
    ]
    dropped = {d.id for d in NearDuplicates().find(rows)}
    planted = {f"e{i}" for i in range(100)}
    assert len(dropped & planted) >= 95
    assert len(dropped - planted) <= 0.05 * len(dropped)


@pytest.mark.parametrize("step", [ExactDuplicates(), NearDuplicates()], ids=lambda s: s.name)
async def test_earlier_rows_count_but_are_not_dropped(step: Comparing) -> None:
    graph = create_filter([step]).compile()
    given: Any = {"rows": [sft("new", ASK)], "earlier": [sft("old", ASK), sft("older", ASK)]}
    state = await graph.ainvoke(given)
    assert [(r["id"], r["row"]["id"]) for r in state["rejections"]] == [("new", "new")]


words = st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=20)


@given(words, words, st.integers(0, 12))
def test_a_verbatim_8_gram_is_always_found(
    benchmark: list[str], prompt: list[str], at: int
) -> None:
    rule = Contamination.of([" ".join(benchmark)])
    start = at % (len(benchmark) - 7)
    leaked = [*prompt[:3], *benchmark[start : start + 8], *prompt[3:]]
    assert rule.find([sft("x", "  ".join(leaked).upper())])
    grams = {tuple(benchmark[i : i + 8]) for i in range(len(benchmark) - 7)}
    clean = not any(tuple(prompt[i : i + 8]) in grams for i in range(len(prompt) - 7))
    assert (rule.find([sft("x", " ".join(prompt))]) == []) == clean


def test_benchmark_files_of_several_layouts(tmp_path: Path) -> None:
    path = tmp_path / "b.jsonl"
    path.write_text(
        '{"question": "one two"}\n{"prompt": [{"role": "user", "content": "three"}]}\n"quoted"\n'
    )
    assert read_benchmark(path) == ["one two", "three", "quoted"]
    path.write_text("plain line\n\n another\n")
    assert read_benchmark(path) == ["plain line", "another"]
    path.write_text(
        '[{"instruction": "Answer this.", "input": "How far is it?"}, {"prompt": ["one", "two"]}]'
    )
    assert set(read_benchmark(path)) == {"How far is it?", "Answer this.", "one", "two"}
    path.write_text('{"prompt": "a farmer", "note": "see\u2028the"}\n')
    assert read_benchmark(path) == ["a farmer"]
    for broken in ('{"prompt": "a"}\nnot json\n', '{\n  "prompt": "a"\n}'):
        path.write_text(broken)
        with pytest.raises(InputError, match="neither JSON Lines"):
            read_benchmark(path)
    path.write_text('{"other": 1}\n')
    with pytest.raises(InputError, match="holds no benchmark prompt"):
        read_benchmark(path)


async def test_steps_can_be_left_out_reordered_and_written_by_the_user() -> None:
    class NoOvens(Step):
        name = "no_ovens"

        def find(self, rows: Sequence[Row]) -> list[Drop]:
            return [Drop(r["id"], "oven", 1, 0) for r in rows if "oven" in str(r)]

    result = (
        await create_filter([ExactDuplicates(), NoOvens()])
        .compile()
        .ainvoke({"rows": [sft("1", ASK), sft("2", "ok")]})
    )
    assert [r["id"] for r in result["rows"]] == ["2"]
    with pytest.raises(InputError):
        create_filter([Form(), Form()])


@pytest.mark.parametrize(
    "row",
    [
        sft(
            "1",
            "Write put(items, value) so that this holds:\n>>> put([1], 0)\n[0, 1]",
            "```python\nitems[insert_at] = value\n```",
        ),
        sft("1", "渡し船は何時に出ますか？橋は閉まっています。", "渡し船は七時に出ます。"),
        sft("1", "Napiši mi kratko pismo susjedu zbog buke", "Dragi susjede, molim vas za tišinu.")
        | {"language": "Croatian"},
        sft("1", "How do I greet a customer at the door?", "Say good morning.")
        | {"tests": None, "chosen": None},
    ],
)
def test_sound_rows_stay(row: Row) -> None:
    assert Form().find([row]) == []
    assert TestsPass().find([row]) == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=True)
    | st.text(max_size=20),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "text", "x"]), inside)
    ),
    max_leaves=6,
)
COLUMNS = [
    "messages",
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "rewards",
    "responses",
    "judge",
    "answer",
    "tests",
    "solution",
    "preference",
    "guessed",
    "chosen_score",
    "rejected_score",
    "kind",
    "language",
    "safety",
]


@given(rows=st.lists(st.dictionaries(st.sampled_from(COLUMNS), JSON, max_size=6), max_size=6))
@example(rows=[{}, {"rewards": [8.98846567431158e307]}])
@example(
    rows=[
        {"rewards": [10**400, float("nan")]},
        {"rewards": [float("-inf")], "chosen_score": 10**400},
    ]
)
@pytest.mark.slow
def test_no_row_however_odd_raises(rows: list[Row]) -> None:
    asking = ("code", "judged", "semantic_duplicates", "rollouts", "select", "preferred", "order")
    on = {name: name not in asking for name in Rules.model_fields if name != "order"}
    rules = Rules.model_validate(on)
    left = [row | {"id": str(n)} for n, row in enumerate(rows)]
    for step in (*rules.steps(Models(benchmark=("a b c d e f g h",))), Judged(), Preferred()):
        found = step.find(left)
        assert {finding.id for finding in found} <= {row["id"] for row in left}  # type: ignore[union-attr]
    audit(left)
    assert len(effects({"kept": left, "random": left, "length_matched": left}, 0)) < 20


@pytest.mark.parametrize(
    "prompt",
    [
        "Using Python, implement quicksort for me.",
        "As a chef, suggest three recipes.",
        "Given a string s, return its length.",
        "If f(x) = x^2 + 1, find f(3).",
        "In 200 words, write about the sea.",
        "- Summarize the text below in one line.",
        "**Task:** Summarize what I wrote here.",
        "Your task is to summarize the following",
        "What's the capital of France",
    ],
)
def test_requests_in_many_forms(prompt: str) -> None:
    assert Form().find([sft("x", prompt)]) == []


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        ("The area of it is $x = 5$", True),
        ("It is about 15%", True),
        ("Good luck with it! 😊", True),
        ("Yours truly,\nAna Horvat", True),
        (
            "You need these:\n- eggs\n- milk and flour for the dough that we bake every single "
            "morning",
            True,
        ),
        ("```python\ndef proof(hours):", False),
        ("Here are the steps you need:", False),
        ("<think>\nSo it is", False),
        (
            "You should first look at the left side of the oven and measure how much heat leaves "
            "it in one ho",
            False,
        ),
    ],
)
def test_what_is_whole_and_what_breaks_off(answer: str, whole: bool) -> None:
    assert (Form().find([sft("x", ASK, answer)]) == []) == whole


def test_a_million_blank_lines_take_no_time() -> None:
    blank = "\n" * 1_000_000
    time.perf_counter()
    Form().find([sft("x", f"How do I{blank}do it?", f"{blank}So.")])


def test_conversations_that_begin_alike_are_no_duplicates() -> None:
    hello = "Hi, can you help me with something please?"

    def talk(row_id: str, second: str) -> Row:
        turns = [hello, "Of course.", second, "So be it."]
        roles = ["user", "assistant"] * 2
        return {
            "id": row_id,
            "messages": [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)],
        }

    rows = [
        talk("1", "My boat leaks at the stern."),
        talk("2", "Which fee do I pay for the stall at the market?"),
    ]
    assert ExactDuplicates().find(rows) == []
    assert [
        d.id for d in ExactDuplicates().find([*rows, talk("3", "my boat leaks at the stern.")])
    ] == ["3"]


@pytest.mark.parametrize(
    ("rule", "option"),
    [
        ("judged", "--judge"),
        ("semantic_duplicates", "--embeddings"),
        ("contamination", "--decontaminate"),
        ("rollouts", "--student"),
    ],
)
def test_a_rule_that_is_named_and_cannot_be_measured_is_loud(rule: str, option: str) -> None:
    assert rule not in [step.name for step in Rules().steps()]
    assert Rules.model_validate({rule: False}).steps()
    with pytest.raises(InputError, match=f"The rule {rule} needs {option}"):
        Rules.model_validate({rule: True}).steps()
