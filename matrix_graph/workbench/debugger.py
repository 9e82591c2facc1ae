"""Step through what happened in a run: by agent, step and scenario, forwards and back, with breakpoints.

debugger = Debugger(RunRecord(Path("runs/demo")))
debugger.break_on("to", "Ana")
moment = debugger.run()
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from matrix_graph.errors import InputError
from matrix_graph.schema import Action, Delivery, Failure, Message, Persona, Scenario
from matrix_graph.society.state import STEPS
from matrix_graph.workbench.record import RunRecord

BreakKind = Literal["agent", "group", "to", "text", "failure"]
"""Stop when an agent acts, a group does, somebody is told of it, a pattern matches it, or something failed."""


class Moment(NamedTuple):
    """One agent's turn: what it did, or why it did nothing."""

    scenario: Scenario
    agent: str
    step: int
    action: Action | None
    failure: Failure | None

    @property
    def id(self) -> str:
        """The action's id, or that of the call that failed."""
        return self.action["id"] if self.action else str(self.failure and self.failure["who"])


class Break(NamedTuple):
    """A breakpoint."""

    kind: BreakKind
    what: str


class Debugger:
    """Stands at one moment of a run, at first before all of them.

    Moments are in the order of rounds and steps; those of one step happened at the same time.
    """

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.breaks: list[Break] = []
        self.moments = sorted(
            (moment for scenario in record.scenarios for moment in _moments(scenario)),
            key=lambda m: (m.scenario["round"], m.step, m.scenario["group"], m.agent),
        )
        self._at = -1

    @property
    def moment(self) -> Moment | None:
        """Where we stand; None before the first and after the last."""
        return self.moments[self._at] if 0 <= self._at < len(self.moments) else None

    def agent(self, count: int = 1) -> Moment | None:
        """One agent's turn on, or back with a negative count."""
        self._at = min(len(self.moments), max(-1, self._at + count))
        return self.moment

    def step(self) -> Moment | None:
        """On to the next step of the society."""
        return self._until(lambda m, here: m.step != here.step)

    def scenario(self) -> Moment | None:
        """On to the next scenario."""
        return self._until(lambda m, here: m.scenario["id"] != here.scenario["id"])

    def run(self) -> Moment | None:
        """On to the next moment at which a breakpoint holds, or past the end."""
        while (moment := self.agent()) and not any(self._hits(point, moment) for point in self.breaks):
            continue
        return self.moment

    def go(self, name: str) -> Moment:
        """To the moment of an action, or to the first of a scenario.

        Raises:
            InputError: there is none.
        """
        for number, moment in enumerate(self.moments):
            if name in (moment.id, moment.scenario["id"]):
                self._at = number
                return moment
        raise InputError(f"There is no action or scenario {name!r} in {self.record.folder}.")

    def break_on(self, kind: str, what: str = "") -> Break:
        """Add a breakpoint. Agents and recipients go by id or name, groups by id, texts by regular expression.

        Raises:
            InputError: no such kind, or nothing that it could ever stop at.
        """
        if kind not in get_args(BreakKind):
            raise InputError(f"There is no breakpoint {kind!r}; there are {', '.join(get_args(BreakKind))}.")
        if kind in ("agent", "to") and not self.person(what):
            raise InputError(f"Nobody in this run is called {what!r}.")
        if kind == "text":
            try:
                re.compile(what)
            except re.error as error:
                raise InputError(f"{what!r} is no regular expression: {error}") from error
        self.breaks.append(Break(kind, what))  # type: ignore[arg-type]
        return self.breaks[-1]

    def person(self, name: str) -> Persona | None:
        """Who has this id or name."""
        members = [member for group in self.record.groups for member in group.members]
        return next((m for m in members if name in (m.id, m.name)), None)

    def inbox(self, moment: Moment) -> list[Message]:
        """What had reached the agent since its last turn in the scenario, as far as it is on record there."""
        before = {a["id"] for a in moment.scenario["actions"] if a["step"] == moment.step - 1}
        first = moment.step % STEPS == 0
        return [
            message
            for message in moment.scenario.get("messages", [])
            if message["recipient"] == moment.agent
            and (_origin(message) in before or (first and _origin(message) not in _own(moment.scenario)))
        ]

    def delivery(self, moment: Moment) -> Delivery | None:
        """Who became aware of the action, who was left out, and why."""
        found = [
            d for d in moment.scenario.get("deliveries", []) if moment.action and d["action"] == moment.action["id"]
        ]
        return next((d for d in found if d["scope"] == "within"), None)

    def _until(self, passed: Callable[[Moment, Moment], bool]) -> Moment | None:
        here = self.moment
        if here is None:
            return self.agent()
        while (moment := self.agent()) and not passed(moment, here):
            continue
        return self.moment

    def _hits(self, point: Break, moment: Moment) -> bool:
        if point.kind == "failure":
            return moment.failure is not None
        if point.kind == "group":
            return moment.scenario["group"] == point.what
        person = self.person(point.what)
        if point.kind == "agent":
            return person is not None and moment.agent == person.id
        if moment.action is None:
            return False
        if point.kind == "to":
            return person is not None and person.id in moment.action["recipients"]
        return bool(re.search(point.what, moment.action["text"]))


def _moments(scenario: Scenario) -> list[Moment]:
    acted = [Moment(scenario, a["agent"], a["step"], a, None) for a in scenario["actions"]]
    failed = [
        Moment(scenario, f["who"].rpartition("/")[2], _step(f["who"], scenario), None, f)
        for f in scenario.get("failures", [])
        if f["stage"] == "act"
    ]
    return [*acted, *failed]


def _step(slot: str, scenario: Scenario) -> int:
    found = re.search(r"/s(\d+)/", slot)
    return scenario["round"] * STEPS + (int(found.group(1)) if found else 0)


def _origin(message: Message) -> str:
    return message["id"].split(">")[0]


def _own(scenario: Scenario) -> set[str]:
    return {action["id"] for action in scenario["actions"]}
