from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix_graph import create_filter
from matrix_graph.filtering import Consistent, Rewards, Verifier, ZeroAdvantage
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


WRITTEN = [
    ("x = 7", "7"),
    ("It arrives at 10:45", "10:45"),
    ("[1, 2]", "[1,2]"),
    ("1.5e3", "1500"),
    ("x²+1", "1+x²"),
    ("7 km", "7"),
    ("$7", "7"),
    ("7%", "7"),
    ("1,500", "1500"),
    ("The answer is 42.", "42"),
    ("3/4", "0.75"),
    ("1 1/2", "1.5"),
    ("\\frac{1}{2}", "0.5"),
    ("2 hours 30 minutes", "150 minutes"),
    ("1.5 × 10^3", "1500"),
    ("(1,2)", "(1, 2)"),
    ("{1,2}", "{2,1}"),
    ("1, 2, 3", "1, 2, 3"),
    ("−3", "-3"),
    ("10^3", "1000"),
    ("x=7, y=2", "y=2, x=7"),
    ("about 40 litres", "40"),
    ("40 l", "40 litres"),
    ("7 km", "7000 m"),
    ("12 eggs", "12"),
    ("1 500", "1500"),
    ("sqrt(2)", "\\sqrt{2}"),
    ("B", "B"),
    ("(b) because it", "B"),
    ("The ferry leaves at 14:05, so be there early.", "14:05"),
    ("2:05 pm", "14:05"),
    ("So the result is 12 euros.", "12"),
    ("Paris", "Paris"),
    ("The capital is Paris, which lies on the Seine.", "Paris"),
    ("[3, 1, 2]", "[3,1,2]"),
    ("\\boxed{\\frac{3}{4}}", "0.75"),
    ("12", "12 €"),
    ("50%", "0.5"),
    ("The total is 1,234.50 dollars", "1234.5"),
    ("2x + 2", "2(x+1)"),
    ("**42**", "42"),
    ("5 hours", "300 minutes"),
    ("x = -2", "-2"),
    ("3 p.m.", "15:00"),
    ("1e-3", "0.001"),
    ("a, b, c", "a, b, c"),
    ("2.5 kg", "2500 g"),
    ("7 1/4 inches", "7.25 inches"),
    ("10.45", "10:45"),
    ("12 + 5 = 17", "17"),
    ("17 = 12 + 5", "17"),
    ("\\boxed{2.5}", "2.50"),
    ("The total is 12.50.", "12.50"),
    ("3,000,000", "3 million"),
    ("The answer is $3 million", "$3 million"),
    ("1500000 people", "1.5 million people"),
    ("720", "60 dozen"),
    ("5 dollars", "$5"),
    ("\\boxed{\\$5}", "$5"),
    ("$5$", "5"),
    ("€5", "5 €"),
    ("7.30 pm", "19:30"),
    ("-1 1/2 km", "-1.5 km"),
    ("41 °F", "5 °C"),
    ("{2, 1}", "{1, 2}"),
    ("x = 3", "3"),
    ("x^2 + y^2 + 1", "1 + y^2 + x^2"),
    ("The answer is **B**", "B"),
    ("\\boxed{\\text{B}}", "B"),
    ("**Answer:** (B)", "B"),
    ("Option B", "B"),
    ("The correct option is B.", "B"),
    ("B, because it is the largest of all those that are listed here.", "B"),
    ("No. It takes 40 minutes by the early ferry, and the permit is needed there.", "no"),
    ("No, it is not.", "No"),
]
WRONG = [
    ("8", "7"),
    ("7 km", "7 m"),
    ("10:45", "10:54"),
    ("[1,2]", "[2,1]"),
    ("1, 2, 3", "3, 2, 1"),
    ("A", "B"),
    ("London", "Paris"),
    ("x²+2", "1+x²"),
    ("1.5e3", "150"),
    ("2 hours", "150 minutes"),
    ("[1,2,3]", "[1,2]"),
    ("-3", "3"),
    ("0.3", "1/3"),
    ("3 pm", "3 am"),
    ("7 kg", "7 m"),
    ("The answer is **C**", "B"),
    ("$6", "$5"),
    ("3000", "3 million"),
    ("The answer is 3", "3 million"),
    ("\\boxed{12.50}", "-12.50"),
    ("First estimate 2.50, but I was wrong. \\boxed{3}", "2.50"),
    ("-1 1/2 km", "-500 m"),
    ("42 °F", "5 °C"),
    ("{1, 1}", "{1, 2}"),
    ("x=1, x=1", "x=1, x=2"),
    ("Yes, of course", "No"),
    (
        "Yes. There is no doubt that it is legal in every county of the state, and so on.",
        "No",
    ),
]
OTHER = [
    ("9^9^9^9", "7^7^7^7"),
    ("I would rather not say what I think about all of this here", "Paris"),
    ("I do not know", "10:45"),
    ("12 euros in 5 days makes it 60 in the end for all", "12"),
    ("She needs 7 boats in total, since each holds 3 people.", "7"),
    ("I would not say yes to that; the permit was refused last year by the county.", "yes"),
    ("The answer is not Paris", "Paris"),
    ("answer: not 40", "40"),
    ("answer: more than 40", "40"),
    ("40 or 50", "40"),
    ("A or B", "B"),
    ("I cannot tell", "B"),
    ("5 kg", "5 bananas"),
    ("€5", "$5"),
    ("[1, 2]", "(1, 2)"),
    ("±5", "5"),
    ("y=5", "x=5"),
    ("\\sqrt{x+6}=3", "x=3"),
    ("7.30", "7:30 pm or later"),
]


@pytest.mark.parametrize(("given", "truth"), WRITTEN)
def test_what_people_write_is_accepted(given: str, truth: str) -> None:
    assert same_answer(given, truth) is True


@pytest.mark.parametrize(("given", "truth"), WRONG)
def test_what_is_wrong_is_not(given: str, truth: str) -> None:
    assert same_answer(given, truth) is False


@pytest.mark.parametrize(("given", "truth"), OTHER)
def test_what_cannot_be_compared_is_not_wrong(given: str, truth: str) -> None:
    assert same_answer(given, truth) is None


@pytest.mark.parametrize(
    ("given", "truth"),
    [
        ("\\boxed{(x+y+z+w)^{999}}", "(w+x+y+z)^{998}"),
        ("\\boxed{(a+b+c+d+f+g+h+i)^9}", "(a+b+c+d+f+g+h+k)^9"),
        ("(" + "+".join("abcdfghk") + ")^{99}", "(" + "+".join("abcdfghm") + ")^{99}"),
    ],
)
def test_an_answer_that_takes_for_ever_is_given_up(given: str, truth: str) -> None:
    assert same_answer(given, truth) is None
    assert same_answer("\\frac{6}{8}", "0.75") is True, "the next one is compared"


async def test_what_cannot_be_compared_drops_no_row() -> None:
    row = {"id": "1", "prompt": "When?", "answer": "10:45", "responses": ["I do not know."] * 4}
    scored = (
        await create_filter([Rewards((Verifier(),)), ZeroAdvantage(), Consistent()])
        .compile()
        .ainvoke({"rows": [row]})
    )
    assert scored["rejections"] == []
    assert "rewards" not in scored["rows"][0]


@given(st.text(max_size=300), st.text(max_size=60))
def test_no_answer_however_odd_raises(given: str, truth: str) -> None:
    same_answer(given, truth)
    assert final_answer(given) is not None


@given(st.lists(st.sampled_from(["7", "x = 7", "8", "10:45", "[1, 2]", "Paris"]), min_size=1))
@pytest.mark.slow
def test_the_majority_is_one_of_the_answers(responses: list[str]) -> None:
    most = majority(responses)
    votes = sum(same_answer(response, most) is True for response in responses)
    others = [sum(same_answer(r, s) is True for r in responses) for s in responses]
    assert votes == max(others)


def test_the_last_number_of_a_long_text_is_its_result() -> None:
    assert final_answer("I take 3 boxes of 12 and then 4 more, which makes 40.") == "40"
    assert majority(["about 7 I think it would be in the end", "It is 9.", "7"]) == "7"


DEEP = "(" * 300 + "1" + ", 2)" * 300
TERMS = [f"x+{n}" for n in range(40)]


@pytest.mark.parametrize(
    ("given", "truth"),
    [
        (f"\\boxed{{{DEEP}}}", DEEP.replace("1", "3")),
        (f"\\boxed{{{'9' * 5_000}}}", "3"),
        ("\\boxed{" + "1" * 4_301 + "}", "1" * 4_302),
        ("{" + ", ".join(TERMS) + "}", "{" + ", ".join(f"{t}+y" for t in TERMS) + "}"),
        ("\\boxed{(x+1)^{999}}", "(x+2)^{999}"),
    ],
)
def test_what_is_too_deep_or_long_to_take_apart_is_not_compared(given: str, truth: str) -> None:
    assert same_answer(given, truth) is None


def test_equal_sets_are_equal_however_long_and_in_any_order() -> None:
    given, truth = ("{" + ", ".join(terms) + "}" for terms in (TERMS, TERMS[::-1]))
    assert same_answer(given, truth) is True


def test_a_majority_of_answers_that_explode_comes_at_once() -> None:
    responses = [f"\\boxed{{(x+{n})^{{999}}}}" for n in range(16)]
    assert majority(responses) == "(x+0)^{999}"
