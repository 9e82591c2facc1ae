"""Numbers and expressions as people write them, put into LaTeX that math-verify compares."""

from __future__ import annotations

import re

from matrix_graph.errors import InputError
from matrix_graph.filtering.answers.expressions import same_expression

_LONGEST = 200
_WRITTEN = (
    (re.compile(r"(\d)[,\u00a0\u202f ](?=\d{3}(?!\d))"), r"\1"),
    (re.compile(r"[−–]"), "-"),
    (re.compile(r"(\d(?:\.\d+)?)[eE]([-+]?\d+)\b"), r"\1 \\times 10^{\2}"),
    (re.compile(r"(?<![\d/])(\d+) (\d+)/(\d+)"), r"\1\\frac{\2}{\3}"),
    (re.compile(r"[×⋅·]"), r"\\times "),
    (re.compile(r"(?<!\\)sqrt\(([^()]*)\)|√\(?([\w.]+)\)?"), r"\\sqrt{\1\2}"),
    (re.compile(r"(?<!\\)%"), r"\\%"),
)
"""How people write what LaTeX writes otherwise."""
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_SUPERSCRIPT = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")
_EXPLODES = re.compile(
    r"\^\{?[^{}()=,+ ]*\^|\^\{?-?\d{4}|!|\\(?:int|sum|prod|lim|binom)|\d{40}|\*\*"
)
"""Towers, factorials and the like, whose evaluation is worth no try."""
_EXPRESSION = re.compile(r"[\w\s.,+\-*/^=<>(){}\[\]|\\%!:]+")
_POWER = re.compile(r"(?<![^()])([^()]*+)\)\s?\^\s?\{?-?\d{2}")
"""What stands in brackets under an exponent of two digits; with letters in it, that is worth no try
either."""


def check_verifier() -> None:
    """See that answers can be compared.

    Raises:
        InputError: the packages are not installed.
    """
    try:
        import math_verify  # noqa: F401
        import pint  # noqa: F401
    except ImportError as error:
        raise InputError(
            "Answers are compared by math-verify: pip install 'matrix-graph[verify]'"
        ) from error


def same_value(given: str, truth: str) -> bool | None:
    """By math-verify; None where one of the two is no expression."""
    if not is_expression(given) or not is_expression(truth):
        return None
    check_verifier()
    latex = _latex(given), _latex(truth)
    return None if any(map(_has_power, latex)) else same_expression(*latex)


def is_expression(text: str) -> bool:
    latex = _latex(text)
    if len(latex) > _LONGEST or _EXPLODES.search(latex) or not _EXPRESSION.fullmatch(latex):
        return False
    letters = re.findall(r"(?<!\\)(?<![A-Za-z])[A-Za-z]{3,}", latex)
    return bool(re.search(r"\d|[a-z]\s*[=+^]", latex)) and not letters


def _has_power(latex: str) -> bool:
    """Whether a sum or product with letters stands under a high exponent."""
    return any(sign.isalpha() for match in _POWER.finditer(latex) for sign in match[1])


def _latex(text: str) -> str:
    latex = _SUPERSCRIPT.sub(lambda m: "^{" + m.group().translate(_RAISED) + "}", text.strip())
    for pattern, replacement in _WRITTEN:
        latex = pattern.sub(replacement, latex)
    return latex
