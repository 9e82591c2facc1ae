"""The debugger on a terminal: a line is a command, and what it shows is text, whatever people and models wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from matrix_graph.errors import InputError, MatrixError
from matrix_graph.export.files import read_json_lines, write_json_lines
from matrix_graph.llm.journal import Entry
from matrix_graph.schema import Persona
from matrix_graph.workbench.branch import diff_runs, fork_run, preference_pair
from matrix_graph.workbench.debugger import Debugger, Moment
from matrix_graph.workbench.record import RunRecord, asked
from matrix_graph.workbench.trace import printable

HELP = {
    "next [N]": "the next agent's turn, or N on",
    "step": "the next step of the society",
    "scenario": "the next scenario",
    "continue": "on to the next breakpoint",
    "back [N]": "back one turn, or N",
    "go ID": "to an action or a scenario",
    "break KIND WHAT": "stop when: agent NAME, group ID, to NAME, text PATTERN, failure",
    "breaks, clear": "list the breakpoints; remove them",
    "who [NAME]": "profile, temper, goal and plan of this agent or another",
    "inbox": "what had reached the agent",
    "memories": "what came to its mind, with relevance, recency and importance",
    "prompt, answer": "the exact call and its answer, tokens and model",
    "why": "who became aware of the action, who was left out, and the modulator's reason",
    "edit TEXT": "a branch in which the agent did TEXT instead; runs on from there in a folder of its own",
    "edit-call SLOT TEXT": "the same for any call: a plan, who becomes aware, a summary",
    "diff": "the actions that differ between this run and the branch",
    "pair [branch]": "keep this turn of the two as a preference pair: this run's chosen, or the branch's",
    "quit": "leave",
}


class Screen:
    """Reads commands and shows moments of one run."""

    def __init__(self, record: RunRecord, out: Console) -> None:
        self.debugger = Debugger(record)
        self.branch: RunRecord | None = None
        self._record = record
        self._out = out
        self._commands: dict[str, Callable[[str], None]] = {
            "next": lambda said: self._move(self.debugger.agent(_number(said))),
            "back": lambda said: self._move(self.debugger.agent(-_number(said))),
            "step": lambda _: self._move(self.debugger.step()),
            "scenario": lambda _: self._move(self.debugger.scenario()),
            "continue": lambda _: self._move(self.debugger.run()),
            "go": lambda said: self._move(self.debugger.go(said)),
            "break": self._break,
            "breaks": lambda _: self._breaks(),
            "clear": lambda _: self.debugger.breaks.clear(),
            "who": self._who,
            "inbox": lambda _: self._inbox(),
            "memories": lambda _: self._memories(),
            "prompt": lambda _: self._prompt(),
            "answer": lambda _: self._answer(),
            "why": lambda _: self._why(),
            "edit": lambda said: self._edit(self._entry().slot, said),
            "edit-call": lambda said: self._edit(*_parted(said)),
            "diff": lambda _: self._diff(),
            "pair": self._pair,
            "help": lambda _: self._help(),
        }

    def loop(self) -> None:
        """Until the user leaves."""
        count = len(self.debugger.moments)
        self._say(
            str(self._record.folder),
            f"{count} turns in {len(self._record.scenarios)} scenarios; help lists what to type",
        )
        while True:
            try:
                line = self._out.input("(matrix) ")
            except (EOFError, KeyboardInterrupt):
                return
            if line.strip() in ("quit", "q", "exit"):
                return
            self.do(line)

    def do(self, line: str) -> None:
        """One command; what cannot be done is told. A command may be cut short, such as n for next."""
        word, _, said = line.strip().partition(" ")
        if not word:
            return
        found = [n for n in self._commands if n == word] or [n for n in self._commands if n.startswith(word)]
        if not found:
            self._say("no such command", f"{word}; help lists them")
            return
        try:
            self._commands[found[0]](said.strip())
        except MatrixError as error:
            self._say("!", str(error))

    def _move(self, moment: Moment | None) -> None:
        if moment is None:
            self._say("·", "no more turns this way")
            return
        place = f"{moment.scenario['id']}, step {moment.step}"
        name = self._name(moment.agent)
        if moment.action is None:
            self._say(f"{name} · {place} · failed", str(moment.failure and moment.failure["reason"]))
            return
        why = "reacts" if moment.action["trigger"] == "reaction" else "plan"
        self._say(f"{name} · {place} · {why} · {moment.id}", moment.action["text"])

    def _break(self, said: str) -> None:
        self.debugger.break_on(*_parted(said))

    def _breaks(self) -> None:
        for point in self.debugger.breaks:
            self._say(*point)

    def _who(self, said: str) -> None:
        name = said or self._here().agent
        person = self.debugger.person(name)
        if person is None:
            raise InputError(f"Nobody in this run is called {name!r}.")
        self._person(person)

    def _person(self, person: Persona) -> None:
        for label, text in (
            (person.name, person.profile.description),
            ("temper", person.personality),
            ("wants", person.goal),
            *((f"plan {number}", step) for number, step in enumerate(person.plan, 1)),
            *(("posted", post) for post in person.profile.posts),
        ):
            self._say(label, text)

    def _inbox(self) -> None:
        messages = self.debugger.inbox(self._here())
        for message in messages:
            self._say(
                f"{message['sender_name']} · {message['id']}", f"{message['text']}  (because: {message['reason']})"
            )
        if not messages:
            self._say("·", "nothing had reached them")

    def _memories(self) -> None:
        moment = self._here()
        known = self._record.memories(moment.agent)
        recalled = moment.action.get("recalled", []) if moment.action else []
        table = Table("memory", "score", "relevance", "recency", "importance", "text", box=None)
        for found in recalled:
            memory = known.get(found["memory"])
            scores = (f"{found[name]:.2f}" for name in ("score", "relevance", "recency", "importance"))
            table.add_row(found["memory"], *scores, Text(printable(memory.text if memory else "")))
        self._out.print(table)

    def _prompt(self) -> None:
        entry = self._entry()
        for message in asked(entry):
            self._say(message["role"], message["content"])
        self._say("call", f"{entry.slot} · {entry.model} · {entry.input_tokens} + {entry.output_tokens} tokens")

    def _answer(self) -> None:
        entry = self._entry()
        self._say(f"{entry.slot} · {entry.finish} · {entry.seconds:.1f} s", entry.answer)

    def _why(self) -> None:
        delivery = self.debugger.delivery(self._here())
        if delivery is None:
            self._say("·", "nothing is on record of who became aware of it")
            return
        self._say("told", ", ".join(map(self._name, delivery["recipients"])) or "nobody")
        self._say("left out", ", ".join(map(self._name, delivery["left_out"])) or "nobody")
        self._say("because", f"{delivery['reason']}  ({delivery['call']})")

    def _edit(self, slot: str, text: str) -> None:
        number = 1
        while (out := Path(f"{self._record.folder}-branch-{number}")).exists():
            number += 1
        before = self._record.calls.get(slot)
        result = asyncio.run(fork_run(self._record, slot, text, out))
        self.branch = RunRecord(out)
        known = {(entry.slot, entry.digest) for entry in self._record.calls.values()}
        new = sum((entry.slot, entry.digest) not in known for entry in self.branch.calls.values())
        self._say("was", before.answer if before else "")
        self._say(
            "branch",
            f"{out}: {result.summary['ended']}; {new} calls made anew, {len(self.branch.calls) - new} from the record",
        )

    def _diff(self) -> None:
        found = diff_runs(self._record, self._branch())
        table = Table("action", "here", "in the branch", show_lines=True)
        for difference in found:
            sides = (a["text"] if a else "(nothing)" for a in (difference.here, difference.there))
            table.add_row(difference.id, *(Text(printable(side)) for side in sides))
        self._out.print(table if found else "no action differs")

    def _pair(self, said: str) -> None:
        row = preference_pair(self._record, self._branch(), self._here().id, chosen_there=said == "branch")
        path = self._record.folder / "pairs.jsonl"
        write_json_lines(path, [*(r for r in read_json_lines(path) if r["id"] != row["id"]), row])
        self._say("pair", f"{row['id']} in {path}")

    def _help(self) -> None:
        table = Table(show_header=False, box=None)
        for command, told in HELP.items():
            table.add_row(Text(command, "bold"), told)
        self._out.print(table)

    def _here(self) -> Moment:
        moment = self.debugger.moment
        if moment is None:
            raise InputError("Go to a turn first: next")
        return moment

    def _branch(self) -> RunRecord:
        if self.branch is None:
            raise InputError("There is no branch yet: edit TEXT")
        return self.branch

    def _entry(self) -> Entry:
        moment = self._here()
        slot = moment.action["call"] if moment.action else moment.id
        entry = self._record.calls.get(slot)
        if entry is None:
            raise InputError(f"The call behind this turn is not on record ({slot or 'an agent of your own'}).")
        return entry

    def _name(self, agent: str) -> str:
        person = self.debugger.person(agent)
        return person.name if person else agent

    def _say(self, label: str, text: str) -> None:
        self._out.print(Text.assemble((f"{printable(label)}  ", "bold cyan"), printable(text)), soft_wrap=True)


def _number(said: str) -> int:
    if said and not said.isdigit():
        raise InputError(f"{said!r} is no number of turns.")
    return int(said or 1)


def _parted(said: str) -> tuple[str, str]:
    first, _, rest = said.partition(" ")
    return first, rest.strip()
