"""Where a row comes from: calls, scenario, actions, messages and memories, each with the id that it
has on record.
"""

from __future__ import annotations

from pathlib import Path

from rich.text import Text
from rich.tree import Tree

from matrix_graph.errors import InputError
from matrix_graph.filtering.rows import answers_of, prompt_of
from matrix_graph.runs.record import RunRecord, asked
from matrix_graph.schema import Action, Row, Scenario, provenance_of

_LONGEST = 700


def trace(folder: Path, row_id: str) -> Tree:
    """The origin of a kept or dropped row of the run in `folder`, as a tree.

    Raises:
        InputError: no such row, or no run.
    """
    record = RunRecord(folder)
    row, fate = _find(record, row_id)
    tree = Tree(_line(row_id, f"{row.get('kind', 'row')}, {fate}", "bold"))
    tree.add(_line("asks", prompt_of(row)))
    for column, answer in answers_of(row).items():
        tree.add(_line("answer" if column == "messages" else column, answer))
    origin = provenance_of(row)
    calls = tree.add("calls")
    for slot in origin.get("calls", []):
        _call(calls, record, slot)
    for scenario in record.scenarios:
        if scenario["id"] == origin.get("scenario_id"):
            _scenario(tree, record, scenario, origin.get("agent_id", ""))
    return tree


def _find(record: RunRecord, row_id: str) -> tuple[Row, str]:
    for name, rows in record.rows.items():
        for row in rows:
            if row.get("id") == row_id:
                return row, f"kept in {name}.jsonl"
    for rejection in record.rejections:
        if rejection.get("id") == row_id:
            seen = f"{rejection['value']} (threshold {rejection['threshold']})"
            why = f"dropped by {rejection['rule']}: {seen}"
            return rejection["row"], why
    raise InputError(
        f"{record.folder} holds no row {row_id!r}; the ids stand in dataset/*.jsonl and "
        "rejected.jsonl."
    )


def _call(branch: Tree, record: RunRecord, slot: str) -> None:
    if entry := record.calls.get(slot):
        leaf = branch.add(
            _line(
                slot, f"{entry.model}, {entry.input_tokens} + {entry.output_tokens} tokens", "cyan"
            )
        )
        leaf.add(_line("was asked", asked(entry)[-1]["content"]))


def _scenario(tree: Tree, record: RunRecord, scenario: Scenario, agent: str) -> None:
    branch = tree.add(_line(f"scenario {scenario['id']}", scenario["summary"], "green"))
    people = scenario.get("people", {})
    if person := people.get(agent):
        branch.add(_line(f"agent {agent}", f"{person['name']}: {person['description']}"))
    names = {member: described["name"] for member, described in people.items()}
    deliveries = {d["action"]: d for d in scenario.get("deliveries", []) if d["scope"] == "within"}
    for action in scenario["actions"]:
        if action["agent"] != agent:
            continue
        leaf = branch.add(
            _line(f"action {action['id']}", f"({action['trigger']}) {action['text']}", "yellow")
        )
        delivery = deliveries.get(action["id"])
        if delivery:
            reached = ", ".join(names.get(a, a) for a in delivery["recipients"]) or "nobody"
            left = ", ".join(names.get(a, a) for a in delivery["left_out"]) or "nobody"
            leaf.add(
                _line(
                    "became known to", f"{reached}; left out: {left}; because: {delivery['reason']}"
                )
            )
        _remembered(leaf, record, action)
        _call(leaf, record, action["call"])
    for message in scenario.get("messages", []):
        if message["recipient"] == agent:
            text = f"{message['sender_name']}: {message['text']} (because: {message['reason']})"
            branch.add(_line(f"message {message['id']}", text, "magenta"))


def _remembered(leaf: Tree, record: RunRecord, action: Action) -> None:
    known = record.memories(action["agent"]) if action.get("recalled") else {}
    for recollection in action.get("recalled", []):
        memory = known.get(recollection["memory"])
        scores = ", ".join(
            f"{name} {recollection[name]:g}" for name in ("relevance", "recency", "importance")
        )
        text = f"({scores}) {memory.text if memory else ''}"
        leaf.add(_line(f"memory {action['agent']}/{recollection['memory']}", text, "blue"))


def _line(label: str, text: str, style: str = "dim") -> Text:
    text = " ".join(text.split())
    return Text.assemble(
        (f"{label}  ", style), text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    )
