"""The debugger on a terminal: a line is a command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from matrix_graph.errors import InputError, MatrixError
from matrix_graph.export.files import read_json_lines, write_json_lines
from matrix_graph.llm.budget import Price, price_of
from matrix_graph.workbench.branch import asked_anew, diff_runs, preference_pair
from matrix_graph.workbench.changes import CallEdit, Change
from matrix_graph.workbench.debugger import Debugger
from matrix_graph.workbench.look import Look
from matrix_graph.workbench.trace import printable

HELP = {
    "next [N]": "the next agent's turn, or N on",
    "step": "the next step of the society",
    "scenario": "the next scenario",
    "continue": "on to the next breakpoint",
    "finish": "on to the end",
    "back [N]": "back one turn, or N",
    "go ID": "to an action or a scenario",
    "break KIND WHAT": "stop when: agent NAME, group ID, to NAME, text PATTERN, failure",
    "breaks, clear": "list the breakpoints; remove them",
    "who [NAME]": "profile, temper, goal and plan of this agent or another",
    "inbox": "what had reached the agent",
    "memories": "what came to its mind, with relevance, recency and importance",
    "prompt, answer": "the exact call and its answer, model, tokens and cost",
    "why": "who became aware of the action, who was left out, and the modulator's reason",
    "edit TEXT": "the agent does TEXT instead",
    "edit-memory ID TEXT": "it remembers TEXT from this turn on; memories lists the ids",
    "edit-message ID TEXT": "it was told TEXT; inbox lists the ids",
    "edit-plan N TEXT": "step N of its plan is TEXT from this turn on",
    "edit-call SLOT TEXT": "any call answers TEXT: who becomes aware, a summary, a persona",
    "fork EDIT": "any of these edits in a branch, where a run under way would take it over itself",
    "switch": "over to the branch, and back",
    "diff": "the actions that differ between the two",
    "pair [branch]": "keep this turn of the two as a preference pair: the one here chosen, or the branch's",
    "quit": "leave; a run under way stops and can be resumed",
}


class Screen:
    """Reads commands and shows moments of one run, over or under way, and of a branch of it.

    Args:
        folder: Where branches and pairs go.
        price: US dollars per million tokens of a model, where they are known.
    """

    def __init__(
        self, debugger: Debugger, folder: Path, out: Console, price: Callable[[str], Price | None] = price_of
    ) -> None:
        self.debugger = debugger
        self.branch: Debugger | None = None
        self._branches: list[Debugger] = []
        self._folder = folder
        self._out = out
        self._price = price
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
            "finish": lambda _: self._finish(self.debugger),
            "go": lambda said: self._look.turn(self.debugger.go(said)),
            "break": self._break,
            "breaks": lambda _: self._breaks(),
            "clear": lambda _: self.debugger.breaks.clear(),
            "who": self._look.who,
            "inbox": lambda _: self._look.inbox(),
            "memories": lambda _: self._look.memories(),
            "prompt": lambda _: self._look.prompt(),
            "answer": lambda _: self._look.answer(),
            "why": lambda _: self._look.why(),
            **{name: self._editing(name) for name in self._edits},
            "fork": self._fork,
            "switch": lambda _: self._switch(),
            "diff": lambda _: self._diff(),
            "pair": self._pair,
            "help": lambda _: self._help(),
        }

    def loop(self) -> None:
        """Until the user leaves."""
        self._look.say(self.debugger.of.name, "help lists what to type")
        while True:
            try:
                line = self._out.input("(matrix) ")
            except (EOFError, KeyboardInterrupt):
                break
            if line.strip() in ("quit", "q", "exit"):
                break
            self.do(line)
        for branch in self._branches:
            branch.close()

    def do(self, line: str) -> None:
        """One command; what cannot be done is told. A command may be cut short, such as n for next."""
        word, _, said = line.strip().partition(" ")
        if not word:
            return
        found = [n for n in self._commands if n == word] or [n for n in self._commands if n.startswith(word)]
        if not found:
            self._look.say("no such command", f"{word}; help lists them")
            return
        try:
            self._commands[found[0]](said.strip())
        except MatrixError as error:
            self._look.say("!", str(error))
        except KeyboardInterrupt:
            self._look.say("·", "the run is held at its next turn; next shows it")

    def _break(self, said: str) -> None:
        self.debugger.break_on(*_parted(said))

    def _breaks(self) -> None:
        for point in self.debugger.breaks:
            self._look.say(point.kind, point.what)

    def _editing(self, name: str) -> Callable[[str], None]:
        def edit(said: str) -> None:
            change = self._edits[name](said)
            if isinstance(change, CallEdit) or not self.debugger.held:
                self._branch_off(change)
            else:
                self._look.turn(self.debugger.amend(change))
                self._look.say("·", "the run itself goes on with that; fork EDIT would have kept the two apart")

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
        self.branch = self.debugger.fork(change, out)
        self._branches.append(self.branch)
        self._look.say("branch", f"{out}; switch goes over to it, diff compares")
        Look(self.branch, self._out, self._price).turn(self.branch.moment)

    def _switch(self) -> None:
        self.debugger, self.branch = self._other(), self.debugger
        self._look.debugger = self.debugger
        self._look.say(self.debugger.of.name, "we are here now")
        if self.debugger.moment:
            self._look.turn(self.debugger.moment)

    def _finish(self, debugger: Debugger) -> None:
        with self._out.status(f"{debugger.of.name} goes on to its end; Ctrl-C holds it"):
            debugger.finish()
        self._look.say(debugger.of.name, f"is at its end: {len(debugger.moments)} turns")

    def _diff(self) -> None:
        other = self._other()
        if self.debugger.over and not other.over:
            self._finish(other)
        found = diff_runs(self.debugger.of, other.of)
        table = Table("action", "here", "in the branch", show_lines=True)
        for difference in found:
            sides = (a["text"] if a else "(nothing)" for a in (difference.here, difference.there))
            table.add_row(difference.id, *(Text(printable(side)) for side in sides))
        self._out.print(table if found else "no action differs")
        if not (self.debugger.over and other.over):
            self._look.say("·", "as far as the two have come; finish takes the one we are in to its end")
        self._look.say("calls", f"{asked_anew(self.debugger.of, other.of)} were made anew in {other.of.name}")

    def _pair(self, said: str) -> None:
        row = preference_pair(self.debugger.of, self._other().of, self.debugger.here.id, chosen_there=said == "branch")
        path = self._folder / "pairs.jsonl"
        write_json_lines(path, [*(r for r in read_json_lines(path) if r["id"] != row["id"]), row])
        self._look.say("pair", f"{row['id']} in {path}")

    def _help(self) -> None:
        table = Table(show_header=False, box=None)
        for command, told in HELP.items():
            table.add_row(Text(command, "bold"), told)
        self._out.print(table)

    def _other(self) -> Debugger:
        if self.branch is None:
            raise InputError("There is no branch yet: edit TEXT, or fork edit TEXT where the run is held")
        return self.branch


def _number(said: str) -> int:
    if said and not said.isdigit():
        raise InputError(f"{said!r} is no number of turns.")
    return int(said or 1)


def _parted(said: str) -> tuple[str, str]:
    first, _, rest = said.partition(" ")
    return first, rest.strip()
