"""Remove e-mail addresses, URLs, phone numbers and handles before any text reaches a model.

Deterministic and deliberately blunt: what looks like a contact goes, at the cost of some innocent
digits. A model that anonymises further is no substitute for it, since it sees the text.
"""

from __future__ import annotations

import re

_RULES = (
    (
        re.compile(
            r"[\w.+%-]+\s?(?:@|\[at\]|\(at\))\s?[\w-]+(?:\s?(?:\.|\[dot\]|\(dot\))\s?[\w-]+)+", re.I
        ),
        "[e-mail]",
    ),
    (re.compile(r"\b(?:[a-z][a-z0-9+.-]*://|www\.)\S+", re.I), "[link]"),
    (
        re.compile(
            r"\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.(?:com|org|net|io|dev|me|info|co|ly|gg)(?:/\S*)?\b",
            re.I,
        ),
        "[link]",
    ),
    (re.compile(r"(?<![\w@])@\w[\w.]*\w"), "[handle]"),
    (re.compile(r"(?<![\w.,])(?:\+|00)\d(?:[ ().\-/]{0,2}\d){6,14}(?!\w)"), "[phone]"),
    (re.compile(r"(?<![\w.,])\(?0\d{1,4}\)?(?:[ .\-/]?\d){5,10}(?!\w)"), "[phone]"),
    (re.compile(r"(?<![\w.,-])\(?\d{3}\)?[ .\-]\d{3}[ .\-]\d{4}(?!\w)"), "[phone]"),
)


def scrub(text: str) -> str:
    """`text` with every contact replaced by what it was, such as `[e-mail]`. Idempotent."""
    for pattern, label in _RULES:
        text = pattern.sub(label, text)
    return text
