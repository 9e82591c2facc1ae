"""Planted data: what each rule finds of what was put there, as precision and recall. `pytest -s`
prints the table.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from matrix_graph.filtering.graph import create_filter
from matrix_graph.filtering.step import Step
from matrix_graph.filtering.steps.contamination import Contamination
from matrix_graph.filtering.steps.duplicates import ExactDuplicates, NearDuplicates
from matrix_graph.filtering.steps.form import Form
from matrix_graph.filtering.steps.pairs import Compare, PairShape, Preferred, audit
from matrix_graph.filtering.steps.rewards import FunctionReward, Rewards
from matrix_graph.filtering.steps.signal import PassRate, ZeroAdvantage
from matrix_graph.schema import Row
from matrix_graph.society.profiles import load_profiles
from tests.helpers import context

POSTS = [
    post for profile in load_profiles()[0] for post in profile.posts if 8 <= len(post.split()) <= 60
]
ASKS = (
    "What should I do first?",
    "How do I tell the others?",
    "Write me a short notice about it.",
    "Can you explain why?",
)
WORDS = [word for post in POSTS for word in post.split()]


@pytest.fixture(scope="module", autouse=True)
def _report() -> Iterator[None]:
    yield
    print(
        "\n"
        + "\n".join(
            f"{rule:<28} precision {p:.3f}  recall {r:.3f}  of {n}" for rule, p, r, n in TABLE
        )
    )


TABLE: list[tuple[str, float, float, int]] = []


def clean(count: int, seed: int) -> list[Row]:
    draw = random.Random(seed)
    rows = []
    for number, post in enumerate(draw.sample(POSTS, count)):
        prompt = f"{post} {draw.choice(ASKS)}"
        rows.append(
            {
                "id": f"clean-{number}",
                "prompt": prompt,
                "completion": f"{draw.choice(POSTS)} So begin with that.",
            }
        )
    return rows


async def found(
    steps: list[Step], rows: list[Row], rule: str, planted: set[str]
) -> tuple[float, float]:
    """Precision and recall of `rule` for the ids that were planted for it."""
    random.Random(5).shuffle(rows)
    result = await create_filter(steps).compile().ainvoke({"rows": rows})
    named = {r["id"] for r in result["rejections"] if r["rule"] == rule}
    precision = len(named & planted) / len(named) if named else 1.0
    recall = len(named & planted) / len(planted)
    TABLE.append((rule, precision, recall, len(planted)))
    return precision, recall


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        ("answer too short", lambda row: row | {"completion": ""}),
        (
            "answer breaks off",
            lambda row: row | {"completion": row["completion"].rsplit(" ", 3)[0] + " and then the"},
        ),
        (
            "no request",
            lambda row: (
                row | {"prompt": "We had rain on the day of the market and sold little of it."}
            ),
        ),
        ("template residue", lambda row: row | {"completion": row["completion"] + " <|im_end|>"}),
    ],
)
async def test_form(rule: str, spoil: Callable[[Row], Row]) -> None:
    rows = clean(300, 1)
    spoiled = [spoil(row) | {"id": f"bad-{n}"} for n, row in enumerate(clean(60, 2))]
    precision, recall = await found([Form()], rows + spoiled, rule, {row["id"] for row in spoiled})
    assert precision >= 0.95
    assert recall >= 0.95


def edited(text: str, draw: random.Random) -> str:
    """One word in ten swapped, doubled, dropped, misspelt or replaced; or case, marks and spaces
    changed.
    """
    words = text.split()
    for _ in range(max(1, len(words) // 10)):
        at = draw.randrange(len(words) - 1)
        match draw.randrange(6):
            case 0:
                words[at], words[at + 1] = words[at + 1], words[at]
            case 1:
                words.insert(at, draw.choice(WORDS))
            case 2:
                words.pop(at)
            case 3:
                words[at] = words[at][::-1]
            case 4:
                words[at] = draw.choice(WORDS)
            case 5:
                words[at] = words[at].upper() + ","
    return " ".join(words)


@pytest.mark.parametrize("seed", [11, 12, 13])
async def test_duplicates(seed: int) -> None:
    draw, rows = random.Random(seed), clean(400, seed)
    again = [
        row | {"id": f"again-{n}", "prompt": f"  {row['prompt'].upper()} "}
        for n, row in enumerate(rows[:80])
    ]
    near = [
        row | {"id": f"near-{n}", "prompt": edited(row["prompt"], draw) + " Thanks."}
        for n, row in enumerate(rows[100:300])
    ]
    # What comes first stays, so originals come first.
    result = (
        await create_filter([ExactDuplicates(), NearDuplicates()])
        .compile()
        .ainvoke({"rows": rows + again + near})
    )
    for rule, planted in (("exact duplicate", again), ("near duplicate", near)):
        named = {r["id"] for r in result["rejections"] if r["rule"] == rule}
        ids = {row["id"] for row in planted}
        precision, recall = len(named & ids) / max(1, len(named)), len(named & ids) / len(ids)
        TABLE.append((f"{rule}, seed {seed}", precision, recall, len(ids)))
        assert precision >= (1.0 if rule == "exact duplicate" else 0.95)
        assert recall >= (1.0 if rule == "exact duplicate" else 0.95)


async def test_contamination_finds_every_verbatim_8_gram() -> None:
    draw = random.Random(3)
    benchmark = [" ".join(draw.sample(WORDS, 40)) for _ in range(100)]
    rows = clean(300, 4)
    planted = []
    for number, row in enumerate(clean(100, 5)):
        words = draw.choice(benchmark).split()
        at = draw.randrange(len(words) - 8)
        inside = " ".join(words[at : at + 8])
        asked = row["prompt"].split()
        cut = draw.randrange(len(asked))
        prompt = " ".join(
            [*asked[:cut], draw.choice([inside, inside.upper(), f"“{inside}”,"]), *asked[cut:]]
        )
        planted.append(row | {"id": f"leak-{number}", "prompt": prompt})
    precision, recall = await found(
        [Contamination.of(benchmark)], rows + planted, "contamination", {r["id"] for r in planted}
    )
    assert recall == 1.0
    assert precision == 1.0


async def test_groups_that_all_pass_or_all_fail_and_known_pass_rates() -> None:
    rows = clean(200, 6)
    rates = {row["id"]: number % 9 for number, row in enumerate(rows)}
    for row in rows:
        row["responses"] = [f"{'right' if n < rates[row['id']] else 'wrong'} {n}" for n in range(8)]
    scored = Rewards((FunctionReward(lambda _, response: float(response.startswith("right"))),))
    flat = {name for name, k in rates.items() if k in (0, 8)}
    assert await found([scored, ZeroAdvantage()], list(rows), "zero advantage", flat) == (1.0, 1.0)
    outside = {name for name, k in rates.items() if not 0.2 <= k / 8 <= 0.8}
    assert await found([scored, PassRate()], list(rows), "pass rate", outside) == (1.0, 1.0)


def pairs(count: int, seed: int) -> list[Row]:
    draw = random.Random(seed)
    rows = []
    for row in clean(count, seed):
        good, bad = draw.sample(POSTS, 2)
        rows.append(
            {
                "id": row["id"],
                "prompt": row["prompt"],
                "chosen": f"GOOD {good}",
                "rejected": f"BAD {bad}",
            }
        )
    return rows


class TasteOf:
    """Replies of a judge: honest ones prefer GOOD, biased ones what is shown first."""

    def __init__(self, biased: bool) -> None:
        self.biased = biased

    def __call__(self, asked: str) -> str:
        first = asked.split("First answer:\n<<<\n")[1]
        better = "first" if self.biased or first.startswith("GOOD") else "second"
        return f'{{"reason": "so", "better": "{better}"}}'


def judged(biased: bool) -> Any:
    from matrix_graph.testing import FakeChat, result_of

    taste = TasteOf(biased)

    class Judge(FakeChat):
        def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            return result_of(taste(str(messages[-1].text)))

    return context(model=Judge())


async def test_pairs_that_were_flipped_and_a_judge_that_follows_the_order() -> None:
    rows = pairs(200, 7)
    flipped = {row["id"] for row in rows[:40]}
    rows = [
        row | {"chosen": row["rejected"], "rejected": row["chosen"]}
        if row["id"] in flipped
        else row
        for row in rows
    ]
    assert await found(
        [Compare(judged(False)), Preferred()], rows, "judge prefers rejected", flipped
    ) == (1.0, 1.0)
    everybody = {row["id"] for row in rows}
    assert await found(
        [Compare(judged(True)), Preferred()], rows, "judge follows the order", everybody
    ) == (1.0, 1.0)
    result = await create_filter([Compare(judged(True))]).compile().ainvoke({"rows": rows})
    assert audit(result["rows"])["swap_agreement"] == 0.0


async def test_pairs_biased_by_length_and_pairs_of_one_text() -> None:
    rows = pairs(200, 8)
    long = {row["id"] for row in rows[:50]}
    alike = {row["id"] for row in rows[50:90]}
    for row in rows:
        if row["id"] in long:
            row["chosen"] = " ".join([row["chosen"]] * 4)
            row["rejected"] = row["rejected"][:60]
        elif row["id"] in alike:
            row["rejected"] = row["chosen"].replace("GOOD", "Good")
    assert await found([PairShape()], list(rows), "near-identical pair", alike) == (1.0, 1.0)
    precision, recall = await found(
        [PairShape(max_length_ratio=3.5)], list(rows), "chosen much longer", long
    )
    assert recall == 1.0
    assert precision >= 0.9
    assert audit(rows[:50])["length_bias"] > 0.8
    assert abs(audit(rows[90:])["length_bias"]) < 0.2
    assert audit(rows)["near_identical"] == pytest.approx(0.2)


def test_planted_texts_are_not_alike_by_themselves() -> None:
    assert all(one != other for one, other in pairwise(sorted(POSTS)))
