"""Text of others in prompts: marks around it that it cannot close, and lists in which one line
stays one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

OPEN, CLOSE = "<<<", ">>>"
"""The marks as prompts write them, on lines of their own."""
_RUN = re.compile(r"<{3,}+|>{3,}+")


def marks_around(texts: Iterable[str]) -> tuple[str, str]:
    """An opening and a closing mark that occur in none of the texts: longer than what is there."""
    longest = len(OPEN) - 1
    for text in texts:
        if OPEN in text or CLOSE in text:
            longest = max(longest, *map(len, _RUN.findall(text)))
    return "<" * (longest + 1), ">" * (longest + 1)


def one_line(text: str) -> str:
    """`text` on one line, whatever ends lines in it."""
    lines = text.splitlines()
    if lines == [text]:
        return text
    return " ".join(line.strip() for line in lines if line.strip())


def listed(texts: Iterable[str], start: str = "- ") -> str:
    """A list of a line each."""
    return "\n".join(f"{start}{one_line(text)}" for text in texts)


def numbered(texts: Iterable[str]) -> str:
    """The same with numbers from 1."""
    return "\n".join(f"{number}. {one_line(text)}" for number, text in enumerate(texts, 1))


def talk(turns: Iterable[tuple[str, str]]) -> str:
    """A conversation of (who, text): who speaks stands at the beginning of a line, and nothing else
    does.
    """
    parts = []
    for who, text in turns:
        first, *others = text.splitlines() or [""]
        parts.append("\n".join([f"{who}: {first}", *(f"  {line}" for line in others)]))
    return "\n\n".join(parts)
