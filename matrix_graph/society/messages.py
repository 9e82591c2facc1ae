"""From the modulator's choices to what they bring about: messages, deliveries on record, and
memories of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matrix_graph.boundary.quoting import one_line
from matrix_graph.memory import Memory
from matrix_graph.schema import Action, Delivery, Group, Message
from matrix_graph.society.routing import Choice
from matrix_graph.society.state import News, Sent

OWN, HEARD, TOLD = 0.5, 0.6, 0.8
"""Importance of own actions, of observations, and of a group's scenarios."""


def sent_within(
    group: Group, choices: Sequence[Choice], actions: Sequence[Action]
) -> tuple[list[Action], list[Message], list[Delivery]]:
    """What the members come to know of each other's actions.

    Returns:
        The actions with who became aware of them, and why; the messages; the decisions.
    """
    ids, names = [m.id for m in group.members], {m.id: m.name for m in group.members}
    by_item = {choice.item: choice for choice in choices}
    reached: list[Action] = []
    messages: list[Message] = []
    deliveries: list[Delivery] = []
    for number, action in enumerate(actions):
        choice = by_item.get(number)
        if choice is None:
            reached.append(action)
            continue
        recipients, sender = [ids[p] for p in choice.recipients], action["agent"]
        reached.append({**action, "recipients": recipients, "reason": choice.reason})
        for recipient in recipients:
            messages.append(
                _message(action["id"], sender, names[sender], recipient, action["text"], choice)
            )
        deliveries.append(_delivery("within", action["id"], sender, choice, ids))
    return reached, messages, deliveries


def received(
    group: Group, choices: Sequence[Choice], news: Sequence[News]
) -> tuple[list[Message], list[Delivery]]:
    """What the members come to know from other groups."""
    ids = [m.id for m in group.members]
    messages: list[Message] = []
    deliveries: list[Delivery] = []
    for choice in choices:
        item = news[choice.item]
        for position in choice.recipients:
            messages.append(
                _message(
                    item["action"],
                    item["sender"],
                    item["sender_name"],
                    ids[position],
                    item["text"],
                    choice,
                    group.id,
                )
            )
        deliveries.append(_delivery("incoming", item["action"], item["sender"], choice, ids))
    return messages, deliveries


def sent_out(
    scenario: str, choices: Sequence[Choice], actions: Sequence[Action], others: Sequence[Group]
) -> tuple[list[Sent], list[Delivery]]:
    """What travels from a scenario to other groups."""
    ids = [g.id for g in others]
    sent: list[Sent] = []
    deliveries: list[Delivery] = []
    for choice in choices:
        action = actions[choice.item]
        for position in choice.recipients:
            sent.append(Sent(group=ids[position], scenario=scenario, action=choice.item))
        deliveries.append(_delivery("outgoing", action["id"], action["agent"], choice, ids))
    return sent, deliveries


def memories_of(
    actions: Sequence[Action], messages: Sequence[Message], time: int, first: int
) -> list[Memory]:
    """Everybody remembers what they did, and what they became aware of, numbered from `first`."""
    memories = [
        Memory(a["agent"], time, 0, f"I did this: {a['text']}", "action", OWN) for a in actions
    ]
    texts: dict[str, str] = {}
    for number, message in enumerate(messages, first):
        text = remembered(message)
        # One string for all who remember it: they are most of a large society's memory.
        text = texts.setdefault(text, text)
        memories.append(Memory(message["recipient"], time, number, text, "observation", HEARD))
    return memories


def remembered(message: Message) -> str:
    """A message as its recipient remembers it, with the way in which it came."""
    way = f" ({one_line(message['way'])})" if message.get("way") else ""
    return f"{message['sender_name']}{way}: {message['text']}"


def sorted_in(
    inbox: Mapping[str, list[Message]], messages: Sequence[Message]
) -> dict[str, list[Message]]:
    """`inbox` with `messages` added, by recipient."""
    filled = dict(inbox)
    for message in messages:
        filled[message["recipient"]] = [*filled.get(message["recipient"], []), message]
    return filled


def _message(
    action: str, sender: str, name: str, recipient: str, text: str, choice: Choice, group: str = ""
) -> Message:
    """A message; of an action of elsewhere, `group` is the one that it came to."""
    place = f"{action}>{group}>" if group else f"{action}>"
    return Message(
        id=f"{place}{recipient}",
        action=action,
        sender=sender,
        sender_name=name,
        recipient=recipient,
        text=choice.learnt or text,
        reason=choice.reason,
        way=choice.way,
    )


def _delivery(
    scope: Literal["within", "incoming", "outgoing"],
    action: str,
    sender: str,
    choice: Choice,
    ids: Sequence[str],
) -> Delivery:
    delivery = Delivery(
        action=action,
        sender=sender,
        scope=scope,
        recipients=[ids[p] for p in choice.recipients],
        left_out=[ids[p] for p in choice.left_out],
        reason=choice.reason,
        call=choice.call,
    )
    if choice.learnt:
        delivery["learnt"] = choice.learnt
    return delivery
