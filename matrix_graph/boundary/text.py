"""Text that is only text: for terminals and drawings, and for Markdown."""

from __future__ import annotations

import re
import unicodedata

_KEPT = "\n\t\u200c\u200d\ufe0e\ufe0f"
"""Not printable for Python, and harmless: line ends, joiners, the form of an emoji."""


def inert(text: str) -> str:
    """`text` with a mark in place of each character that a terminal would obey, or that would have
    it show others in another order.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or _harmless(c) else "�" for c in text)


def _harmless(c: str) -> bool:
    return c in _KEPT or unicodedata.category(c) == "Zs"


_MARKUP = re.compile(r"[\\`*_{}\[\]()#+!|~$:.@<>&]")


def markdown(text: object, longest: int = 200) -> str:
    """A text as a cell of a table in Markdown: one line, in which nothing is a link, an image, HTML
    or emphasis.
    """
    plain = inert(" ".join(str(text).split()))
    plain = plain if len(plain) <= longest else f"{plain[:longest]}…"
    plain = _MARKUP.sub(lambda sign: _ESCAPED.get(sign.group(), f"\\{sign.group()}"), plain)
    # GitHub makes links of addresses by themselves.
    return plain.replace("://", ":&#47;/").replace("www.", "www&#46;")


_ESCAPED = {sign: f"&#{ord(sign)};" for sign in "<>&@"} | {sign: sign for sign in ".:()+"}
"""What a backslash does not hold; and what is markup only beside other signs."""
