"""From the modulator's choices to what they bring about: messages, deliveries on record, and
memories of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matrix_graph.memory import Memory
from matrix_graph.schema import Action, Delivery, Group, Message
from matrix_graph.society.modulator import Choice
from matrix_graph.society.state import News

OWN, HEARD, TOLD = 0.5, 0.6, 0.8
"""Importance of own actions, of observations, and of a group's scenarios."""


def sent_within(
    group: Group, choices: Sequence[Choice], actions: Sequence[Action]
) -> tuple[list[Message], list[Delivery]]:
    """What the members come to know of each other's actions; notes in each action who did, and why."""
    ids, names = [m.id for m in group.members], {m.id: m.name for m in group.members}
    messages: list[Message] = []
    deliveries: list[Delivery] = []
    for choice in choices:
        action = actions[choice.item]
        recipients = [ids[p] for p in choice.recipients]
        action["recipients"], action["reason"] = recipients, choice.reason
        messages += [
            _message(
                action["id"],
                action["agent"],
                names[action["agent"]],
                r,
                action["text"],
                choice.reason,
            )
            for r in recipients
        ]
        deliveries.append(_delivery("within", action["id"], action["agent"], choice, ids))
    return messages, deliveries


def received(
    group: Group, choices: Sequence[Choice], news: Sequence[News]
) -> tuple[list[Message], list[Delivery]]:
    """What the members come to know from other groups."""
    ids = [m.id for m in group.members]
    messages = [
        _message(
            f"{n['action']}>{group.id}",
            n["sender"],
            n["sender_name"],
            ids[p],
            n["text"],
            choice.reason,
        )
        for choice in choices
        for n in [news[choice.item]]
        for p in choice.recipients
    ]
    return messages, [
        _delivery("incoming", news[c.item]["action"], news[c.item]["sender"], c, ids)
        for c in choices
    ]


def sent_out(
    group: Group, choices: Sequence[Choice], actions: Sequence[Action], others: Sequence[Group]
) -> tuple[list[News], list[Delivery]]:
    """What travels to other groups."""
    ids, names = [g.id for g in others], {m.id: m.name for m in group.members}
    news = [
        News(
            group=ids[p],
            sender=action["agent"],
            sender_name=names[action["agent"]],
            action=action["id"],
            text=action["text"],
            reason=choice.reason,
        )
        for choice in choices
        for action in [actions[choice.item]]
        for p in choice.recipients
    ]
    return news, [
        _delivery("outgoing", actions[c.item]["id"], actions[c.item]["agent"], c, ids)
        for c in choices
    ]


def memories_of(
    actions: Sequence[Action], messages: Sequence[Message], time: int, first: int
) -> list[Memory]:
    """Everybody remembers what they did, and what they became aware of, numbered from `first`."""
    texts: dict[str, str] = {}
    done = [Memory(a["agent"], time, 0, f"I did this: {a['text']}", "action", OWN) for a in actions]
    return done + [
        Memory(m["recipient"], time, number, texts.setdefault(text, text), "observation", HEARD)
        for number, m in enumerate(messages, first)
        for text in [remembered(m)]
    ]


def remembered(message: Message) -> str:
    """A message as its recipient remembers it."""
    return f"{message['sender_name']}: {message['text']}"


def sorted_in(
    inbox: Mapping[str, list[Message]], messages: Sequence[Message]
) -> dict[str, list[Message]]:
    """`inbox` with `messages` added, by recipient."""
    filled = dict(inbox)
    for message in messages:
        filled[message["recipient"]] = [*filled.get(message["recipient"], []), message]
    return filled


def _message(
    action: str, sender: str, name: str, recipient: str, text: str, reason: str
) -> Message:
    return Message(
        id=f"{action}>{recipient}",
        sender=sender,
        sender_name=name,
        recipient=recipient,
        text=text,
        reason=reason,
    )


def _delivery(
    scope: Literal["within", "incoming", "outgoing"],
    action: str,
    sender: str,
    choice: Choice,
    ids: Sequence[str],
) -> Delivery:
    return Delivery(
        action=action,
        sender=sender,
        scope=scope,
        recipients=[ids[p] for p in choice.recipients],
        left_out=[ids[p] for p in choice.left_out],
        reason=choice.reason,
        call=choice.call,
    )
