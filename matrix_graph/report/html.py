"""HTML from values: every text is escaped where it enters, so that what people and models wrote
stays text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9_-]")


class Html(str):
    """Markup that was made here; any other string is text."""

    __slots__ = ()


Part = str | Html | int | float | None


def tag(name: str, *inside: Part, **attributes: Part) -> Html:
    """An element; an attribute that is None is left out, and `_` in its name stands for `-`."""
    written = "".join(
        f' {key.strip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{joined(inside)}</{name}>")


def joined(parts: Iterable[Part], between: str = "") -> Html:
    """Parts one after another."""
    return Html(
        between.join(
            part if isinstance(part, Html) else escape(str(part))
            for part in parts
            if part is not None
        )
    )


def anchor(kind: str, name: str) -> str:
    """The id under which something stands in the page."""
    return f"{kind}-{_NOT_IN_IDS.sub('_', name)}"


def link(kind: str, name: str, text: Part = None) -> Html:
    """A link to something in the page."""
    return tag("a", text if text is not None else name, href=f"#{anchor(kind, name)}")


def facts(pairs: Mapping[str, Part]) -> Html:
    """Names with values; what has none is left out."""
    return tag(
        "dl",
        *(
            joined([tag("dt", name), tag("dd", value)])
            for name, value in pairs.items()
            if value not in (None, "")
        ),
    )


def table(head: Sequence[Part], rows: Iterable[Sequence[Part]]) -> Html:
    """A table that scrolls by itself on a narrow screen."""
    body = [tag("tr", *(tag("td", cell) for cell in row)) for row in rows]
    top = tag("tr", *(tag("th", cell) for cell in head))
    return tag("div", tag("table", tag("thead", top), tag("tbody", *body)), class_="wide")


def fold(title: Part, *inside: Part, id: str | None = None, open: bool = False) -> Html:
    """Something that opens when it is touched."""
    return tag("details", tag("summary", title), *inside, id=id, open="" if open else None)
