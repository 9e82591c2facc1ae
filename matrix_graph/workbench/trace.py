"""Where a row comes from: its calls, scenario, actions and messages, each with the id under which it is on record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.text import Text
from rich.tree import Tree

from matrix_graph.errors import InputError
from matrix_graph.export.files import read_json_lines
from matrix_graph.filtering.rows import answers_of, prompt_of
from matrix_graph.llm.journal import Entry, Journal

_LONGEST = 700


def trace(folder: Path, row_id: str) -> Tree:
    """The origin of a kept or dropped row of the run in `folder`, as a tree.

    Raises:
        InputError: no such row, or no run.
    """
    row, fate = _find(folder, row_id)
    scenarios = {s["id"]: s for s in read_json_lines(folder / "scenarios.jsonl")}
    if not (folder / "journal.sqlite").is_file():
        raise InputError(f"{folder} holds no journal.sqlite; it is no folder of a run.")
    journal = Journal(folder / "journal.sqlite")
    try:
        tree = Tree(_line(row_id, f"{row.get('kind', 'row')}, {fate}", "bold"))
        tree.add(_line("asks", prompt_of(row)))
        for column, answer in answers_of(row).items():
            tree.add(_line("answer" if column == "messages" else column, answer))
        origin = row.get("provenance", {})
        _calls(tree, journal, origin.get("calls", []))
        scenario = scenarios.get(origin.get("scenario_id", ""))
        if scenario:
            _scenario(tree, journal, scenario, origin.get("agent_id", ""))
    finally:
        journal.close()
    return tree


def _find(folder: Path, row_id: str) -> tuple[dict[str, Any], str]:
    for path in sorted((folder / "dataset").glob("*.jsonl")):
        for row in read_json_lines(path):
            if row.get("id") == row_id:
                return row, f"kept in {path.name}"
    for rejection in read_json_lines(folder / "rejected.jsonl"):
        if rejection.get("id") == row_id:
            why = f"dropped by {rejection['rule']}: {rejection['value']} (threshold {rejection['threshold']})"
            return rejection["row"], why
    raise InputError(f"{folder} holds no row {row_id!r}; the ids stand in dataset/*.jsonl and rejected.jsonl.")


def _calls(tree: Tree, journal: Journal, slots: list[str]) -> None:
    branch = tree.add("calls")
    for slot in slots:
        _call(branch, journal, slot)


def _call(branch: Tree, journal: Journal, slot: str) -> None:
    entries = [entry for entry in journal.entries(slot) if entry.slot == slot]
    for entry in entries:
        leaf = branch.add(_line(slot, f"{entry.model}, {entry.input_tokens} + {entry.output_tokens} tokens", "cyan"))
        leaf.add(_line("was asked", _asked(entry)))


def _asked(entry: Entry) -> str:
    return str(json.loads(entry.request)["messages"][-1]["content"])


def _scenario(tree: Tree, journal: Journal, scenario: dict[str, Any], agent: str) -> None:
    branch = tree.add(_line(f"scenario {scenario['id']}", scenario["summary"], "green"))
    people = scenario.get("people", {})
    person = people.get(agent, {})
    branch.add(_line(f"agent {agent}", f"{person.get('name', '')}: {person.get('description', '')}"))
    names = {member: described["name"] for member, described in people.items()}
    deliveries = {d["action"]: d for d in scenario.get("deliveries", []) if d["scope"] == "within"}
    for action in scenario["actions"]:
        if action["agent"] != agent:
            continue
        leaf = branch.add(_line(f"action {action['id']}", f"({action['trigger']}) {action['text']}", "yellow"))
        delivery = deliveries.get(action["id"])
        if delivery:
            told = ", ".join(names.get(a, a) for a in delivery["recipients"]) or "nobody"
            left = ", ".join(names.get(a, a) for a in delivery["left_out"]) or "nobody"
            leaf.add(_line("became known to", f"{told}; left out: {left}; because: {delivery['reason']}"))
        _call(leaf, journal, action["call"])
    for message in scenario.get("messages", []):
        if message["recipient"] == agent:
            text = f"{message['sender_name']}: {message['text']} (because: {message['reason']})"
            branch.add(_line(f"message {message['id']}", text, "magenta"))


def printable(text: str) -> str:
    """`text` without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)


def _line(label: str, text: str, style: str = "dim") -> Text:
    text = printable(" ".join(text.split()))
    return Text.assemble((f"{label}  ", style), text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
