"""The debugger on a terminal: a line is a command."""

from __future__ import annotations

import cmd
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, get_args

from rich.table import Table
from rich.text import Text

from matrix_graph.amendments import AmendmentKind
from matrix_graph.boundary.files import read_json_lines, write_json_lines
from matrix_graph.boundary.screen import TextConsole
from matrix_graph.debugger.branch import asked_anew, diff_runs, preference_pair
from matrix_graph.debugger.changes import CallEdit, Change
from matrix_graph.debugger.debugger import Debugger
from matrix_graph.errors import InputError, MatrixError
from matrix_graph.llm.budget import Price, list_price
from matrix_graph.llm.journal import clean
from matrix_graph.runs.config import RunConfig
from matrix_graph.terminal.look import Look

SHORT = {"n": "next", "s": "step", "c": "continue", "b": "break", "q": "quit", "exit": "quit"}


class Screen(cmd.Cmd):
    """Reads commands and shows moments of one run, over or under way, and of branches of it.

    The methods `do_...` are the commands, and their docstrings the help: how to type it, and what
    it does. A command may be cut short where it is clear which is meant.

    Args:
        folder: Where branches and pairs go.
        price: US dollars per million tokens of a model, where they are known.
        trust: Branches of a run that somebody else began may ask the models that it names.
    """

    prompt = "(matrix) "
    identchars = cmd.Cmd.identchars + "-"

    def __init__(
        self,
        debugger: Debugger,
        folder: Path,
        out: TextConsole,
        price: Callable[[str], Price | None] = list_price,
        *,
        trust: bool = False,
    ) -> None:
        super().__init__()
        self.debugger = debugger
        self.other: Debugger | None = None
        self._all = [debugger]
        self._folder = folder
        self._models = RunConfig(trust=True) if trust else None
        self._out = out
        self._look = Look(debugger, out, price)

    def loop(self) -> None:
        """Until the user leaves."""
        self._look.say(self.debugger.of.name, "help lists what to type")
        left = False
        while not left:
            try:
                self.cmdloop()
                left = True
            except KeyboardInterrupt:
                self._out.print()
            except RuntimeError:  # there is no standard input
                left = True
        for branch in self._all[1:]:
            branch.close()

    def onecmd(self, line: str) -> bool:
        """One command; what cannot be done is shown. Returns whether the user leaves."""
        try:
            return bool(super().onecmd(clean(line)))
        except MatrixError as error:
            self._look.say("!", str(error))
        except KeyboardInterrupt:
            self._look.say("·", "the run is held at its next turn, if there is one: next")
        return False

    def parseline(self, line: str) -> tuple[str | None, str | None, str]:
        """The command by its whole name, what it is given, and the line."""
        word, rest, whole = super().parseline(line)
        word = SHORT.get(word or "", word or "")
        known = [name for name in self.completenames("") if name.startswith(word)]
        if word and word not in known and len(known) == 1:
            word = known[0]
        return word.replace("-", "_") or None, rest, whole

    def completenames(self, text: str, *ignored: object) -> list[str]:
        """The commands that begin so, as one types them."""
        names = (name.replace("_", "-") for name in super().completenames(text.replace("-", "_")))
        return [name for name in names if name != "EOF"]

    def emptyline(self) -> bool:
        """Nothing is nothing, and not the last command again."""
        return False

    def default(self, line: str) -> None:
        """What is no command, or could be several."""
        word = line.split()[0]
        known = self.completenames(word)
        problem = "which?" if known else "no such command"
        self._look.say(problem, f"{', '.join(known) or word}; help lists them")

    def do_help(self, arg: str) -> None:
        """help
        this list
        """
        table = Table(show_header=False, box=None)
        for name in self.completenames(""):
            usage, text = _documented(getattr(self, f"do_{name.replace('-', '_')}"))
            table.add_row(Text(usage, "bold"), text)
        self._out.print(table)

    def do_next(self, arg: str) -> None:
        """next [N]
        the next agent's turn, or N on (n)
        """
        self._look.turn(self.debugger.agent(_number(arg)))

    def do_back(self, arg: str) -> None:
        """back [N]
        back one turn, or N
        """
        self._look.turn(self.debugger.agent(-_number(arg)))

    def do_step(self, arg: str) -> None:
        """step
        the next step of the society (s)
        """
        self._look.turn(self.debugger.step())

    def do_scenario(self, arg: str) -> None:
        """scenario
        the next scenario
        """
        self._look.turn(self.debugger.scenario())

    def do_continue(self, arg: str) -> None:
        """continue
        on to the next breakpoint (c)
        """
        self._look.turn(self.debugger.run())

    def do_finish(self, arg: str) -> None:
        """finish
        on to the end, past all breakpoints
        """
        name = self.debugger.of.name
        with self._out.status(Text(f"{name} goes on to its end; Ctrl-C holds it")):
            self.debugger.finish()
        ended = self.debugger.of.ended or "at its end"
        self._look.say(name, f"{ended}; {len(self.debugger.moments)} turns")

    def do_go(self, arg: str) -> None:
        """go ID
        to an action or a scenario
        """
        self._look.turn(self.debugger.go(arg))

    def do_where(self, arg: str) -> None:
        """where
        the turn where we stand
        """
        self._look.turn(self.debugger.here)

    def do_break(self, arg: str) -> None:
        """break KIND WHAT
        stop when: agent NAME, group ID, to NAME, text PATTERN, failure (b)
        """
        point = self.debugger.break_on(*_parted(arg))
        what = self._look.name(point.agent) if point.agent else point.what
        self._look.say("break", f"{point.kind} {what}")

    def do_breaks(self, arg: str) -> None:
        """breaks
        list the breakpoints
        """
        for point in self.debugger.breaks:
            self._look.say(point.kind, point.what)

    def do_clear(self, arg: str) -> None:
        """clear
        remove the breakpoints
        """
        self.debugger.breaks.clear()
        self._look.say("·", "no breakpoints")

    def do_people(self, arg: str) -> None:
        """people
        who lives in which group
        """
        self._look.people()

    def do_who(self, arg: str) -> None:
        """who [NAME]
        profile, temper, goal and plan of this agent or another
        """
        self._look.who(arg)

    def do_inbox(self, arg: str) -> None:
        """inbox
        what had reached the agent
        """
        self._look.inbox()

    def do_memories(self, arg: str) -> None:
        """memories [all]
        what came to its mind, with relevance, recency and importance; all it remembers
        """
        self._look.memories(arg)

    def do_calls(self, arg: str) -> None:
        """calls [PREFIX]
        the places of calls, those of this turn and its group's step by default
        """
        self._look.calls(arg)

    def do_prompt(self, arg: str) -> None:
        """prompt [SLOT]
        the exact call
        """
        self._look.prompt(arg)

    def do_answer(self, arg: str) -> None:
        """answer [SLOT]
        its answer, with model, tokens and cost
        """
        self._look.answer(arg)

    def do_why(self, arg: str) -> None:
        """why
        who became aware of the action, who was left out, and the modulator's reason
        """
        self._look.why()

    def do_edit(self, arg: str) -> None:
        """edit TEXT
        the agent does TEXT instead
        """
        self._edit("edit", arg)

    def do_edit_memory(self, arg: str) -> None:
        """edit-memory ID TEXT
        it remembers TEXT from this turn on; memories all lists the ids
        """
        self._edit("edit-memory", arg)

    def do_edit_message(self, arg: str) -> None:
        """edit-message ID TEXT
        the message was TEXT; inbox lists the ids
        """
        self._edit("edit-message", arg)

    def do_edit_plan(self, arg: str) -> None:
        """edit-plan N TEXT
        step N of its plan is TEXT from this turn on
        """
        self._edit("edit-plan", arg)

    def do_edit_call(self, arg: str) -> None:
        """edit-call SLOT TEXT
        any call answers TEXT: who becomes aware, a summary, a persona; answer shows its form
        """
        self._edit("edit-call", arg)

    def do_fork(self, arg: str) -> None:
        """fork EDIT
        any of these edits in a branch, where a run under way would take it over itself
        """
        self._branch_off(self._change(*_parted(arg)))

    def do_branches(self, arg: str) -> None:
        """branches
        list them
        """
        marks = {id(self.other): " (the other)", id(self.debugger): " (here)"}
        for number, debugger in enumerate(self._all):
            state = debugger.of.ended or "under way"
            mark = marks.get(id(debugger), "")
            self._look.say(str(number), f"{debugger.of.name}, {state}{mark}")

    def do_switch(self, arg: str) -> None:
        """switch [N]
        over to the other branch, or to N (0 is the run itself)
        """
        if arg and not (_is_number(arg) and int(arg) < len(self._all)):
            raise InputError(f"There is no branch {arg!r}; branches lists them.")
        to = self._all[int(arg)] if arg else self._beside()
        if to is not self.debugger:
            self.debugger, self.other = to, self.debugger
        self._look.debugger = self.debugger
        self._look.say(self.debugger.of.name, "we are here now")
        if self.debugger.moment:
            self._look.turn(self.debugger.moment)

    def do_diff(self, arg: str) -> None:
        """diff
        the actions that differ between here and the other, as far as both have come
        """
        here, there = self.debugger.of, self._beside().of
        differences = diff_runs(here, there)
        names = [past.name for past in (here, there)]
        table = Table("action", *names, show_lines=True)
        for difference in differences:
            sides = (a["text"] if a else "(nothing)" for a in (difference.here, difference.there))
            table.add_row(difference.id, *(Text(side) for side in sides))
        self._out.print(table if differences else "no action differs")
        if not (here.over and there.over):
            self._look.say("·", "as far as both have come; switch and finish take one to its end")
        new = asked_anew(here, there)
        self._look.say("calls", f"{new} of {there.name} are not on record in {here.name}")

    def do_pair(self, arg: str) -> None:
        """pair [other]
        keep this turn of the two as a preference pair: the one here chosen, or the other's
        """
        if arg not in ("", "other"):
            raise InputError("pair keeps the one here as chosen, pair other the other's.")
        here, there = self.debugger, self._beside()
        row = preference_pair(here.of, there.of, here.here.id, chosen_there=arg == "other")
        path = self._folder / "pairs.jsonl"
        others = [r for r in read_json_lines(path) if r["id"] != row["id"]]
        write_json_lines(path, [*others, row])
        chosen = (there if arg else here).of.name
        self._look.say("pair", f"{row['id']} in {path}; chosen is what happened in {chosen}")

    def do_quit(self, arg: str) -> bool:
        """quit
        leave; a run under way stops and can be resumed (Ctrl-D)
        """
        return True

    def do_EOF(self, arg: str) -> bool:
        """Ctrl-D."""
        return True

    _kinds: ClassVar[dict[str, AmendmentKind]] = {
        f"edit-{kind}": kind for kind in get_args(AmendmentKind) if kind != "action"
    }

    def _change(self, name: str, text: str) -> Change:
        """The change that an edit stands for."""
        if name == "edit":
            return self.debugger.change("action", text)
        if name == "edit-call":
            return CallEdit(*_parted(text))
        if name not in self._kinds:
            raise InputError("Name an edit: fork edit TEXT")
        what, text = _parted(text)
        return self.debugger.change(self._kinds[name], text, what)

    def _edit(self, name: str, text: str) -> None:
        change = self._change(name, text)
        if isinstance(change, CallEdit) or not self.debugger.held:
            self._branch_off(change)
            return
        self._look.turn(self.debugger.amend(change))
        kept = "the run itself goes on with that; fork EDIT would have kept the two apart"
        self._look.say("·", kept)

    def _branch_off(self, change: Change) -> None:
        number = 1
        while (out := Path(f"{self._folder}-branch-{number}")).exists():
            number += 1
        self.other = self.debugger.fork(change, out, models=self._models)
        self._all.append(self.other)
        self._look.say("branch", f"{out}; diff compares, switch goes over to it")
        self._look.at(self.other)

    def _beside(self) -> Debugger:
        if self.other is None:
            raise InputError(
                "There is no branch yet: edit TEXT, or fork edit TEXT where the run is held"
            )
        return self.other


def _documented(command: Callable[[str], object]) -> tuple[str, str]:
    """How a command is typed, and what it does."""
    usage, _, text = (command.__doc__ or "").strip().partition("\n")
    return usage, " ".join(text.split())


def _number(text: str) -> int:
    if text and not _is_number(text):
        raise InputError(f"{text[:80]!r} is no number of turns.")
    return int(text or 1)


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) < 10


def _parted(text: str) -> tuple[str, str]:
    first, _, rest = text.partition(" ")
    return first, rest.strip()
