"""From a source to a row: what this person would now ask, and the answers to it."""

from __future__ import annotations

import re

from matrix_graph.context import Resources
from matrix_graph.generation.requirements import STYLES, Requirement
from matrix_graph.generation.retrieval import Source
from matrix_graph.llm.structured import Malformed
from matrix_graph.schema import Person, Row

_SPEAKER = re.compile(r"^\s*(?:user|me|message|question|request|prompt)\s*:\s*", re.I)
_QUOTES = {'"': '"', "“": "”", "'": "'", "«": "»"}


async def synthesise(source: Source, requirement: Requirement, res: Resources) -> Row:
    """One row in TRL's layout with its provenance.

    Raises:
        CallFailed: the instruction or an answer could not be had.
    """
    slot = f"generate/{requirement.kind}/{source.id}"
    instruction = await res.model.text(
        f"{slot}/instruction",
        _instruction_prompt(source, requirement, res),
        max_tokens=400,
        check=cleaned,
        paragraph=True,
    )
    ask = [*res.prompts.render("respond"), {"role": "user", "content": instruction.value}]
    response = await res.model.text(f"{slot}/response", ask, max_tokens=requirement.max_tokens)
    calls = [instruction.call, response.call]
    user, assistant = _message("user", instruction.value), _message("assistant", response.value)
    row: Row = {"id": f"{requirement.kind}-{source.id}", "kind": requirement.kind}
    if requirement.kind == "sft":
        row["messages"] = [user, assistant]
    else:
        rejected = await res.student.text(f"{slot}/rejected", [user], max_tokens=requirement.max_tokens)
        calls.append(rejected.call)
        row |= {"prompt": [user], "chosen": [assistant], "rejected": [_message("assistant", rejected.value)]}
    actions = [a["id"] for a in source.scenario["actions"] if a["agent"] == source.agent]
    row["provenance"] = {
        "scenario_id": source.scenario["id"],
        "agent_id": source.agent,
        "group": source.scenario["group"],
        "actions": actions,
        "calls": calls,
    }
    return row


def cleaned(text: str) -> str:
    """An instruction without a speaker's label or quotation marks around the whole.

    Raises:
        Malformed: nothing is left.
    """
    text = _SPEAKER.sub("", text.strip())
    if len(text) > 1 and _QUOTES.get(text[0]) == text[-1] and text[-1] not in text[1:-1]:
        text = text[1:-1]
    if not text.strip():
        raise Malformed("the message was empty")
    return text.strip()


def _instruction_prompt(source: Source, requirement: Requirement, res: Resources) -> list[dict[str, str]]:
    scenario = source.scenario
    person = scenario.get("people", {}).get(source.agent) or Person(
        name=source.agent, description="(not known)", personality="(not known)", goal="(not known)"
    )
    own = [a for a in scenario["actions"] if a["agent"] == source.agent]
    heard = [m for m in scenario.get("messages", []) if m["recipient"] == source.agent]
    lines = [f"- {a['text']}" for a in own] + [f"- (heard) {m['sender_name']}: {m['text']}" for m in heard]
    return res.prompts.render(
        "instruct",
        f"instruct_{requirement.kind}",
        name=person["name"],
        description=person["description"],
        personality=person["personality"],
        goal=person["goal"],
        actions="\n".join(lines),
        style=STYLES[_hash_of(source.id) % len(STYLES)],
    )


def _hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return sum(ord(c) * (i + 1) for i, c in enumerate(text))


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
