"""JSON: strict in what is read, whole lines in what is written."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix_graph.boundary.values import DEPTH, json_lines, json_text, read_json

VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(VALUES)
def test_what_is_written_reads_the_same(value: Any) -> None:
    text = json_text(value)
    assert read_json(text) == json.loads(json.dumps(value)) == value
    assert len(text.splitlines()) <= 1


@pytest.mark.parametrize(
    "text",
    ["NaN", "[Infinity]", "-Infinity", "1e400", "-1e400", "9" * 400, "[" * 200 + "]" * 200,
     '{"a":' * 101 + "1" + "}" * 101, "[" * 1_000_000, "", "{", '"\\ud800'],
)  # fmt: skip
def test_what_code_could_not_walk_or_count_is_no_json(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (each has words of its own)
        read_json(text)


def test_depth_is_counted_outside_of_texts() -> None:
    deep = "[" * DEPTH + "]" * DEPTH
    assert read_json(deep)
    assert read_json(json.dumps(["[{" * 1_000, '\\"[' * 1_000])) == ["[{" * 1_000, '\\"[' * 1_000]


def test_a_row_is_one_line_whatever_it_holds() -> None:
    ends = "\n\r\x0b\x0c\x1c\x85\u2028\u2029"
    numbers = [math.nan, math.inf, {"x": -math.inf}]
    rows: list[dict[str, object]] = [{"a": ends, ends: [ends]}, {"n": numbers, "half": "\ud800"}]
    lines = json_lines(rows).splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0]) == rows[0]
    assert json.loads(lines[1]) == {"n": [None, None, {"x": None}], "half": "?"}
