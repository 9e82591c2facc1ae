"""Prompts are files: one each, `# system` and `# user` sections, `$name` for a variable.

A shipped prompt begins with `receives:` and the variables that it is given, used or not.

Values are put in once and never read as templates, so text from profiles and models stays text. A
line of `<<<` and one of `>>>` mark what is a person's or a model's; where such text holds marks
itself, those around it are longer.
Beside a prompt for small models may lie a grammar (`NAME.gbnf`, as llama.cpp reads it) that holds
the answer to its form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from matrix_graph.boundary.files import LONGEST_TEXT, read_text
from matrix_graph.boundary.quoting import CLOSE, OPEN, marks_around
from matrix_graph.errors import InputError

_RECEIVES = re.compile(r"\A\ufeff?receives:([\w ]*)\n")
_OPENING, _CLOSING = "opening_mark", "closing_mark"
_SECTION = re.compile(r"^# (system|user)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Prompt:
    """The sections of one prompt file, in order: (role, template)."""

    name: str
    sections: tuple[tuple[str, Template], ...]


class Prompts:
    """The shipped prompts, with those of `folder` in place of their namesakes.

    Attributes:
        receives: The variables of each prompt.

    Args:
        folder: The user's own versions, `NAME.md` each.
        small: Take the shipped versions for models of a few hundred million parameters, where there
            are.

    Raises:
        InputError: a file has no section, names a variable that its prompt does not receive, or
            overrides no known prompt.
    """

    def __init__(self, folder: Path | str | None = None, *, small: bool = False) -> None:
        self.small = small
        shipped = _shipped_folder()
        paths = _in(shipped)
        self.receives = {name: _received(_text(path)) for name, path in paths.items()}
        grammars = _in(shipped / "small", ".gbnf") if small else {}
        if small:
            paths |= _in(shipped / "small")
        if folder:
            versions = _in(Path(folder))
            _check_versions(folder, versions, self.receives)
            paths |= versions
            grammars = {name: path for name, path in grammars.items() if name not in versions}
        self._prompts = {
            name: _parse(name, _text(path), self.receives[name]) for name, path in paths.items()
        }
        self._grammars = {name: _text(path) for name, path in grammars.items()}

    def grammar(self, name: str) -> str | None:
        """The grammar that the answer to this prompt is held to, if it has one."""
        return self._grammars.get(name)

    def render(self, *names: str, **variables: str) -> list[dict[str, str]]:
        """The chat messages of these prompts in order; equal roles in a row are joined."""
        messages: list[dict[str, str]] = []
        opening, closing = marks_around(variables.values())
        values = variables | {_OPENING: opening, _CLOSING: closing}
        for name in names:
            for role, template in self._prompts[name].sections:
                text = template.substitute(values)
                if messages and messages[-1]["role"] == role:
                    messages[-1]["content"] += f"\n\n{text}"
                else:
                    messages.append({"role": role, "content": text})
        return messages


def _shipped_folder() -> Path:
    installed = Path(str(files("matrix_graph"))) / "prompts"
    return installed if installed.is_dir() else installed.parents[1] / "prompts"


def _in(folder: Path, ending: str = ".md") -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.glob(f"*{ending}"))}


def _text(path: Path) -> str:
    return read_text(path, LONGEST_TEXT)


def _received(text: str) -> frozenset[str]:
    """The variables that a shipped prompt declares."""
    line = _RECEIVES.match(text)
    return frozenset(line.group(1).split() if line else ())


def _check_versions(
    folder: Path | str, versions: Mapping[str, Path], known: Mapping[str, object]
) -> None:
    if not versions:
        raise InputError(
            f"The prompt folder {folder} holds no .md file; name them after the shipped prompts."
        )
    if unknown := versions.keys() - known.keys():
        raise InputError(
            f"No prompt is called {', '.join(sorted(unknown))}; there are {', '.join(known)}."
        )


def _marked(body: str) -> str:
    """The template with variables in place of its marks."""
    marks = {OPEN: f"${{{_OPENING}}}", CLOSE: f"${{{_CLOSING}}}"}
    return "\n".join(marks.get(line.strip(), line) for line in body.split("\n"))


def _parse(name: str, text: str, receives: frozenset[str]) -> Prompt:
    parts = _SECTION.split(_RECEIVES.sub("", text))
    bodies = zip(parts[1::2], parts[2::2], strict=True)
    sections = tuple((role, Template(_marked(body.strip()))) for role, body in bodies)
    if not sections:
        raise InputError(f"The prompt {name} needs a line '# system' or '# user' before its text.")
    for _, template in sections:
        if not template.is_valid():
            raise InputError(
                f"The prompt {name} has a '$' that starts no variable; write '$$' for a dollar "
                "sign."
            )
        if missing := set(template.get_identifiers()) - receives - {_OPENING, _CLOSING}:
            known = ", ".join(sorted(receives)) or "none"
            unknown = ", $".join(sorted(missing))
            raise InputError(f"The prompt {name} uses ${unknown}; it receives: {known}.")
    return Prompt(name, sections)
