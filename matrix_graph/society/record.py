"""What waits for a group's next scenario, read from the scenarios in which it happened."""

from __future__ import annotations

from typing import Any, cast

from matrix_graph.memory.records import Records
from matrix_graph.schema import Message, Scenario
from matrix_graph.society.state import GroupInput, News, Sent


async def on_record(
    given: GroupInput, group: str, records: Records
) -> tuple[list[Message], list[News]]:
    """The messages that wait for the members of `group`, and the news that is on its way to it.

    Raises:
        InputError: the store does not hold the scenarios in which they happened.
    """
    names = [sent["scenario"] for sent in given["news"]]
    if any(given["waiting"].values()):
        names.append(given["last"])
    names = list(dict.fromkeys(names))
    read: list[Any] = await records.asome("scenarios", names)
    scenarios = dict(zip(names, cast("list[Scenario]", read), strict=True))
    messages: list[Message] = []
    for waiting in given["waiting"].values():
        messages += [scenarios[given["last"]]["messages"][place] for place in waiting]
    return messages, [_news(sent, scenarios[sent["scenario"]], group) for sent in given["news"]]


def _news(sent: Sent, scenario: Scenario, group: str) -> News:
    action = scenario["actions"][sent["action"]]
    reason = ""
    for delivery in scenario["deliveries"]:
        if delivery["scope"] == "outgoing" and delivery["action"] == action["id"]:
            reason = delivery["reason"]
    return News(
        group=group,
        sender=action["agent"],
        sender_name=scenario["people"][action["agent"]]["name"],
        action=action["id"],
        text=action["text"],
        reason=reason,
    )
