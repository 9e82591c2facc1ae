"""Amendments: what a person put in place of what happened, on record in the journal beside the
calls.

An amendment holds from one turn on: what came before is as it was, and costs nothing to live again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

from matrix_graph.boundary.values import read_json
from matrix_graph.errors import InputError
from matrix_graph.llm.journal import Entry, Journal, clean, entry_for
from matrix_graph.llm.slot import Slot
from matrix_graph.schema import Life, Message

AmendmentKind = Literal["action", "message", "memory", "plan"]

PREFIX = "amend/"


class Amendment(NamedTuple):
    """From step `since` on, `text` is what `agent` did, was told, remembers, or plans.

    `what` names the message by its id, the memory by its `step-number`, the step of the plan by its
    number from 1; an action needs no name. `was` is what a memory said before.
    """

    kind: AmendmentKind
    agent: str
    since: int
    text: str
    what: str = ""
    was: str = ""

    @property
    def slot(self) -> Slot:
        """Its place in the journal; a later amendment of the same thing from the same turn on takes
        it over.
        """
        return Slot(stage="amend", who=self.agent, what=self.kind, part=self.what, step=self.since)

    def entry(self) -> Entry:
        """The amendment as an entry of the journal, which counts as no call."""
        of = {
            "kind": self.kind,
            "agent": self.agent,
            "since": self.since,
            "what": self.what,
            "was": self.was,
        }
        of = {name: clean(value) if isinstance(value, str) else value for name, value in of.items()}
        return replace(entry_for(self.slot, "", of), answer=clean(self.text), finish="edited")


class Amendments:
    """Those of one run; nothing is looked up where there are none.

    Args:
        entries: The journal's, of those slots that begin with `PREFIX`.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._own: dict[str, dict[Slot, Amendment]] = defaultdict(dict)
        for entry in entries:
            self._take(_amendment(entry))

    def __bool__(self) -> bool:
        return bool(self._own)

    async def add(self, amendment: Amendment, journal: Journal) -> None:
        """Put it on record; it holds from the next time that a turn it concerns is taken."""
        await journal.record(amendment.entry())
        self._take(amendment)

    def concern(self, agent: str) -> bool:
        """Whether anything of this agent was amended."""
        return agent in self._own

    def of(self, agent: str, kind: AmendmentKind, step: int) -> list[Amendment]:
        """What holds for the agent at this step, the newest last."""
        amendments = self._own.get(agent, {}).values()
        return sorted(
            (a for a in amendments if a.kind == kind and a.since <= step), key=lambda a: a.since
        )

    def action(self, agent: str, step: int) -> str | None:
        """What the agent did at this step, if that was amended."""
        return next((a.text for a in self.of(agent, "action", step) if a.since == step), None)

    def plan(self, agent: str, life: Life, step: int) -> tuple[str, ...]:
        """The plan of the agent's life as it stands at this step."""
        if not self.concern(agent):
            return tuple(life["plan"])
        changed = [a for a in self.of(agent, "plan", step) if a.since > life["since"]]
        texts = {int(a.what): a.text for a in changed}
        return tuple(texts.get(number, text) for number, text in enumerate(life["plan"], 1))

    def memories(self, agent: str, step: int) -> dict[str, str]:
        """What the amended memories of the agent say at this step, by `step-number`; earlier, what
        they said.
        """
        amendments = sorted(
            (a for a in self._own.get(agent, {}).values() if a.kind == "memory"),
            key=lambda a: a.since,
        )
        texts: dict[str, str] = {}
        for amendment in amendments:
            if amendment.since <= step:
                texts[amendment.what] = amendment.text
            else:
                texts.setdefault(amendment.what, amendment.was)
        return texts

    def messages(self, messages: Sequence[Message]) -> list[Message]:
        """The messages as they were heard in the end."""
        texts = {
            a.what: a.text
            for of_agent in self._own.values()
            for a in of_agent.values()
            if a.kind == "message"
        }
        if not texts:
            return list(messages)
        return [m | {"text": texts.get(m["id"], m["text"])} for m in messages]

    def _take(self, amendment: Amendment) -> None:
        self._own[amendment.agent][amendment.slot] = amendment


def _amendment(entry: Entry) -> Amendment:
    try:
        amendment = Amendment(text=entry.answer, **read_json(entry.request))
    except (ValueError, TypeError) as error:
        raise InputError(f"The journal holds no amendment at {entry.slot[:80]}: {error}") from error
    texts = (amendment.agent, amendment.what, amendment.was)
    if (
        amendment.kind not in get_args(AmendmentKind)
        or type(amendment.since) is not int
        or not all(isinstance(text, str) for text in texts)
    ):
        raise InputError(f"The journal holds no amendment at {entry.slot[:80]}.")
    return amendment
