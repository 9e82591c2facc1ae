"""The members of a list, a set or an interval."""

from __future__ import annotations

import re

_LISTED = re.compile(r"\d\s*[;,]\s")
_EQUATION = re.compile(r"(?<=\w)\s*+=(?:[^\S\n]*+[^\s;,]++)*+(?:[^\S\n]*+([;,]))?")
_BRACKETED = re.compile(r"([^()\[\]{}]*+)([()\[\]{}]?)")
_COMMA = re.compile(r"(?:(?<!\s)\s++)?[;,]\s*+(?:and\s++)?+")


def parts_of(text: str) -> list[str]:
    """The members of a list; one where it is none."""
    text = text.strip().removeprefix("\\").strip()
    if text[:1] in ("[", "(", "{") and text[-1:] in ("]", ")", "}"):
        text = text[1:-1].removesuffix("\\")
    elif not (_LISTED.search(text) or any(match[1] for match in _EQUATION.finditer(text))):
        return [text]
    return _split(text)


def _split(text: str) -> list[str]:
    """The parts between commas and semicolons, but for those after which a bracket closes."""
    parts: list[str] = []
    part: list[str] = []
    for piece, bracket in _BRACKETED.findall(text):
        first, *others = [piece] if bracket in tuple(")]}") else _COMMA.split(piece)
        part.append(first)
        if others:
            parts += ["".join(part), *others[:-1]]
            part = others[-1:]
        part.append(bracket)
    return [part.strip() for part in (*parts, "".join(part))]
