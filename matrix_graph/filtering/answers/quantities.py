"""Numbers, and numbers with units, percent or money, in a text and against each other."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from matrix_graph.filtering.answers.notation import same_value

if TYPE_CHECKING:
    from pint import UnitRegistry

_DIGITS = r"\d{1,3}(?:[,\u00a0\u202f ]\d{3}(?!\d))++|\d++"
_NUMBER = re.compile(rf"[-+−]?(?:{_DIGITS})?(?:\.\d++)?(?<=\d)(?:[eE][-+]?\d{{1,3}}(?!\w))?")
_FRACTION = re.compile(rf"{_NUMBER.pattern}(?:\s*/\s*\d+)?")
_QUANTITY = re.compile(
    rf"([-+−]?(?:\d+\s+\d+/\d+|{_FRACTION.pattern}))\s*"
    r"(%|°?\s?[^\W\d_][^\d^*+<>=\\()\[\]{}]*|)",
)
_LETTER_UNITS = frozenset("gmlLhsdtNVWAJ")
"""Units of one letter; any other letter after a number is a variable."""
_SCALES = {"thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "dozen": 12.0}
_SCALE = re.compile(rf"({'|'.join(_SCALES)})\b\s*", re.I)
_CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP"}
_NAMES = {"dollar": "USD", "dollars": "USD", "euro": "EUR", "euros": "EUR", "usd": "USD"}
_MONEY = re.compile(
    rf"\\?([$€£])\s*({_NUMBER.pattern}(?:\s*(?:{'|'.join(_SCALES)})\b)?)(?![\d.,]*+\s*+\$)", re.I
)
_MONEY_AFTER = re.compile(r"(?<=\d)\s*([€£])")


def numbers_in(text: str) -> list[str]:
    return [number for number in _FRACTION.findall(text) if number]


def lone_number(text: str) -> str:
    """The last number of a few words, such as "about 40"; nothing where there are many."""
    equation = text.rpartition("=")[2]
    if quantities(equation):
        return equation.strip()
    numbers = numbers_in(text)
    if not numbers or re.search(r"[\^*+<>=\\()\[\]{}/]|\d[^\W\d_]", text):
        return ""
    return numbers[-1]


def quantities(text: str) -> list[tuple[str, str]]:
    """Numbers with their units, if the text is made of nothing else."""
    text, pieces, place = text.strip().rstrip("."), [], 0
    while place < len(text):
        piece = _QUANTITY.match(text, place)
        if not piece or not piece.group(1):
            return []
        unit = _unit_word(piece.group(2))
        if len(unit) == 1 and unit.isalpha() and unit not in _LETTER_UNITS:
            return []
        pieces.append(_scaled(piece.group(1).strip(), unit))
        place = piece.end()
        while place < len(text) and text[place] in " ,":
            place += 1
    return pieces


def same_quantity(given: list[tuple[str, str]], truth: list[tuple[str, str]]) -> bool | None:
    units = [unit for _, unit in (*given, *truth)]
    if all(units) and len(set(units)) > 1:
        measured, sought = _measured(given), _measured(truth)
        if measured is None or sought is None:
            return None
        return measured[1] == sought[1] and math.isclose(measured[0], sought[0], rel_tol=1e-9)
    if len(given) != 1 or len(truth) != 1:
        same = [a[0] == b[0] for a, b in zip(given, truth, strict=False)]
        return all(same) if len(given) == len(truth) else None
    (one, unit), (other, wanted) = given[0], truth[0]
    if "%" in (unit, wanted) and "" in (unit, wanted):
        return same_value(one + unit, other + wanted)
    return same_value(one, other)


def priced(text: str) -> str:
    """With the signs of currencies as units, behind their numbers."""
    text = _MONEY.sub(lambda m: f"{m.group(2)} {_CURRENCIES[m.group(1)]}", text)
    return _MONEY_AFTER.sub(lambda m: f" {_CURRENCIES[m.group(1)]}", text)


def _scaled(number: str, unit: str) -> tuple[str, str]:
    """With a word such as `million` made part of the number."""
    scale = _SCALE.match(unit)
    if not scale:
        return number, unit
    value = value_of(number) * _SCALES[scale.group(1).lower()]
    return f"{value:.15g}" if value < 1e15 else f"{value:.0f}", unit[scale.end() :]


def _measured(pieces: list[tuple[str, str]]) -> tuple[float, Any] | None:
    """The sum of quantities in base units and their dimensions; None where a unit is unknown."""
    registry = _registry()
    total: Any = None
    for number, unit in pieces:
        value = value_of(number)
        try:
            part = registry.Quantity(value, registry.parse_units(unit)).to_base_units()
            total = part if total is None else total + part
        except Exception:  # noqa: BLE001 (pint raises of every kind where a word is no unit)
            return None
    return float(total.magnitude), total.dimensionality


def value_of(number: str) -> float:
    plain = re.sub(r"[,\u00a0\u202f ](?=\d{3}(?!\d))", "", number).replace("−", "-").strip()
    whole, _, rest = plain.rpartition(" ")
    top, _, bottom = rest.partition("/")
    fraction = float(top) / float(bottom) if bottom and float(bottom) else float(top)
    if not whole:
        return fraction
    return float(whole) + (-fraction if whole.startswith("-") else fraction)


def _unit_word(unit: str) -> str:
    word = re.sub(r"\s+", " ", unit.strip(" .,;")).replace("per cent", "percent")
    return _NAMES.get(word.lower(), word)


@cache
def _registry() -> UnitRegistry[Any]:
    from pint import UnitRegistry

    return UnitRegistry(cache_folder=None)
