"""A person at the terminal who plays an agent, or decides who becomes aware of what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matrix_graph.boundary.screen import TextConsole
from matrix_graph.schema import Group, Persona
from matrix_graph.society.messages import remembered
from matrix_graph.terminal.look import said


class Person:
    """Answers what a run asks. Ctrl-D or Ctrl-C leave: the run waits, for days if need be."""

    def __init__(self, groups: Sequence[Group], out: TextConsole) -> None:
        self._members = {member.id: member for group in groups for member in group.members}
        self._groups = {group.id: group for group in groups}
        self._out = out

    def answer(self, asked: dict[str, Any]) -> Any:
        """The answer to one question.

        Raises:
            EOFError, KeyboardInterrupt: the person leaves.
        """
        return self._act(asked) if asked["asks"] == "action" else self._direct(asked)

    def _act(self, asked: dict[str, Any]) -> str:
        turn, persona = asked["turn"], self._members[asked["agent"]]
        self._say(f"You are {persona.name}", persona.profile.description)
        self._say("it is", turn["date"])
        self._say("you want", turn["life"]["goal"])
        for memory in turn["memories"]:
            self._say("you remember", memory)
        self._say(
            "you have in mind",
            turn["plan_step"] or "nothing in particular; your plan is carried out",
        )
        for line in turn["known"]:
            self._say("you know", line)
        for message in turn["observations"]:
            self._say("you have just become aware of", remembered(message))
        self._say(
            "·",
            "Say what you do. End with CONTINUE if you are not done, with STEP DONE if an answer "
            "got the plan's step done, too, with GOAL REACHED if you act no more.",
        )
        while not (text := self._out.input("you do: ").strip()):
            continue
        return text

    def _direct(self, asked: dict[str, Any]) -> list[list[str]]:
        ids = asked["candidates"]
        self._say(
            f"You direct {asked['group']}",
            "Say for each who becomes aware of it: numbers, or nothing for nobody.",
        )
        for number, name in enumerate(ids, 1):
            self._say(f"{number:>4}", self._named(name))
        return [self._chosen(item, ids) for item in asked["items"]]

    def _chosen(self, item: str, ids: list[str]) -> list[str]:
        self._say("happened", item)
        while True:
            numbers = self._out.input("who: ").replace(",", " ").split()
            if all(number.isdecimal() and 1 <= int(number) <= len(ids) for number in numbers):
                return [ids[int(number) - 1] for number in numbers]
            self._say("!", f"Numbers from 1 to {len(ids)}, please.")

    def _named(self, name: str) -> str:
        if name in self._groups:
            return "; ".join(map(_known_as, self._groups[name].members))
        return _known_as(self._members[name])

    def _say(self, label: str, text: str) -> None:
        self._out.print(said(label, text), soft_wrap=not self._out.is_terminal)


def _known_as(persona: Persona) -> str:
    return f"{persona.name}: {persona.profile.description}"
