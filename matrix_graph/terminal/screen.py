"""The debugger on a terminal: a line is a command."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from matrix_graph.debugger.branch import asked_anew, diff_runs, preference_pair
from matrix_graph.debugger.changes import CallEdit, Change
from matrix_graph.debugger.debugger import Debugger
from matrix_graph.errors import InputError, MatrixError
from matrix_graph.export.files import read_json_lines, write_json_lines
from matrix_graph.llm.budget import Price, list_price
from matrix_graph.llm.journal import clean
from matrix_graph.terminal.look import Look
from matrix_graph.terminal.trace import printable

HELP = {
    "next [N]": "the next agent's turn, or N on (n)",
    "step, scenario": "the next step of the society (s); the next scenario",
    "continue": "on to the next breakpoint (c)",
    "finish": "on to the end, past all breakpoints",
    "back [N]": "back one turn, or N",
    "go ID, where": "to an action or a scenario; the turn where we stand",
    "break KIND WHAT": "stop when: agent NAME, group ID, to NAME, text PATTERN, failure (b)",
    "breaks, clear": "list the breakpoints; remove them",
    "people": "who lives in which group",
    "who [NAME]": "profile, temper, goal and plan of this agent or another",
    "inbox": "what had reached the agent",
    "memories [all]": "what came to its mind, with relevance, recency and importance; all it remembers",
    "calls [PREFIX]": "the places of calls, those of this turn and its group's step by default",
    "prompt, answer [SLOT]": "the exact call and its answer, model, tokens and cost",
    "why": "who became aware of the action, who was left out, and the modulator's reason",
    "edit TEXT": "the agent does TEXT instead",
    "edit-memory ID TEXT": "it remembers TEXT from this turn on; memories all lists the ids",
    "edit-message ID TEXT": "it was told TEXT; inbox lists the ids",
    "edit-plan N TEXT": "step N of its plan is TEXT from this turn on",
    "edit-call SLOT TEXT": "any call answers TEXT: who becomes aware, a summary, a persona; answer shows its form",
    "fork EDIT": "any of these edits in a branch, where a run under way would take it over itself",
    "branches, switch [N]": "list them; over to the other one, or to N (0 is the run itself)",
    "diff": "the actions that differ between here and the other, as far as both have come",
    "pair [other]": "keep this turn of the two as a preference pair: the one here chosen, or the other's",
    "quit": "leave; a run under way stops and can be resumed (Ctrl-D)",
}
SHORT = {"n": "next", "s": "step", "c": "continue", "b": "break"}


class Screen:
    """Reads commands and shows moments of one run, over or under way, and of branches of it.

    Args:
        folder: Where branches and pairs go.
        price: US dollars per million tokens of a model, where they are known.
    """

    def __init__(
        self,
        debugger: Debugger,
        folder: Path,
        out: Console,
        price: Callable[[str], Price | None] = list_price,
    ) -> None:
        self.debugger = debugger
        self.other: Debugger | None = None
        self._all = [debugger]
        self._folder = folder
        self._out = out
        self._look = Look(debugger, out, price)
        self._edits: dict[str, Callable[[str], Change]] = {
            "edit": lambda said: self.debugger.change("action", said),
            "edit-memory": lambda said: self.debugger.change("memory", *reversed(_parted(said))),
            "edit-message": lambda said: self.debugger.change("message", *reversed(_parted(said))),
            "edit-plan": lambda said: self.debugger.change("plan", *reversed(_parted(said))),
            "edit-call": lambda said: CallEdit(*_parted(said)),
        }
        self._commands: dict[str, Callable[[str], None]] = {
            "next": lambda said: self._look.turn(self.debugger.agent(_number(said))),
            "back": lambda said: self._look.turn(self.debugger.agent(-_number(said))),
            "step": lambda _: self._look.turn(self.debugger.step()),
            "scenario": lambda _: self._look.turn(self.debugger.scenario()),
            "continue": lambda _: self._look.turn(self.debugger.run()),
            "finish": lambda _: self._finish(),
            "go": lambda said: self._look.turn(self.debugger.go(said)),
            "where": lambda _: self._look.turn(self.debugger.here),
            "break": self._break,
            "breaks": lambda _: self._breaks(),
            "clear": lambda _: self._clear(),
            "people": lambda _: self._look.people(),
            "who": self._look.who,
            "inbox": lambda _: self._look.inbox(),
            "memories": self._look.memories,
            "calls": self._look.calls,
            "prompt": self._look.prompt,
            "answer": self._look.answer,
            "why": lambda _: self._look.why(),
            **{name: self._editing(name) for name in self._edits},
            "fork": self._fork,
            "branches": lambda _: self._branches(),
            "switch": self._switch,
            "diff": lambda _: self._diff(),
            "pair": self._pair,
            "help": lambda _: self._help(),
        }

    def loop(self) -> None:
        """Until the user leaves."""
        with suppress(ImportError):  # where there is none, lines are typed without it
            import readline  # noqa: F401 (with it, input() edits lines and remembers them)

        self._look.say(self.debugger.of.name, "help lists what to type")
        while True:
            try:
                line = input("(matrix) ")
            except KeyboardInterrupt:
                self._out.print()
                continue
            except (EOFError, RuntimeError):  # the latter where there is no standard input
                break
            if line.strip() in ("quit", "q", "exit"):
                break
            self.do(clean(line))
        for branch in self._all[1:]:
            branch.close()

    def do(self, line: str) -> None:
        """One command; what cannot be done is told. A command may be cut short where it is clear
        which is meant.
        """
        word, _, said = line.strip().partition(" ")
        if not word:
            return
        word = SHORT.get(word, word)
        found = [n for n in self._commands if n == word] or [
            n for n in self._commands if n.startswith(word)
        ]
        if len(found) != 1:
            self._look.say(
                "which?" if found else "no such command",
                f"{', '.join(found) or word}; help lists them",
            )
            return
        try:
            self._commands[found[0]](said.strip())
        except MatrixError as error:
            self._look.say("!", str(error))
        except KeyboardInterrupt:
            self._look.say("·", "the run is held at its next turn, if there is one: next")

    def _break(self, said: str) -> None:
        point = self.debugger.break_on(*_parted(said))
        self._look.say(
            "break", f"{point.kind} {self._look.name(point.agent) if point.agent else point.what}"
        )

    def _breaks(self) -> None:
        for point in self.debugger.breaks:
            self._look.say(point.kind, point.what)

    def _clear(self) -> None:
        self.debugger.breaks.clear()
        self._look.say("·", "no breakpoints")

    def _editing(self, name: str) -> Callable[[str], None]:
        def edit(said: str) -> None:
            change = self._edits[name](said)
            if isinstance(change, CallEdit) or not self.debugger.held:
                self._branch_off(change)
            else:
                self._look.turn(self.debugger.amend(change))
                self._look.say(
                    "·", "the run itself goes on with that; fork EDIT would have kept the two apart"
                )

        return edit

    def _fork(self, said: str) -> None:
        name, text = _parted(said)
        if name not in self._edits:
            raise InputError(f"Name an edit: fork {next(iter(self._edits))} TEXT")
        self._branch_off(self._edits[name](text))

    def _branch_off(self, change: Change) -> None:
        number = 1
        while (out := Path(f"{self._folder}-branch-{number}")).exists():
            number += 1
        self.other = self.debugger.fork(change, out)
        self._all.append(self.other)
        self._look.say("branch", f"{out}; diff compares, switch goes over to it")
        self._look.at(self.other)

    def _branches(self) -> None:
        for number, debugger in enumerate(self._all):
            mark = (
                "here"
                if debugger is self.debugger
                else "the other"
                if debugger is self.other
                else ""
            )
            state = debugger.of.ended or "under way"
            self._look.say(
                str(number), f"{debugger.of.name}, {state}{f' ({mark})' if mark else ''}"
            )

    def _switch(self, said: str) -> None:
        if said and not (said.isdecimal() and int(said) < len(self._all)):
            raise InputError(f"There is no branch {said!r}; branches lists them.")
        to = self._all[int(said)] if said else self._beside()
        if to is not self.debugger:
            self.debugger, self.other = to, self.debugger
        self._look.debugger = self.debugger
        self._look.say(self.debugger.of.name, "we are here now")
        if self.debugger.moment:
            self._look.turn(self.debugger.moment)

    def _finish(self) -> None:
        name = self.debugger.of.name
        with self._out.status(f"{escape(name)} goes on to its end; Ctrl-C holds it"):
            self.debugger.finish()
        self._look.say(
            name, f"{self.debugger.of.ended or 'at its end'}; {len(self.debugger.moments)} turns"
        )

    def _diff(self) -> None:
        here, there = self.debugger.of, self._beside().of
        found = diff_runs(here, there)
        table = Table(
            "action", escape(printable(here.name)), escape(printable(there.name)), show_lines=True
        )
        for difference in found:
            sides = (a["text"] if a else "(nothing)" for a in (difference.here, difference.there))
            table.add_row(difference.id, *(Text(printable(side)) for side in sides))
        self._out.print(table if found else "no action differs")
        if not (here.over and there.over):
            self._look.say("·", "as far as both have come; switch and finish take one to its end")
        self._look.say(
            "calls", f"{asked_anew(here, there)} of {there.name} are not on record in {here.name}"
        )

    def _pair(self, said: str) -> None:
        if said not in ("", "other"):
            raise InputError("pair keeps the one here as chosen, pair other the other's.")
        here, there = self.debugger, self._beside()
        row = preference_pair(here.of, there.of, here.here.id, chosen_there=said == "other")
        path = self._folder / "pairs.jsonl"
        others = [r for r in read_json_lines(path) if r["id"] != row["id"]]
        write_json_lines(path, [*others, row])
        self._look.say(
            "pair",
            f"{row['id']} in {path}; chosen is what happened in "
            f"{(there if said else here).of.name}",
        )

    def _help(self) -> None:
        table = Table(show_header=False, box=None)
        for command, told in HELP.items():
            table.add_row(Text(command, "bold"), told)
        self._out.print(table)

    def _beside(self) -> Debugger:
        if self.other is None:
            raise InputError(
                "There is no branch yet: edit TEXT, or fork edit TEXT where the run is held"
            )
        return self.other


def _number(said: str) -> int:
    if said and not said.isdecimal():
        raise InputError(f"{said!r} is no number of turns.")
    return int(said or 1)


def _parted(said: str) -> tuple[str, str]:
    first, _, rest = said.partition(" ")
    return first, rest.strip()
