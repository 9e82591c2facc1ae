"""Secrets: what this process knows as a key is taken out of whatever is kept or shown of a server's
words.
"""

from __future__ import annotations

import re

LEAST = 8
"""Characters of a key; a shorter one is a word like others."""
_KEY = "[key]"
_known: set[str] = set()
_TOKEN = re.compile(r"(?i)\b(bearer|basic)\s{1,4}[\w.~+/=-]{6,}+|\bsk-[\w-]{12,}+")
_IN_URL = re.compile(r"(?<=://)[^\s/@]{1,400}+@")
_PARAMETER = re.compile(
    r"(?i)([?&;][\w.-]{0,40}?(?:key|token|secret|password|signature|sig|auth)=)[^\s&;\"'<>]{1,4000}+"
)


def remember(key: str) -> str:
    """Have `key` never kept nor shown; returns it."""
    if len(key) >= LEAST:
        _known.add(key)
    return key


def without_keys(text: str) -> str:
    """`text` without the keys of this process."""
    for key in tuple(_known):
        if key in text:
            text = text.replace(key, _KEY)
    return text


def redacted(text: str) -> str:
    """`text` without keys of this process, and without what looks like a key of any: after
    `Bearer`, in the form of OpenAI's, in a URL.
    """
    text = _TOKEN.sub(_hidden, without_keys(text))
    text = _IN_URL.sub(f"{_KEY}@", text)
    return _PARAMETER.sub(rf"\1{_KEY}", text)


def _hidden(match: re.Match[str]) -> str:
    return f"{match.group(1)} {_KEY}" if match.group(1) else _KEY
