"""Checkable answers: the answer that a text gives, and whether two are the same.

Choices, clock times, units and plain words are told apart here; numbers and expressions are
compared by math-verify. An answer that is wrong and one that cannot be compared are two things.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from matrix_graph.errors import InputError
from matrix_graph.filtering.rows import without_thinking, words_of

if TYPE_CHECKING:
    from pint import UnitRegistry

_MARKED = re.compile(r"(?:####|\b(?:final answer|answer|result)\b\s*(?:is|:|=)+)\s*(.+)", re.I)
_REST = re.compile(
    r",\s+(?=(?:and|so|which|not|because|since|as)\b)|;\s|\.\s|\s(?:because|since)\s", re.I
)
_DIGITS = r"\d{1,3}(?:[,\u00a0\u202f ]\d{3})+(?!\d)|\d+"
_NUMBER = re.compile(rf"[-+−]?(?:{_DIGITS})?(?:\.\d+)?(?<=\d)(?:[eE][-+]?\d{{1,3}}(?!\w))?")
_FRACTION = re.compile(rf"{_NUMBER.pattern}(?:\s*/\s*\d+)?")
_TIME = re.compile(
    r"(?<![\d:])([01]?\d|2[0-3])[:.h]([0-5]\d)(?![\d:])(?:\s*([ap])\.?m\b\.?)?", re.I
)
_HOUR = re.compile(r"(?<![\d:.])(1[0-2]|0?\d)\s*([ap])\.?m\b\.?", re.I)
_IS_TIME = re.compile(rf"\W*(?:at\s+)?(?:{_TIME.pattern}|{_HOUR.pattern})\W*", re.I)
_CHOICE = re.compile(r"\(?([A-Ja-j])(?:[).:]|\s*$)")
_IS_CHOICE = re.compile(r"\(?[A-J]\)?\.?")
_QUANTITY = re.compile(
    rf"([-+−]?(?:\d+\s+\d+/\d+|{_FRACTION.pattern}))\s*"
    r"(%|°?\s?[^\W\d_][^\d^*+<>=\\()\[\]{}]*|)",
)
_LETTER_UNITS = frozenset("gmlLhsdtNVWAJ")
"""Units of one letter; any other letter after a number is a variable."""
_DRESS = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}|\\[,;! ]|\\left|\\right|[$€£*`]")
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
    r"\^[^=,]*\^|\^\{?-?\d{4}|!|\\(?:int|sum|prod|lim|binom)|\d{40}|\*\*|(?:\([^)]*){9}"
)
"""Towers, factorials and the like, whose evaluation may take for ever."""
_EXPRESSION = re.compile(r"[\w\s.,+\-*/^=<>(){}\[\]|\\%!:]+")
_SYMBOL = re.compile(r"[\^*+<>=\\/{}]")
_LONGEST = 200
_SHORT = 6
"""Words up to which an unmarked answer counts as a whole."""


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


def final_answer(text: str) -> str:
    """The answer in `text`: boxed or marked as such, else its last number, else its words."""
    text = without_thinking(text).strip()
    if boxed := _boxed(text):
        return boxed
    if marked := _MARKED.findall(text):
        return str(_REST.split(marked[-1])[0]).strip().rstrip(".")
    if len(words_of(text)) <= _SHORT:
        alone = len(_numbers(text)) == 1 and not _quantities(text)
        return (_lone_number(text) if alone else "") or text
    if times := [time.group() for time in _TIME.finditer(text)]:
        return times[-1]
    numbers = _numbers(text)
    return numbers[-1] if numbers else text


def same_answer(given: str, truth: str) -> bool | None:
    """Whether `given` gives the answer that `truth` states; None where they cannot be compared.

    A long truth that marks no result is read as stating it first, as this package's own rows do. A
    truth of one letter is a choice.

    Raises:
        InputError: the packages that compare are not installed.
    """
    result, answer = _stated(truth), final_answer(given)
    if _IS_CHOICE.fullmatch(result.strip()):
        chosen = _CHOICE.match(answer.strip())
        return chosen is not None and chosen.group(1).upper() == result.strip("(). ")
    if _IS_TIME.fullmatch(result):
        times = _times(answer) or _times(without_thinking(given))
        return times[-1] == _times(result)[0] if times else None
    same = _same(_undressed(answer), _undressed(result))
    if same is False and _is_guess(given, answer) and _mentions(given, result):
        return None
    return same


def majority(responses: Sequence[str]) -> str:
    """The answer that most of the responses give; of several, the one that came first."""
    answers: list[str] = []
    counts: list[int] = []
    for response in responses:
        answer = final_answer(response)
        for number, known in enumerate(answers):
            if answer == known or same_answer(answer, known):
                counts[number] += 1
                break
        else:
            answers.append(answer)
            counts.append(1)
    return answers[counts.index(max(counts))] if answers else ""


def _stated(truth: str) -> str:
    """The result that a truth states."""
    if _boxed(truth) or _MARKED.search(truth) or len(words_of(truth)) <= _SHORT:
        return final_answer(truth)
    numbers = _numbers(truth)
    return numbers[0] if numbers else truth


def _is_guess(text: str, answer: str) -> bool:
    """Whether the answer is only the last number of a text that marks none."""
    text = without_thinking(text).strip()
    return answer != text and not _boxed(text) and not _MARKED.search(text)


def _mentions(text: str, result: str) -> bool:
    wanted = _quantities(_undressed(result))
    numbers = _numbers(_undressed(without_thinking(text)))
    return bool(wanted) and any(_value(n) == _value(wanted[0][0]) for n in numbers)


def _same(given: str, truth: str) -> bool | None:
    if _folded(given) == _folded(truth):
        return True
    parts = _parts(truth)
    if len(parts) > 1:
        return _same_list(given, truth)
    wanted, quantity = _quantities(truth), _quantities(given)
    if wanted:
        quantity = quantity or _quantities(_lone_number(given))
        return _same_quantity(quantity, wanted) if quantity else _same_expression(given, truth)
    if _is_expression(truth):
        return _same_expression(given, truth)
    if _SYMBOL.search(truth):
        return None
    # Words: the same ones, or named among a few others.
    if re.search(rf"(?<!\w){re.escape(_folded(truth))}(?!\w)", _folded(given)):
        return True
    return False if len(words_of(given)) <= _SHORT else None


def _same_list(given: str, truth: str) -> bool | None:
    wanted, parts = _parts(truth), _parts(given)
    if len(wanted) != len(parts):
        return False if len(parts) > 1 or _quantities(given) else None
    if truth.strip().startswith("{") or "=" in truth:
        verdicts = [_named_in(part, wanted) for part in parts]
    else:
        verdicts = [_same(part, other) for part, other in zip(parts, wanted, strict=True)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _named_in(part: str, wanted: Sequence[str]) -> bool | None:
    verdicts = [_same(part, other) for other in wanted]
    return True if True in verdicts else verdicts[-1] if None not in verdicts else None


def _parts(text: str) -> list[str]:
    """The members of a list; one where it is none."""
    text = text.strip().removeprefix("\\").strip()
    if text[:1] in ("[", "(", "{") and text[-1:] in ("]", ")", "}"):
        text = text[1:-1].removesuffix("\\")
    elif not re.search(r"\d\s*[;,]\s|\w\s*=.*[;,]", text):
        return [text]
    return [part.strip() for part in re.split(r"\s*[;,]\s*(?:and\s+)?(?![^(\[{]*[)\]}])", text)]


def _quantities(text: str) -> list[tuple[str, str]]:
    """Numbers with their units, if the text is made of nothing else."""
    text, pieces, place = text.strip().rstrip("."), [], 0
    while place < len(text):
        piece = _QUANTITY.match(text, place)
        if not piece or not piece.group(1):
            return []
        unit = _unit_word(piece.group(2))
        if len(unit) == 1 and unit.isalpha() and unit not in _LETTER_UNITS:
            return []
        pieces.append((piece.group(1).strip(), unit))
        place = piece.end()
        while place < len(text) and text[place] in " ,":
            place += 1
    return pieces


def _same_quantity(given: list[tuple[str, str]], truth: list[tuple[str, str]]) -> bool | None:
    units = [unit for _, unit in (*given, *truth)]
    if all(units) and len(set(units)) > 1:
        measured = [_measured(given), _measured(truth)]
        if None not in measured:
            one, other = measured
            if one.dimensionality != other.dimensionality:
                return False
            return bool(abs((one - other).to(other.units).magnitude) <= 1e-9 * abs(other.magnitude))
    if len(given) != 1 or len(truth) != 1:
        same = [a[0] == b[0] for a, b in zip(given, truth, strict=False)]
        return all(same) if len(given) == len(truth) else None
    (one, unit), (other, wanted) = given[0], truth[0]
    if "%" in (unit, wanted) and "" in (unit, wanted):
        return _same_expression(one + unit, other + wanted)
    return _same_expression(one, other)


def _measured(pieces: list[tuple[str, str]]) -> Any:
    """The sum of quantities in known units, or None."""
    registry = _registry()
    total: Any = None
    for number, unit in pieces:
        value = _value(number)
        try:
            part = registry.Quantity(value, registry.parse_units(unit))
            total = part if total is None else total + part
        except Exception:  # noqa: BLE001 (pint raises of every kind where a word is no unit)
            return None
    return total


def _value(number: str) -> float:
    plain = re.sub(r"[,\u00a0\u202f ](?=\d{3}(?!\d))", "", number).replace("−", "-").strip()
    whole, _, rest = plain.rpartition(" ")
    top, _, bottom = rest.partition("/")
    fraction = float(top) / float(bottom) if bottom and float(bottom) else float(top)
    return (float(whole) if whole else 0.0) + fraction


def _same_expression(given: str, truth: str) -> bool | None:
    """By math-verify; None where one of the two is no expression."""
    if not _is_expression(given) or not _is_expression(truth):
        return None
    check_verifier()
    from math_verify import verify

    one, other = _parsed(given), _parsed(truth)
    if not one or not other:
        return None
    return bool(verify(other, one, timeout_seconds=None))


def _parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    # It warns that it has no time limit; what could take long does not come here.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    try:
        latex = f"${_latex(text)}$"
        return list(parse(latex, [LatexExtractionConfig()], parsing_timeout=None))
    except Exception:  # noqa: BLE001 (whatever it stumbles over is no expression)
        return []


def _is_expression(text: str) -> bool:
    latex = _latex(text)
    if len(latex) > _LONGEST or _EXPLODES.search(latex) or not _EXPRESSION.fullmatch(latex):
        return False
    letters = re.findall(r"(?<!\\)(?<![A-Za-z])[A-Za-z]{3,}", latex)
    return bool(re.search(r"\d|[a-z]\s*[=+^]", latex)) and not letters


def _latex(text: str) -> str:
    latex = _SUPERSCRIPT.sub(lambda m: "^{" + m.group().translate(_RAISED) + "}", text.strip())
    for pattern, replacement in _WRITTEN:
        latex = pattern.sub(replacement, latex)
    return latex


def _lone_number(text: str) -> str:
    """The last number of a few words, such as "about 40"; nothing where there are many."""
    equation = text.rpartition("=")[2]
    if _quantities(equation):
        return equation.strip()
    numbers = _numbers(text)
    if not numbers or re.search(r"[\^*+<>=\\()\[\]{}/]|\d[^\W\d_]", text):
        return ""
    return numbers[-1]


def _numbers(text: str) -> list[str]:
    return [number for number in _FRACTION.findall(text) if number]


def _times(text: str) -> list[tuple[int, int]]:
    """The clock times in a text, in hours and minutes."""
    times = []
    for hour, minute, half in _TIME.findall(text):
        times.append((_hour(int(hour), half), int(minute)))
    return times or [(_hour(int(hour), half), 0) for hour, half in _HOUR.findall(text)]


def _hour(hour: int, half: str) -> int:
    if not half:
        return hour
    return hour % 12 + (12 if half.lower() == "p" else 0)


def _boxed(text: str) -> str:
    """What stands in the last `\\boxed{}`, whatever braces it holds."""
    _, mark, rest = text.rpartition("\\boxed{")
    depth = 1
    for place, letter in enumerate(rest if mark else ""):
        depth += (letter == "{") - (letter == "}")
        if not depth:
            return rest[:place].strip()
    return ""


def _undressed(answer: str) -> str:
    return _DRESS.sub(lambda m: m.group(1) or "", answer).strip().rstrip(".").strip()


def _unit_word(unit: str) -> str:
    return re.sub(r"\s+", " ", unit.strip(" .,;")).replace("per cent", "percent")


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip().rstrip(".").lower())


@cache
def _registry() -> UnitRegistry[Any]:
    from pint import UnitRegistry

    return UnitRegistry(cache_folder=None)
