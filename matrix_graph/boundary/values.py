"""JSON and YAML read strictly: no number that JSON does not have, nothing nested deeper than code
can walk, no alias that multiplies.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

import yaml

DEPTH = 100
"""Levels of lists and objects."""
DIGITS = 300
"""Of a whole number; a float holds it then."""
YAML_LONGEST = 256 * 1024
"""Characters of a YAML file; PyYAML reads some 100,000 a second."""
_SCALAR = 1000
"""Characters past which a plain scalar of YAML is text, whatever it looks like."""
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{\]}]', re.S)
_LINE_ENDS = {"\u2028": "\\u2028", "\u2029": "\\u2029", "\x85": "\\u0085"}
"""What JSON may hold as it is, and many readers of lines take for the end of one."""


def read_json(text: str | bytes) -> Any:
    """The value that `text` is.

    Raises:
        ValueError: it is no JSON; NaN and Infinity are none, in whatever form, and neither is what
            is nested deeper than `DEPTH` or a whole number of more than `DIGITS` digits.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8-sig")
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise ValueError(_DEEP) from None
    if text.count("[") + text.count("{") > DEPTH and _depth(text) > DEPTH:
        raise ValueError(_DEEP)
    return value


def read_object(text: str) -> dict[str, Any]:
    """The JSON object that this process or one like it wrote, which may hold NaN.

    Raises:
        ValueError: it is none.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_DEEP) from None
    if not isinstance(value, dict):
        raise ValueError("no JSON object")
    return value


_DEEP = f"nested more than {DEPTH} levels deep"


def _depth(text: str) -> int:
    """Of valid JSON."""
    depth = deepest = 0
    for match in _BRACKET.finditer(text):
        sign = match.group()
        if sign in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif sign in "]}":
            depth -= 1
    return deepest


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ValueError(f"{digits[:40]} is beyond every float")
    return value


_DECODER = json.JSONDecoder(parse_constant=_no_number, parse_int=_whole, parse_float=_finite)


def json_text(value: object, *, indent: int | None = None) -> str:
    """`value` as JSON with non-ASCII as it is, but for halves of a character and for what a reader
    of lines would take for a line's end.

    Raises:
        ValueError: it holds NaN or an infinite number.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    if text.isascii():
        return text
    for sign, escaped in _LINE_ENDS.items():
        text = text.replace(sign, escaped)
    return text.encode("utf-8", "replace").decode()


def json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object a line; a number that is none (NaN, Infinity) is null."""
    lines = []
    for row in rows:
        try:
            lines.append(json_text(row))
        except ValueError:
            lines.append(json_text(_without_nan(row)))
    return "".join(f"{line}\n" for line in lines)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _without_nan(part) for name, part in value.items()}
    return [_without_nan(part) for part in value] if isinstance(value, list | tuple) else value


def read_yaml(text: str) -> Any:
    """The content of a YAML document, of plain mappings, lists and scalars.

    Raises:
        ValueError: it is none, or has aliases, tags, more than `YAML_LONGEST` characters or `DEPTH`
            levels.
    """
    if len(text) > YAML_LONGEST:
        raise ValueError(f"longer than {YAML_LONGEST:,} characters")
    try:
        return yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, RecursionError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from None


class _PlainLoader(yaml.SafeLoader):
    """YAML without what no configuration needs."""

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not taken; write out what they stand for")
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) not in (None, "!"):
            raise yaml.YAMLError(f"tags ({event.tag}) are not taken")
        if self._depth >= DEPTH:
            raise yaml.YAMLError(_DEEP)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and len(value or "") > _SCALAR:
            return self.DEFAULT_SCALAR_TAG
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
