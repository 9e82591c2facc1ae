"""Step through a run, one that is over or one that is under way: by agent, step and scenario,
forwards and back.

debugger = Debugger(RunRecord(Path("runs/demo")))
debugger.break_on("to", "Ana")
moment = debugger.run()
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel

from matrix_graph.amendments import PREFIX, Amendment, AmendmentKind, Amendments
from matrix_graph.context import Context
from matrix_graph.debugger.branch import Past, live_branch
from matrix_graph.debugger.breakpoints import Break, breakpoint_on, hits
from matrix_graph.debugger.changes import Change
from matrix_graph.debugger.live import Live, Stop, at_every_turn, nowhere
from matrix_graph.debugger.sources import LiveGraph
from matrix_graph.errors import InputError
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.moments import Moment, delivery_of, inbox_of, life_at
from matrix_graph.runs.record import RunRecord
from matrix_graph.schema import Delivery, Group, Life, Message, Persona
from matrix_graph.society.own_agents import PERSON

SHOWN = 12
"""People who are named where a name is not clear."""


class Debugger:
    """Stands at one moment of a run, at first before all of them.

    Moments of a run that is over are in the order of rounds and steps; those of one step happened
    at the same time. Those of a run under way are in the order in which they happen: going past the
    last lets the run go on, in a thread of its own, so that all methods are plain ones, in
    notebooks too.

    Args:
        of: A run's record, a `Live` run, or a compiled graph that holds a society.
        given, context, config: With a graph: what would be `graph.ainvoke(given, config,
            context=context)`.
        groups: With a graph: those of its society.
    """

    def __init__(
        self,
        of: RunRecord | Live | Pregel[Any, Any, Any, Any],
        given: Any = None,
        *,
        groups: Sequence[Group] = (),
        context: Context | None = None,
        config: RunnableConfig | None = None,
    ) -> None:
        if isinstance(of, Pregel):
            if context is None or not groups:
                raise InputError("With a graph give its context= and the groups= of its society.")
            of = LiveGraph(of, given, groups=groups, context=context, config=config)
        self.of: Past = of
        self.breaks: list[Break] = []
        self._live = of if isinstance(of, Live) else None
        self._at = len(self.moments) - 1 if self._live else -1

    def __repr__(self) -> str:
        where = repr(self.moment) if self.moment else "before the first turn or after the last"
        return f"<Debugger at turn {self._at + 1} of {len(self.moments)}: {where}>"

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def moments(self) -> Sequence[Moment]:
        """The turns, so far."""
        return self.of.moments

    @property
    def moment(self) -> Moment | None:
        """Where we stand; None before the first and after the last."""
        return self.moments[self._at] if 0 <= self._at < len(self.moments) else None

    @property
    def here(self) -> Moment:
        """Where we stand.

        Raises:
            InputError: before the first turn or after the last.
        """
        if self.moment is None:
            raise InputError("Go to a turn first: next")
        return self.moment

    @property
    def held(self) -> bool:
        """Whether we stand at a turn that was just taken in a run under way, so that it can be
        amended.
        """
        return self._at_hold and self._live is not None and self._live.amendable

    @property
    def _at_hold(self) -> bool:
        held = self._live.held if self._live else None
        return held is not None and self.moment is not None and _place(held) == _place(self.moment)

    @property
    def before(self) -> bool:
        """Whether we stand before the first turn."""
        return self._at < 0

    @property
    def over(self) -> bool:
        """Whether the run is at its end."""
        return self.of.over

    def agent(self, count: int = 1) -> Moment | None:
        """One agent's turn on, or back with a negative count."""
        wanted = max(-1, self._at + count)
        if count > 0 and self._live and self._live.loose:
            self._let_go(at_every_turn)
        while wanted >= len(self.moments) and self._let_go(at_every_turn):
            continue
        self._at = min(wanted, len(self.moments))
        return self.moment

    def step(self) -> Moment | None:
        """On to the next step of the society."""
        return self._until(lambda m, here: m.step > here.step)

    def scenario(self) -> Moment | None:
        """On to the next scenario."""
        return self._until(lambda m, here: m.scenario["id"] != here.scenario["id"])

    def run(self) -> Moment | None:
        """On to the next moment at which a breakpoint holds, or past the end."""
        for number in range(self._at + 1, 0 if self._at_hold else len(self.moments)):
            if any(hits(point, self.moments[number]) for point in self.breaks):
                self._at = number
                return self.moment
        moment = self._let_go(self._stops)
        self._at = len(self.moments) if moment is None else _index(self.moments, moment)
        return self.moment

    def finish(self) -> None:
        """On to the end, whatever the breakpoints."""
        while self._let_go(nowhere):
            continue
        self._at = len(self.moments)

    def close(self) -> None:
        """Stop a run under way; what was answered is kept, and a run in a folder can be resumed."""
        if self._live:
            self._live.close()

    def go(self, name: str) -> Moment:
        """To the moment of an action, or to the first of a scenario.

        Raises:
            InputError: there is none.
        """
        for number, moment in enumerate(self.moments):
            if name in (moment.id, moment.scenario["id"]):
                self._at = number
                return moment
        known = f"; there is {self.moments[0].id}, for one" if self.moments else ""
        raise InputError(f"There is no action or scenario {name!r} in {self.of.name}{known}.")

    def break_on(self, kind: str, what: str = "") -> Break:
        """Add a breakpoint. Agents and recipients go by id or name, groups by id, texts by regular
        expression.

        Raises:
            InputError: no such kind, or nothing that it could ever stop at.
        """
        agent = self.person(what).id if kind in ("agent", "to") else ""
        self.breaks.append(breakpoint_on(kind, what, agent, [group.id for group in self.of.groups]))
        return self.breaks[-1]

    def change(self, kind: AmendmentKind, text: str, what: str = "") -> Amendment:
        """An amendment of this turn: what the agent does, or was told, remembers or plans from here
        on.

        Args:
            what: The message's id, the memory's `step-number`, or the number of the plan's step.

        Raises:
            InputError: there is no such thing here, or no text.
        """
        moment = self.here
        known = {
            "action": [""],
            "message": [message["id"] for message in self.inbox(moment)],
            "memory": [
                name for name, m in self.of.memories(moment.agent).items() if m.step < moment.step
            ],
            "plan": self._steps_ahead(moment),
        }
        if kind not in known:
            raise InputError(f"There is no change of {kind!r}; there are {', '.join(known)}.")
        if what not in known[kind]:
            raise InputError(
                f"There is no {kind} {what!r} here; there are {', '.join(known[kind]) or 'none'}."
            )
        if not text.strip():
            raise InputError("A change needs text.")
        change = Amendment(kind, moment.agent, moment.step, text, what)
        if kind != "memory":
            return change
        before = next(
            (
                a.was
                for a in self.amendments().of(moment.agent, kind, moment.step)
                if a.slot == change.slot
            ),
            "",
        )
        return change._replace(was=before or self.of.memories(moment.agent)[what].text)

    def life(self, person: Persona, step: int) -> Life:
        """What somebody lived for at a step."""
        return life_at(person, self.of.scenarios, step)

    def _steps_ahead(self, moment: Moment) -> list[str]:
        """The numbers of the plan's steps; none in the turn in which the plan was written."""
        life = self.life(self.person(moment.agent), moment.step)
        numbers = range(1, len(life["plan"]) + 1) if life["since"] < moment.step else ()
        return [str(number) for number in numbers]

    def amend(self, change: Amendment) -> Moment:
        """Change the turn at which a run under way is held, and stand at it as it is then taken.

        Raises:
            InputError: we stand elsewhere (`fork` there), or offline, where it cannot be taken
                again.
        """
        if self._live is None or not self.held:
            raise InputError("This turn is past; fork the run here to change it.")
        entry = self.of.call(self.here.call)
        if change.kind != "action" and entry and entry.model == PERSON:
            raise InputError("A person plays this agent, and is not asked twice; edit the action.")
        place = _place(self.here)
        held = self._live.amend(change)
        if held is None or _place(held) != place:
            why = (
                self.of.ended or "what it leads to is not on record, and offline no model is asked"
            )
            raise InputError(f"The turn could not be taken again: {why}.")
        return self.here

    def fork(self, change: Change, out: str | Path, *, models: RunConfig | None = None) -> Debugger:
        """A branch from here with a change in it, in a folder of its own; of a graph, with a
        journal of its own in the file `out`. Nothing is asked again up to the change.

        Args:
            models: Of a run that is over, a configuration that holds its models, where those were
                objects.

        Returns:
            A debugger that stands at the same turn in the branch, which is under way; or at its
            end, if the change took that turn away.
        """
        there = Debugger(live_branch(self.of, change, out, models))
        if self.moment and there._live:
            place = _place(self.moment)
            try:
                there._live.go_on(lambda moment, known: not known and _place(moment) == place)
            except BaseException:
                there.close()
                raise
            there._at = next(
                (n for n, m in enumerate(there.moments) if _place(m) == place), len(there.moments)
            )
        return there

    def person(self, name: str) -> Persona:
        """Who has this id or name, or part of the name where only one has.

        Raises:
            InputError: nobody, or several.
        """
        members = [member for group in self.of.groups for member in group.members]
        exact = [m for m in members if name in (m.id, m.name)]
        matching = exact or [m for m in members if name and name.lower() in m.name.lower()]
        if len(matching) != 1:
            if not members:
                raise InputError("There is nobody yet; go to the first turn.")
            named = [m.name for m in matching or members]
            known = ", ".join(named[:SHOWN]) + (" …" if len(named) > SHOWN else "")
            raise InputError(
                f"{'Several people are' if matching else 'Nobody in this run is'} called {name!r}: "
                f"{known}."
            )
        return matching[0]

    def amendments(self) -> Amendments:
        """What was amended in this run."""
        return Amendments(self.of.entries(PREFIX))

    def inbox(self, moment: Moment) -> list[Message]:
        """What had reached the agent since its last turn in the scenario, as far as it is on record
        there.
        """
        messages = inbox_of(moment)
        return self.amendments().messages(messages) if messages else []

    def delivery(self, moment: Moment) -> Delivery | None:
        """Who became aware of the action, who was left out, and why."""
        return delivery_of(moment)

    def _until(self, passed: Callable[[Moment, Moment], bool]) -> Moment | None:
        here = self.moment
        if here is None:
            return self.agent()
        while (moment := self.agent()) and not passed(moment, here):
            continue
        return self.moment

    def _let_go(self, until: Stop) -> Moment | None:
        try:
            return self._live.go_on(until) if self._live else None
        except KeyboardInterrupt:
            self._at = len(self.moments) - 1
            raise

    def _stops(self, moment: Moment, *, known: bool) -> bool:
        return any(hits(point, moment) for point in self.breaks if (point.kind == "to") == known)


def _place(moment: Moment) -> tuple[str, str, int]:
    return moment.scenario["id"], moment.agent, moment.step


def _index(moments: Sequence[Moment], moment: Moment) -> int:
    return next(number for number, other in enumerate(moments) if _place(other) == _place(moment))
