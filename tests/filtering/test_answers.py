from __future__ import annotations

import pytest

from matrix_graph.filtering.answers import final_answer, majority, same_answer


@pytest.mark.parametrize(
    ("given", "truth", "same"),
    [
        ("<think>\n12 x 4 = 48\n</think>\n\nYou bake 48 loaves.", "48", True),
        ("First 3, then 4, so in all that makes 7", "7.0", True),
        ("\\boxed{1,200} loaves", "1200", True),
        ("#### 72", "She sold 48 in April and 24 in May. #### 72", True),
        ("The answer is 3/4.", "0.75", True),
        ("The answer is 5, and not 6.", "6", False),
        ("Paris", "paris.", True),
        ("Paris", "London", False),
        (
            "So you need 36 sacks in all for the whole of the season.",
            "36 sacks: 12 a month, over 3 months of season",
            True,
        ),
        ("-4", "4", False),
        ("1/0", "1/0", True),
        ("\\boxed{\\frac{1}{2}}", "0.5", True),
        ("\\boxed{\\frac{1}{2}}", "\\frac{1}{3}", False),
        (
            "So we get \\boxed{\\frac{\\sqrt{3}}{2}} as the length of it",
            "\\frac{\\sqrt{3}}{2}",
            True,
        ),
        ("(3, 7)", "(3, 4)", False),
        ("2x+3", "2x+5", False),
        ("2x", "2", False),
        ("10^5", "10^6", False),
        ("2:45", "2:30", False),
        (".5", "0.5", True),
        (".5", "5", False),
        ("x<3", "x>3", False),
        ("The answer is (B) 12 apples", "B", True),
        ("The answer is (C) 12 apples", "B", False),
        ("48 kg", "48", True),
        ("0", "0", True),
        ("#### -7", "-7", True),
    ],
)
def test_what_comes_to_the_same(given: str, truth: str, same: bool) -> None:
    assert same_answer(given, truth) is same


def test_the_last_number_of_a_long_text_is_its_result() -> None:
    assert final_answer("I take 3 boxes of 12 and then 4 more, which makes 40.") == "40"
    assert majority(["about 7 I think it would be in the end", "It is 9.", "7"]) == "7"
