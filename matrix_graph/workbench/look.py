"""What is to be seen at one moment of a run, on a terminal: all of it is text, whatever people and models wrote."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from matrix_graph.errors import InputError
from matrix_graph.llm.budget import Price
from matrix_graph.llm.journal import Entry
from matrix_graph.workbench.debugger import Debugger
from matrix_graph.workbench.moments import Moment
from matrix_graph.workbench.record import asked
from matrix_graph.workbench.trace import printable


class Look:
    """Shows where `debugger` stands, which may be another one in time.

    Args:
        price: US dollars per million tokens of a model, where they are known.
    """

    def __init__(self, debugger: Debugger, out: Console, price: Callable[[str], Price | None]) -> None:
        self.debugger = debugger
        self._out = out
        self._price = price

    def say(self, label: str, text: str) -> None:
        """A line with its label."""
        self._out.print(said(label, text), soft_wrap=not self._out.is_terminal)

    def turn(self, moment: Moment | None) -> None:
        """Who acted where, and what they did."""
        if moment is None:
            over = self.debugger.over and self.debugger.of.ended
            self.say("·", f"no more turns this way ({over})" if over else "no more turns this way")
            return
        place = f"{moment.scenario['id']}, step {moment.step}"
        name = self.name(moment.agent)
        if moment.action is None:
            self.say(f"{name} · {place} · failed", str(moment.failure and moment.failure["reason"]))
            return
        why = "reacts" if moment.action["trigger"] == "reaction" else "plan"
        self.say(f"{name} · {place} · {why} · {moment.id}", moment.action["text"])

    def who(self, name: str) -> None:
        """Profile, temper, goal and plan of the agent here, or of another."""
        person = self.debugger.person(name or self.debugger.here.agent)
        if person is None:
            raise InputError(f"Nobody in this run is called {name!r}.")
        for label, text in (
            (person.name, person.profile.description),
            ("temper", person.personality),
            ("wants", person.goal),
            *((f"plan {number}", step) for number, step in enumerate(person.plan, 1)),
            *(("posted", post) for post in person.profile.posts),
        ):
            self.say(label, text)

    def inbox(self) -> None:
        """What had reached the agent."""
        messages = self.debugger.inbox(self.debugger.here)
        for message in messages:
            self.say(
                f"{message['sender_name']} · {message['id']}", f"{message['text']}  (because: {message['reason']})"
            )
        if not messages:
            self.say("·", "nothing had reached them")

    def memories(self) -> None:
        """What came to the agent's mind, with its scores."""
        moment = self.debugger.here
        known = self.debugger.of.memories(moment.agent)
        recalled = moment.action.get("recalled", []) if moment.action else []
        table = Table("memory", "score", "relevance", "recency", "importance", "text", box=None)
        for found in recalled:
            memory = known.get(found["memory"])
            scores = (f"{found[name]:.2f}" for name in ("score", "relevance", "recency", "importance"))
            table.add_row(found["memory"], *scores, Text(printable(memory.text if memory else "")))
        self._out.print(table)

    def prompt(self) -> None:
        """The exact call."""
        entry = self.entry()
        for message in asked(entry):
            self.say(message["role"], message["content"])
        self.say("call", f"{entry.slot} · {self._used(entry)}")

    def answer(self) -> None:
        """Its answer."""
        entry = self.entry()
        self.say(f"{entry.slot} · {entry.finish} · {entry.seconds:.1f} s · {self._used(entry)}", entry.answer)

    def why(self) -> None:
        """Who became aware of the action, who was left out, and why."""
        delivery = self.debugger.delivery(self.debugger.here)
        if delivery is None:
            self.say("·", "nothing is on record of who became aware of it")
            return
        self.say("told", ", ".join(map(self.name, delivery["recipients"])) or "nobody")
        self.say("left out", ", ".join(map(self.name, delivery["left_out"])) or "nobody")
        self.say("because", f"{delivery['reason']}  ({delivery['call']})")

    def name(self, agent: str) -> str:
        """What the agent is called."""
        person = self.debugger.person(agent)
        return person.name if person else agent

    def entry(self) -> Entry:
        """The call behind the moment.

        Raises:
            InputError: no model was asked.
        """
        slot = self.debugger.here.call
        entry = self.debugger.of.call(slot)
        if entry is None:
            raise InputError(f"The call behind this turn is not on record ({slot or 'an agent of your own'}).")
        return entry

    def _used(self, entry: Entry) -> str:
        price = self._price(entry.model)
        cost = f" · {price.cost(entry.input_tokens, entry.output_tokens):.6f} USD" if price else ""
        return f"{entry.model} · {entry.input_tokens} + {entry.output_tokens} tokens{cost}"


def said(label: str, text: str) -> Text:
    """A text with its label, both as they may go to a terminal."""
    return Text.assemble((f"{printable(label)}  ", "bold cyan"), printable(text))
