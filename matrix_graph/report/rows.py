"""The rows in the report: which were kept, what they are like, where each comes from, and what it
all cost.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from matrix_graph.filtering.columns import judge_of, rewards_of
from matrix_graph.filtering.funnel import funnel_svg
from matrix_graph.filtering.rows import (
    answer_of,
    answers_of,
    prompt_of,
    turns_of,
    words_in,
    wrong_shape,
)
from matrix_graph.llm.journal import Entry
from matrix_graph.llm.slot import Slot
from matrix_graph.report.charts import bars, histogram
from matrix_graph.report.html import Html, anchor, fold, joined, link, table, tag
from matrix_graph.runs.record import FilterRecord, RunRecord, asked
from matrix_graph.schema import Rejection, Row, provenance_of

MOST = 400
"""Rows that are shown one by one; all of them are in dataset/."""

LONGEST = 2_000
"""Characters that are shown of a row that is in no known layout."""

FEW = 8
"""Rows that are shown of what a rule dropped; all of them are in rejected.jsonl."""


def kept_and_dropped(record: RunRecord) -> Html:
    """The funnel by rule: what each took from the rows that were written."""
    rules = Counter(rejection["rule"] for rejection in record.rejections)
    left = total = len(record.rejections) + sum(map(len, record.rows.values()))
    stages = []
    for rule, count in rules.most_common():
        left -= count
        stages.append({"step": rule, "left": left, "dropped": count, "rules": {}})
    return joined([picture(total, stages), dropped(record.rejections)])


def picture(total: int, stages: Sequence[dict[str, Any]]) -> Html:
    """The funnel."""
    return tag("div", Html(funnel_svg(total, stages)), class_="wide funnel")


def dropped(rejections: Sequence[Rejection]) -> Html:
    """Some of what each rule dropped, with what it saw."""
    by_rule: dict[str, list[Rejection]] = defaultdict(list)
    for rejection in rejections:
        by_rule[rejection["rule"]].append(rejection)
    return joined(
        fold(
            joined(
                [
                    tag("b", rule),
                    f" dropped {len(of_rule):,}"
                    + (f", of which {FEW} are shown" if len(of_rule) > FEW else ""),
                ]
            ),
            *(_rejected(rejection) for rejection in of_rule[:FEW]),
        )
        for rule, of_rule in sorted(by_rule.items(), key=lambda item: -len(item[1]))
    )


def _rejected(rejection: Rejection) -> Html:
    why = f"{rejection['id']}: {rejection['value']} (threshold {rejection['threshold']})"
    return tag("div", tag("p", tag("b", why)), *_talk(rejection["row"]))


def distributions(rows: Sequence[Row]) -> Html:
    """What rows are like."""
    rows = [row for row in rows if not wrong_shape(row)]
    judged = [judge for row in rows if (judge := judge_of(row))]
    pictures = {
        "Task category": _counted(rows, "category"),
        "Complexity": _counted(rows, "complexity"),
        "Words in the request": _spread([float(words_in(prompt_of(row))) for row in rows]),
        "Words in the answer": _spread([float(words_in(answer_of(row))) for row in rows]),
        "Quality, as judged": _spread([judge["quality"] for judge in judged]),
        "Difficulty, as judged": _spread([judge["difficulty"] for judge in judged]),
        "Mean reward": _spread(
            [sum(rewards) / len(rewards) for row in rows if (rewards := rewards_of(row))]
        ),
        "New words in a request": _spread(_novelty(rows)),
    }
    shown = [
        tag("figure", tag("figcaption", name), picture)
        for name, picture in pictures.items()
        if picture
    ]
    return tag("div", *shown, class_="figures")


def one_by_one(record: RunRecord | FilterRecord) -> Html:
    """Each row; those of a run with their person, scenario and calls."""
    parts: list[Html] = []
    for rows in record.rows.values():
        parts += [
            row(record, shown) if isinstance(record, RunRecord) else bare(shown)
            for shown in rows[: MOST - len(parts)]
        ]
    total = sum(map(len, record.rows.values()))
    if total > len(parts):
        parts.append(tag("p", f"… and {total - len(parts):,} more, in dataset/.", class_="hint"))
    return joined(parts)


def cost(record: RunRecord) -> Html:
    """Calls and tokens, by what they were for."""
    parts: dict[str, list[Entry]] = defaultdict(list)
    for slot, entry in record.calls.items():
        parts[_purpose(slot)].append(entry)
    lines = [
        [
            what,
            f"{len(entries):,}",
            *(
                f"{sum(getattr(e, name) for e in entries):,}"
                for name in ("input_tokens", "output_tokens")
            ),
        ]
        for what, entries in sorted(parts.items(), key=lambda item: -len(item[1]))
    ]
    summary = record.summary
    spent = f" and {summary['cost_usd']:.4f} US dollars" if summary.get("cost_usd") else ""
    totals = (
        f"{summary['calls']:,} requests to models{spent}, in {summary['seconds']:,.0f} seconds."
    )
    return joined([tag("p", totals), table(["for", "calls", "tokens in", "tokens out"], lines)])


def row(record: RunRecord, row: Row, *, open: bool = False) -> Html:
    """One row with its person, scenario and calls."""
    names = {member.id: member.name for group in record.groups for member in group.members}
    origin = provenance_of(row)
    agent = origin.get("agent_id", "")
    talk = [tag("h4", "asks"), *_talk(row)]
    calls = [
        fold(
            joined(
                [slot, f" · {entry.model} · {entry.input_tokens} + {entry.output_tokens} tokens"]
            ),
            *(
                tag("div", tag("b", message["role"]), tag("pre", message["content"]))
                for message in asked(entry)
            ),
            tag("b", "answered"),
            tag("pre", entry.answer),
        )
        for slot in origin.get("calls", [])
        if (entry := record.calls.get(slot))
    ]
    actions = joined([tag("code", action) for action in origin.get("actions", [])], ", ")
    places = [
        link("agent", agent, names.get(agent, agent)),
        " in ",
        link("scenario", origin.get("scenario_id", "")),
    ]
    came = [tag("h4", "comes from"), tag("p", *places, ": ", actions), *calls]
    title = joined([tag("b", row["id"]), " ", prompt_of(row)[:140]])
    return fold(title, *talk, *came, id=anchor("row", str(row["id"])), open=open)


def bare(row: Row) -> Html:
    """One row by itself."""
    title = joined([tag("b", str(row["id"])), " ", prompt_of(row)[:140]])
    return fold(title, *_talk(row), id=anchor("row", str(row["id"])))


def _talk(row: Row) -> list[Html]:
    if wrong_shape(row):
        return [tag("pre", json.dumps(row, ensure_ascii=False)[:LONGEST])]
    turns = turns_of(row.get("messages") or row.get("prompt") or [], "user")
    shown = [
        tag(
            "div", tag("b", turn["role"]), tag("pre", turn["content"]), class_=f"turn {_side(turn)}"
        )
        for turn in turns
    ]
    answers = answers_of(row)
    for column in ("completion", "chosen", "rejected"):
        if column in answers:
            shown.append(
                tag(
                    "div",
                    tag("b", column),
                    tag("pre", answers[column]),
                    class_=f"turn assistant {column}",
                )
            )
    return shown


def _side(turn: dict[str, str]) -> str:
    return "user" if turn.get("role") == "user" else "assistant"


def _counted(rows: Sequence[Row], column: str) -> Html | None:
    counts = Counter(str(row[column]) for row in rows if row.get(column))
    return bars(counts) if counts else None


def _spread(values: Sequence[float]) -> Html | None:
    return histogram(values) if values else None


def _novelty(rows: Sequence[Row]) -> list[float]:
    """Per request, the share of its words that stand in no other."""
    words = [set(prompt_of(row).lower().split()) for row in rows]
    counts = Counter(word for of_row in words for word in of_row)
    return [sum(counts[word] == 1 for word in of_row) / len(of_row) for of_row in words if of_row]


_ROUTING = {
    "act": "actions",
    "life": "goals and plans",
    "check": "checks of actions",
    "again": "actions asked for again",
    "deliver": "who becomes aware",
    "receive": "news from outside",
    "exchange": "news to others",
    "summary": "summaries",
}


def _purpose(name: str) -> str:
    """What the call in a slot was for."""
    slot = Slot.parse(name)
    if slot.stage == "society":
        return _ROUTING.get(slot.what, slot.what)
    if slot.stage == "generate":
        return f"rows: {slot.what}"
    if slot.stage == "filter":
        return f"filter: {slot.what}"
    return {"persona": "personas"}.get(slot.stage, slot.stage)
