"""What a run came to, in numbers: for run.json, the card and the table at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from matrix_graph.llm.budget import Account
from matrix_graph.schema import Group, Row, requirement_of

_ORIGIN = {"agents": "agent_id", "groups": "group", "scenarios": "scenario_id"}

Records = Sequence[Mapping[str, Any]]


def tally(
    groups: Sequence[Group],
    scenarios: Records,
    rows: Sequence[Row],
    rejections: Records,
    failures: Records,
) -> dict[str, Any]:
    """Counts of what lived, what was written and dropped, and what failed with which reason.

    `turns` counts actions and those that failed; `coverage` holds the shares of the society from
    which the rows come.
    """
    lived = {
        "agents": sum(len(group.members) for group in groups),
        "groups": len(groups),
        "scenarios": len(scenarios),
    }
    actions = sum(len(scenario["actions"]) for scenario in scenarios)
    used = {what: len({row["provenance"][key] for row in rows}) for what, key in _ORIGIN.items()}
    return {
        **lived,
        "actions": actions,
        "turns": actions + sum(failure["stage"] == "act" for failure in failures),
        "asked_again": sum("doubt" in a for s in scenarios for a in s["actions"]),
        "messages": sum(len(scenario["messages"]) for scenario in scenarios),
        "generated": dict(Counter(map(requirement_of, [*rows, *(r["row"] for r in rejections)]))),
        "coverage": {what: round(used[what] / n, 4) if n else 0.0 for what, n in lived.items()},
        "rejected": dict(Counter(rejection["rule"] for rejection in rejections)),
        "failed": dict(Counter(f"{f['stage']}: {f['reason']}" for f in failures).most_common()),
    }


def used_by_model(account: Account) -> dict[str, dict[str, Any]]:
    """Requests, tokens and US dollars by model name."""
    return {
        model: asdict(usage) | {"cost_usd": round(account.cost_of(model), 6)}
        for model, usage in sorted(account.by_model.items())
    }
