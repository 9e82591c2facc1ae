"""What is to be seen at one moment of a run, on a terminal: all of it is text, whatever people and
models wrote.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.table import Table
from rich.text import Text

from matrix_graph.boundary.screen import TextConsole
from matrix_graph.debugger.debugger import Debugger
from matrix_graph.errors import InputError
from matrix_graph.llm.budget import Price
from matrix_graph.llm.journal import Entry
from matrix_graph.llm.usage import Usage
from matrix_graph.runs.moments import Moment
from matrix_graph.runs.record import asked
from matrix_graph.society.state import STEPS


class Look:
    """Shows where `debugger` stands, which may be another one in time.

    Args:
        price: US dollars per million tokens of a model, where they are known.
    """

    def __init__(
        self, debugger: Debugger, out: TextConsole, price: Callable[[str], Price | None]
    ) -> None:
        self.debugger = debugger
        self._out = out
        self._price = price

    def say(self, label: str, text: str) -> None:
        """A line with its label."""
        self._out.print(said(label, text), soft_wrap=not self._out.is_terminal)

    def at(self, debugger: Debugger) -> None:
        """The turn at which another debugger stands."""
        here, self.debugger = self.debugger, debugger
        try:
            self.turn(debugger.moment)
        finally:
            self.debugger = here

    def turn(self, moment: Moment | None) -> None:
        """Who acted where, and what they did."""
        if moment is None:
            self._no_turn()
            return
        place = f"{moment.scenario['id']}, step {moment.step % STEPS}"
        name = self.name(moment.agent)
        if moment.action is None:
            self.say(f"{name} · {place} · failed", str(moment.failure and moment.failure["reason"]))
            return
        why = "reacts" if moment.action["trigger"] == "reaction" else "plan"
        self.say(f"{name} · {place} · {why} · {moment.id}", moment.action["text"])

    def people(self) -> None:
        """Who lives in which group."""
        for group in self.debugger.of.groups:
            self.say(
                group.id, ", ".join(f"{member.name} ({member.id})" for member in group.members)
            )

    def who(self, name: str) -> None:
        """Profile, temper, goal and plan of the agent here, or of another."""
        person = self.debugger.person(name or self.debugger.here.agent)
        moment = self.debugger.moment
        step = moment.step if moment else 0
        life = self.debugger.life(person, step)
        plan = self.debugger.amendments().plan(person.id, life, step)
        for label, text in (
            (person.name, person.profile.description),
            ("temper", person.personality),
            ("wants", life["goal"]),
            *((f"plan {number}", step) for number, step in enumerate(plan, 1)),
            *(("posted", post) for post in person.profile.posts),
        ):
            self.say(label, text)

    def inbox(self) -> None:
        """What had reached the agent."""
        messages = self.debugger.inbox(self.debugger.here)
        for message in messages:
            way = message.get("way") or "heard"
            self.say(
                f"{message['sender_name']} · {message['id']}",
                f"{message['text']}  ({way}; because: {message['reason']})",
            )
        if not messages:
            self.say("·", "nothing had reached them")

    def memories(self, which: str = "") -> None:
        """What came to the agent's mind, with its scores; or `all` that it remembered then."""
        moment = self.debugger.here
        known = self.debugger.of.memories(moment.agent)
        if which == "all":
            for name, memory in known.items():
                if memory.step < moment.step:
                    self.say(name, memory.text)
            return
        recalled = moment.action.get("recalled", []) if moment.action else []
        table = Table("memory", "score", "relevance", "recency", "importance", "text", box=None)
        for recollection in recalled:
            text = known[recollection["memory"]].text if recollection["memory"] in known else ""
            scores = (
                f"{recollection[name]:.2f}"
                for name in ("score", "relevance", "recency", "importance")
            )
            table.add_row(recollection["memory"], *scores, Text(text))
        self._out.print(table)

    def calls(self, prefix: str) -> None:
        """The places of the calls that begin so; of the turn here, and of its group at its step, by
        default.
        """
        if prefix:
            calls = [entry for entry in self.debugger.of.entries() if entry.slot.startswith(prefix)]
        else:
            moment = self.debugger.here
            names = (moment.agent, moment.scenario["group"])
            place = f"society/r{moment.scenario['round']}/s{moment.step % STEPS}/"
            entries = self.debugger.of.entries()
            calls = [
                e
                for e in entries
                if e.slot.startswith(place) and e.slot[len(place) :].startswith(names)
            ]
        for entry in calls:
            self.say(entry.slot, f"{entry.finish} · {self._used(entry)}")
        if not calls:
            self.say("·", "there are none")

    def prompt(self, slot: str = "") -> None:
        """The exact call."""
        entry = self._entry(slot)
        for message in asked(entry):
            self.say(message["role"], message["content"])
        self.say("call", f"{entry.slot} · {self._used(entry)}")

    def answer(self, slot: str = "") -> None:
        """Its answer."""
        entry = self._entry(slot)
        self.say(
            f"{entry.slot} · {entry.finish} · {entry.seconds:.1f} s · {self._used(entry)}",
            entry.answer,
        )

    def why(self) -> None:
        """Who became aware of the action, who was left out, and why."""
        delivery = self.debugger.delivery(self.debugger.here)
        if delivery is None:
            state = "nothing is on record of" if self.debugger.of.over else "it is not yet decided"
            self.say("·", f"{state} who becomes aware of it")
            return
        self.say("told", ", ".join(map(self.name, delivery["recipients"])) or "nobody")
        self.say("left out", ", ".join(map(self.name, delivery["left_out"])) or "nobody")
        self.say("because", f"{delivery['reason']}  ({delivery['call']})")

    def name(self, agent: str) -> str:
        """What the agent is called."""
        return next(
            (m.name for group in self.debugger.of.groups for m in group.members if m.id == agent),
            agent,
        )

    def _no_turn(self) -> None:
        ended = self.debugger.of.ended
        if self.debugger.before:
            self.say("·", "before the first turn")
        elif ended is None or ended.over:
            self.say("·", f"past the last turn{f' ({ended})' if ended else ''}; back shows it")
        else:
            self.say("·", f"no more turns ({ended}); quit, and go on with --resume")

    def _entry(self, slot: str) -> Entry:
        place = slot or self.debugger.here.call
        entry = self.debugger.of.call(place)
        if entry is None:
            raise InputError(f"There is no call at {place!r} on record; calls lists their places.")
        return entry

    def _used(self, entry: Entry) -> str:
        price = self._price(entry.model)
        cost = (
            f" · {price.cost(Usage(1, entry.input_tokens, entry.output_tokens)):.6f} USD"
            if price
            else ""
        )
        return f"{entry.model} · {entry.input_tokens} + {entry.output_tokens} tokens{cost}"


def said(label: str, text: str) -> Text:
    """A text with its label, both as they may go to a terminal."""
    return Text.assemble((f"{label}  ", "bold cyan"), text)
