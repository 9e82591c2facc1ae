"""What waits for a group's next scenario, read from the scenarios in which it happened."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from matrix_graph.memory.records import Records
from matrix_graph.schema import Message, Scenario
from matrix_graph.society.acquaintances import line_about
from matrix_graph.society.state import GroupInput, News, Sent


class Before(NamedTuple):
    """What waits for a group: messages for its members, news on its way, and how its last scenario
    ended, in words.
    """

    messages: list[Message]
    news: list[News]
    scene: str


async def on_record(given: GroupInput, group: str, records: Records) -> Before:
    """What waits for the members of `group`.

    Raises:
        InputError: the store does not hold the scenarios in which they happened.
    """
    names = [sent["scenario"] for sent in given["news"]]
    if given["last"]:
        names.append(given["last"])
    names = list(dict.fromkeys(names))
    read: list[Any] = await records.asome("scenarios", names)
    scenarios = dict(zip(names, cast("list[Scenario]", read), strict=True))
    messages: list[Message] = []
    for waiting in given["waiting"].values():
        messages += [scenarios[given["last"]]["messages"][place] for place in waiting]
    news = [_news(sent, scenarios[sent["scenario"]], group) for sent in given["news"]]
    scene = scenarios[given["last"]]["summary"] if given["last"] else ""
    return Before(messages, news, scene)


def _news(sent: Sent, scenario: Scenario, group: str) -> News:
    action = scenario["actions"][sent["action"]]
    text = action["text"]
    for delivery in scenario["deliveries"]:
        told = delivery["scope"] == "outgoing" and group in delivery["recipients"]
        if told and delivery["action"] == action["id"]:
            text = delivery.get("learnt") or text
    sender = scenario["people"][action["agent"]]
    return News(
        sender=action["agent"],
        sender_name=sender["name"],
        sender_line=line_about(sender["name"], sender["description"]),
        action=action["id"],
        text=text,
    )
