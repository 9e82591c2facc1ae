"""Prompts are files: one each, `# system` and `# user` sections, `$name` for a variable.

Values are put in once and never read as templates, so text from profiles and models stays text.
Beside a prompt for small models may lie a grammar (`NAME.gbnf`, as llama.cpp reads it) that holds
the answer to its form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

from matrix_graph.errors import InputError

_ASKED = "style category complexity domain language"
VARIABLES: dict[str, frozenset[str]] = {
    name: frozenset(variables.split())
    for name, variables in {
        "persona": "name description posts",
        "agent": "name description personality goal plan",
        "act_goal": "memories plan_step",
        "act_reaction": "memories observations plan_step",
        "modulator": "members names",
        "deliver": "actions",
        "receive": "news",
        "exchange": "scenario candidates candidate_names",
        "summarise": "scenario",
        "instruct": "name description personality goal actions",
        **{f"instruct_{kind}": _ASKED for kind in ("sft", "dpo", "reason", "code", "safe", "mt")},
        "single": _ASKED,
        "follow_up": f"{_ASKED} conversation",
        **{f"respond{suffix}": "language" for suffix in ("", "_reason", "_code", "_safe")},
        "rate": "request answer",
        "judge": "request answer",
        "prefer": "request first second",
        "consolidate": "memories",
    }.items()
}
"""The prompts there are, and the variables that each receives."""

_SECTION = re.compile(r"^# (system|user)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True)
class Prompt:
    """The sections of one prompt file, in order: (role, template)."""

    name: str
    sections: tuple[tuple[str, Template], ...]


class Prompts:
    """The shipped prompts, with those of `folder` in place of their namesakes.

    Args:
        folder: The user's own versions, `NAME.md` each.
        small: Take the shipped versions for models of a few hundred million parameters, where there
            are.

    Raises:
        InputError: a file has no section, names a variable that its prompt does not receive, or
            overrides no known prompt.
    """

    def __init__(self, folder: Path | str | None = None, *, small: bool = False) -> None:
        shipped = _shipped_folder()
        paths = _in(shipped) | (_in(shipped / "small") if small else {})
        grammars = _in(shipped / "small", ".gbnf") if small else {}
        if folder:
            own = _in(Path(folder))
            if not own:
                raise InputError(
                    f"The prompt folder {folder} holds no .md file; name them after the shipped "
                    "prompts."
                )
            if unknown := own.keys() - VARIABLES.keys():
                raise InputError(
                    f"No prompt is called {', '.join(sorted(unknown))}; there are "
                    f"{', '.join(VARIABLES)}."
                )
            paths |= own
            grammars = {name: path for name, path in grammars.items() if name not in own}
        self._prompts = {name: _parse(name, paths[name].read_text("utf-8")) for name in VARIABLES}
        self._grammars = {name: path.read_text("utf-8") for name, path in grammars.items()}

    def grammar(self, name: str) -> str | None:
        """The grammar that the answer to this prompt is held to, if it has one."""
        return self._grammars.get(name)

    def render(self, *names: str, **variables: str) -> list[dict[str, str]]:
        """The chat messages of these prompts, one after another; equal roles in a row are joined."""
        messages: list[dict[str, str]] = []
        for name in names:
            for role, template in self._prompts[name].sections:
                text = template.substitute(variables)
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


def _parse(name: str, text: str) -> Prompt:
    parts = _SECTION.split(text)
    sections = tuple(
        (role, Template(body.strip())) for role, body in zip(parts[1::2], parts[2::2], strict=True)
    )
    if not sections:
        raise InputError(f"The prompt {name} needs a line '# system' or '# user' before its text.")
    for _, template in sections:
        if not template.is_valid():
            raise InputError(
                f"The prompt {name} has a '$' that starts no variable; write '$$' for a dollar "
                "sign."
            )
        if missing := set(template.get_identifiers()) - VARIABLES[name]:
            known = ", ".join(sorted(VARIABLES[name])) or "none"
            raise InputError(
                f"The prompt {name} uses ${', $'.join(sorted(missing))}; it receives: {known}."
            )
    return Prompt(name, sections)
