"""Rows in each trainer's own layout. A row that a layout cannot hold is listed with the reason,
never bent.

The layouts are those that the trainers' own loaders read: TRL 1.16, Axolotl 0.19, LLaMA-Factory
0.9.5, OpenRLHF 0.11, verl 0.9.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from matrix_graph.schema import Row

View = dict[str, Any]
_TURN = ("role", "content")


class Unfit(ValueError):
    """A layout cannot hold this row; the message says why."""


def trl(row: Row) -> View:
    """TRL: `messages`, or `prompt`, `chosen` and `rejected` as lists of messages."""
    return {name: _turns(row, name) for name in _columns(row)}


def grpo(row: Row) -> View:
    """TRL's GRPO: the prompt, and what a reward function needs to score a completion."""
    prompt, truth = _asked(row), _truth(row)
    groups: View = {name: row[name] for name in ("responses", "rewards") if name in row}
    if not truth and not groups:
        raise Unfit(
            "nothing in it can score a completion (no answer, tests, or responses with rewards)"
        )
    return {"prompt": prompt, **truth, **groups}


def llama_factory(row: Row) -> View:
    """LLaMA-Factory: `messages` with strictly alternating sides; a pair's answers as one message
    each.
    """
    if row.get("messages"):
        return {"messages": _alternating(_turns(row, "messages"))}
    prompt = _alternating(_turns(row, "prompt"), ends_with="user")
    return {"messages": prompt, "chosen": _one(row, "chosen"), "rejected": _one(row, "rejected")}


def openrlhf(row: Row) -> View:
    """OpenRLHF: a conversation's last answer apart, or TRL's pair with the margin of its scores if
    known.
    """
    if row.get("messages"):
        turns = _turns(row, "messages")
        return {"input": turns[:-1], "output": turns[-1]["content"]}
    view = trl(row)
    scores = row.get("chosen_score"), row.get("rejected_score")
    if isinstance(scores[0], int | float) and isinstance(scores[1], int | float):
        view["margin"] = float(scores[0] - scores[1])
    return view


def verl(row: Row) -> View:
    """verl: `messages` for SFT; its RL columns for rows with something to check."""
    if row.get("prompt"):
        raise Unfit("verl reads no preference pairs")
    view: View = {"messages": _turns(row, "messages")}
    truth = _truth(row)
    if truth:
        ground = truth.get("answer") or json.dumps({"tests": truth["tests"]})
        view |= {
            "data_source": "matrix-graph",
            "prompt": _asked(row),
            "ability": str(row.get("kind", "")),
            "reward_model": {"style": "rule", "ground_truth": ground},
            "extra_info": {"split": "train", "index": str(row.get("id", ""))},
        }
    return view


VIEWS: Mapping[str, Callable[[Row], View]] = {
    "trl": trl,
    "axolotl": trl,
    "llama-factory": llama_factory,
    "openrlhf": openrlhf,
    "verl": verl,
    "grpo": grpo,
    "hf": dict,
}
"""What each target makes of one row."""


def _columns(row: Row) -> tuple[str, ...]:
    for columns in (("messages",), ("prompt", "chosen", "rejected"), ("prompt", "completion")):
        if all(row.get(name) is not None for name in columns):
            return columns
    raise Unfit("it has neither messages nor a prompt with answers")


def _turns(row: Row, name: str) -> list[dict[str, str]]:
    value = row.get(name)
    if isinstance(value, str):
        value = [{"role": "user" if name == "prompt" else "assistant", "content": value}]
    if not isinstance(value, list) or not value:
        raise Unfit(f"it has no {name}")
    turns = [
        turn
        for turn in value
        if isinstance(turn, dict) and all(isinstance(turn.get(k), str) for k in _TURN)
    ]
    if len(turns) < len(value):
        raise Unfit(f"{name} holds something that is no message with role and content")
    turns = [{key: turn[key] for key in _TURN} for turn in turns]
    if name != "prompt" and turns[-1]["role"] != "assistant":
        raise Unfit(f"{name} does not end with the assistant")
    return turns


def _asked(row: Row) -> list[dict[str, str]]:
    return _turns(row, "prompt") if row.get("prompt") else _turns(row, "messages")[:-1]


def _truth(row: Row) -> dict[str, str]:
    return {name: str(row[name]) for name in ("answer", "tests") if row.get(name)}


def _alternating(turns: list[dict[str, str]], ends_with: str = "assistant") -> list[dict[str, str]]:
    talk = [turn["role"] for turn in turns if turn["role"] != "system"]
    expected = ["user", "assistant"] * (len(talk) // 2 + 1)
    if talk != expected[: len(talk)] or not talk or talk[-1] != ends_with:
        raise Unfit(f"user and assistant do not alternate: {' '.join(talk)}")
    return turns


def _one(row: Row, name: str) -> dict[str, str]:
    turns = _turns(row, name)
    if len(turns) != 1:
        raise Unfit(f"{name} has {len(turns)} messages, and the layout holds one")
    return turns[0]
