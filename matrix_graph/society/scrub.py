"""Remove e-mail addresses, URLs, phone numbers and handles before any text reaches a model.

Deterministic and deliberately blunt: what looks like a contact goes, at the cost of some innocent
digits. Text is normalised first (NFKC, and without invisible characters between ASCII ones), so
that full-width signs and zero-width ones hide nothing. What it does not see: a number without
separators or prefix, an address paraphrased in prose, names of people and places. A model that
anonymises further is no substitute for it, since it sees the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_INVISIBLE = re.compile(
    r"(?<=[!-~])[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]++(?=[!-~])"
)
_AT, _DOT = (rf"[\[({{]\s?{word}\s?[\])}}]" for word in ("at", "dot"))
# Each pattern takes a run of signs whole, whether it is a contact (then it is its group) or not:
# looking into a run again from its next sign takes the square of its length.
_RULES = (
    (
        re.compile(rf"[\w.+%-]++(\s?(?:@|{_AT})\s?[\w-]++(?:\s?(?:\.|{_DOT})\s?[\w-]++)++)?", re.I),
        "[e-mail]",
    ),
    (re.compile(r"[\w.+%-]++( at [\w-]++(?: dot [\w-]++)++)?", re.I), "[e-mail]"),
    (
        re.compile(
            r"\b(?:([a-z][a-z0-9+.-]*+://\S+|www\.\S+)|[a-z](?:(?!\bwww\.\S)[a-z0-9+.-])*+)", re.I
        ),
        "[link]",
    ),
    (
        re.compile(
            r"\b(?:([a-z0-9-]++(?:\.[a-z0-9-]++)*\."
            r"(?:com|org|net|io|dev|me|info|co|ly|gg)(?:/\S*)?\b)"
            r"|[a-z0-9-]++(?:\.[a-z0-9-]++)*+)",
            re.I,
        ),
        "[link]",
    ),
    (re.compile(r"(?<![\w@])((?:@\w[\w.]*\w)+)"), "[handle]"),
    (re.compile(r"(?<![\w.,])((?:\+|00)\d(?:[ ().\-/]{0,2}\d){6,14}(?!\w))"), "[phone]"),
    (re.compile(r"(?<![\w.,])(\(?0\d{1,4}\)?(?:[ .\-/]?\d){5,10}(?!\w))"), "[phone]"),
    (re.compile(r"(?<![\w.,-])(\(?\d{3}\)?[ .\-]\d{3}[ .\-]\d{4}(?!\w))"), "[phone]"),
)


def scrub(text: str) -> str:
    """`text`, normalised, with every contact replaced by what it was, such as `[e-mail]`.
    Idempotent.
    """
    if not text.isascii():
        text = _INVISIBLE.sub("", unicodedata.normalize("NFKC", text))
    for pattern, label in _RULES:
        text = pattern.sub(_labelled(label), text)
    return text


def _labelled(label: str) -> Callable[[re.Match[str]], str]:
    return lambda run: label if run[1] else run[0]
