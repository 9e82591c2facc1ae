"""Checkable answers: the answer that a text gives, and whether two are the same.

Choices, clock times, units and plain words are told apart here; numbers and expressions are
compared by math-verify. An answer that is wrong and one that cannot be compared are two things.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from matrix_graph.errors import InputError
from matrix_graph.filtering.expressions import same_expression
from matrix_graph.filtering.rows import without_thinking, words_of

if TYPE_CHECKING:
    from pint import UnitRegistry

_MARKED = re.compile(r"(?:####|\b(?:final answer|answer|result)\b\s*(?:is|:|=)+)\s*(.+)", re.I)
_REST = re.compile(
    r",\s+(?=(?:and|so|which|not|because|since|as)\b)|;\s|\.\s|\s(?:because|since)\s", re.I
)
_DIGITS = r"\d{1,3}(?:[,\u00a0\u202f ]\d{3}(?!\d))++|\d++"
_NUMBER = re.compile(rf"[-+−]?(?:{_DIGITS})?(?:\.\d++)?(?<=\d)(?:[eE][-+]?\d{{1,3}}(?!\w))?")
_FRACTION = re.compile(rf"{_NUMBER.pattern}(?:\s*/\s*\d+)?")
_HALF = r"\s*([ap])\.?m\b\.?"
_TIME = re.compile(rf"(?<![\d:])([01]?\d|2[0-3])[:.h]([0-5]\d)(?![\d:])(?:{_HALF})?", re.I)
_HOUR = re.compile(rf"(?<![\d:.])(1[0-2]|0?\d){_HALF}", re.I)
_IS_TIME = re.compile(rf"(?:at\s+)?(?:\d?\d[:h]\d\d(?:{_HALF})?|\d?\d(?:\.\d\d)?{_HALF})", re.I)
"""What a clock time looks like that is nothing else: `2.50` is a number."""
_CHOICE = re.compile(r"\(?([A-Ja-j])(?:[).:,;]|\s*$|\s+(?:because|since)\b)")
_CHOSEN = re.compile(r"\b(?i:option|choice|answer|letter)\b(?:\s+is)?:?\s+\(?([A-J])(?!\w|['’])")
_IS_CHOICE = re.compile(r"\(?[A-J]\)?\.?")
_OTHERWISE = re.compile(
    r"\b(?:not|never|neither|nor|or|than|between|except|without|at least|at most|up to)\b|n['’]t\b",
    re.I,
)
"""Words by which an answer does not say what it names."""
_SAID = re.compile(r"(yes|no|true|false)\s*(?:[,.;:!–—-]|$)", re.I)
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
_DRESS = re.compile(r"\\(?:text|mathrm|mbox)\{([^{}]*)\}|\\[,;! ]|\\left|\\right|[$*`]")
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
_LISTED = re.compile(r"\d\s*[;,]\s")
_EQUATION = re.compile(r"(?<=\w)\s*+=(?:[^\S\n]*+[^\s;,]++)*+(?:[^\S\n]*+([;,]))?")
_BRACKETED = re.compile(r"([^()\[\]{}]*+)([()\[\]{}]?)")
_COMMA = re.compile(r"(?:(?<!\s)\s++)?[;,]\s*+(?:and\s++)?+")
_IN_WORDS = re.compile(r"\w")
_POWER = re.compile(r"(?<![^()])([^()]*+)\)\s?\^\s?\{?-?\d{2}")
"""What stands in brackets under an exponent of two digits; with letters in it, that is worth no try
either."""
_SYMBOL = re.compile(r"[\^*+<>=\\/{}]")
_LONGEST = 200
_LONGEST_ANSWER, _DEEPEST, _MOST_PARTS = 4_000, 8, 12
"""Characters of an answer, brackets within brackets, and members of a set without a twin, up to
which answers are compared.
"""
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
    if _is_whole(text):
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
    given, truth = _priced(without_thinking(given)), _priced(truth)
    answer, result = _undressed(final_answer(given)), _undressed(_stated(truth))
    if not (_is_bounded(answer) and _is_bounded(result)):
        return True if _folded(answer) == _folded(result) else None
    guessed = _is_guess(given, final_answer(given))
    whole = _undressed(given) if guessed else answer
    exact = len(words_of(whole)) <= _SHORT
    if exact and (_is_either(whole) != _is_either(truth) or not _same_left(whole, truth)):
        return None
    if _folded(answer) == _folded(result):
        return True
    if _IS_CHOICE.fullmatch(result):
        return _same_choice(whole, result.strip("(). "))
    if _is_words(result):
        return _same_words(whole, result)
    if exact and _OTHERWISE.search(whole):
        return None
    if _IS_TIME.fullmatch(result):
        times = _times(whole)
        return times[-1] == _times(result)[0] if times else None
    if _IS_TIME.fullmatch(answer) and _numbers(result):
        return None
    same = _same(answer, result)
    if same is False and guessed and _mentions(given, result):
        return None
    return same


def _is_bounded(answer: str) -> bool:
    """Whether an answer is short and flat enough to be taken apart."""
    depth = deepest = 0
    for sign in answer[:_LONGEST_ANSWER]:
        depth += (sign in "([{") - (sign in ")]}")
        deepest = max(deepest, depth)
    return len(answer) <= _LONGEST_ANSWER and deepest <= _DEEPEST


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
    if _boxed(truth) or _MARKED.search(truth) or _is_whole(truth):
        return final_answer(truth)
    numbers = _numbers(truth)
    return numbers[0] if numbers else truth


def _same_left(given: str, truth: str) -> bool:
    """Whether two equations are about the same: of those, right-hand sides are compared."""
    if given.count("=") != 1 or truth.count("=") != 1:
        return True
    return re.sub(r"\s", "", given.split("=")[0]) == re.sub(r"\s", "", truth.split("=")[0])


def _same_choice(given: str, letter: str) -> bool | None:
    if _OTHERWISE.search(given):
        return None
    named = [m.group(1).upper() for m in [_CHOICE.match(given)] if m] or _CHOSEN.findall(given)
    return named[-1] == letter if named else None


def _same_words(given: str, truth: str) -> bool | None:
    """By the words, where they stand among a few others; a yes or no may begin a sentence."""
    if (wanted := _SAID.fullmatch(truth)) and (begins := _SAID.match(given)):
        return begins.group(1).lower() == wanted.group(1).lower()
    if len(words_of(given)) > 2 * _SHORT or _OTHERWISE.search(given):
        return None
    if _stands(_folded(truth), _folded(given)):
        return True
    return None if wanted or len(words_of(given)) > _SHORT else False


def _stands(words: str, text: str) -> bool:
    """Whether the words are there as words, and not as parts of others."""
    place = text.find(words)
    while place >= 0:
        around = text[place - 1 : place] if place else "", text[place + len(words) :][:1]
        if not any(_IN_WORDS.match(sign) for sign in around):
            return True
        place = text.find(words, place + 1)
    return False


def _is_words(text: str) -> bool:
    return not re.search(r"\d", text) and not _SYMBOL.search(text)


def _is_either(text: str) -> bool:
    return "±" in text or "\\pm" in text


def _is_whole(text: str) -> bool:
    """Whether an unmarked text is an answer and nothing else."""
    return len(words_of(text)) <= _SHORT or bool(_SYMBOL.search(text) and _is_expression(text))


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
    return _same_words(given, truth) if _is_words(truth) else None


def _same_list(given: str, truth: str) -> bool | None:
    wanted, parts = _parts(truth), _parts(given)
    if len(wanted) != len(parts):
        return False if len(parts) > 1 or _quantities(given) else None
    if truth.startswith(("{", "\\{")) or "=" in truth:
        return _same_set(parts, wanted)
    kinds = {text[0] + text[-1] for text in (given, truth) if text[0] in "(["}
    if len(kinds) > 1:
        # An open interval, or a list in other brackets.
        return None
    verdicts = [_same(part, other) for part, other in zip(parts, wanted, strict=True)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _same_set(parts: Sequence[str], wanted: Sequence[str]) -> bool | None:
    """Whether each part has a partner of its own."""
    twins = Counter(map(_folded, parts)) & Counter(map(_folded, wanted))
    alone, left = _without(parts, twins), _without(wanted, twins)
    if len(alone) > _MOST_PARTS:
        return None
    for part in alone:
        verdicts = [_same(part, other) for other in left]
        if True not in verdicts:
            return None if None in verdicts else False
        del left[verdicts.index(True)]
    return True


def _without(parts: Sequence[str], twins: Counter[str]) -> list[str]:
    """Those of the parts that have no twin among the others."""
    left = Counter(twins)
    alone = []
    for part in parts:
        if left[_folded(part)]:
            left[_folded(part)] -= 1
        else:
            alone.append(part)
    return alone


def _parts(text: str) -> list[str]:
    """The members of a list; one where it is none."""
    text = text.strip().removeprefix("\\").strip()
    if text[:1] in ("[", "(", "{") and text[-1:] in ("]", ")", "}"):
        text = text[1:-1].removesuffix("\\")
    elif not (_LISTED.search(text) or any(match[1] for match in _EQUATION.finditer(text))):
        return [text]
    return _split(text)


def _split(text: str) -> list[str]:
    """The parts between commas and semicolons, but for those after which a bracket closes."""
    parts: list[str] = []
    part: list[str] = []
    for piece, bracket in _BRACKETED.findall(text):
        first, *others = [piece] if bracket in tuple(")]}") else _COMMA.split(piece)
        part.append(first)
        if others:
            parts += ["".join(part), *others[:-1]]
            part = others[-1:]
        part.append(bracket)
    return [part.strip() for part in (*parts, "".join(part))]


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
        pieces.append(_scaled(piece.group(1).strip(), unit))
        place = piece.end()
        while place < len(text) and text[place] in " ,":
            place += 1
    return pieces


def _same_quantity(given: list[tuple[str, str]], truth: list[tuple[str, str]]) -> bool | None:
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
        return _same_expression(one + unit, other + wanted)
    return _same_expression(one, other)


def _scaled(number: str, unit: str) -> tuple[str, str]:
    """With a word such as `million` made part of the number."""
    scale = _SCALE.match(unit)
    if not scale:
        return number, unit
    value = _value(number) * _SCALES[scale.group(1).lower()]
    return f"{value:.15g}" if value < 1e15 else f"{value:.0f}", unit[scale.end() :]


def _measured(pieces: list[tuple[str, str]]) -> tuple[float, Any] | None:
    """The sum of quantities in base units and their dimensions; None where a unit is unknown."""
    registry = _registry()
    total: Any = None
    for number, unit in pieces:
        value = _value(number)
        try:
            part = registry.Quantity(value, registry.parse_units(unit)).to_base_units()
            total = part if total is None else total + part
        except Exception:  # noqa: BLE001 (pint raises of every kind where a word is no unit)
            return None
    return float(total.magnitude), total.dimensionality


def _value(number: str) -> float:
    plain = re.sub(r"[,\u00a0\u202f ](?=\d{3}(?!\d))", "", number).replace("−", "-").strip()
    whole, _, rest = plain.rpartition(" ")
    top, _, bottom = rest.partition("/")
    fraction = float(top) / float(bottom) if bottom and float(bottom) else float(top)
    if not whole:
        return fraction
    return float(whole) + (-fraction if whole.startswith("-") else fraction)


def _same_expression(given: str, truth: str) -> bool | None:
    """By math-verify; None where one of the two is no expression."""
    if not _is_expression(given) or not _is_expression(truth):
        return None
    check_verifier()
    latex = _latex(given), _latex(truth)
    return None if any(map(_has_power, latex)) else same_expression(*latex)


def _is_expression(text: str) -> bool:
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
    """Without what only sets it in type."""
    return _DRESS.sub(lambda m: m.group(1) or "", answer).strip().rstrip(".").strip()


def _priced(text: str) -> str:
    """With the signs of currencies as units, behind their numbers."""
    text = _MONEY.sub(lambda m: f"{m.group(2)} {_CURRENCIES[m.group(1)]}", text)
    return _MONEY_AFTER.sub(lambda m: f" {_CURRENCIES[m.group(1)]}", text)


def _unit_word(unit: str) -> str:
    word = re.sub(r"\s+", " ", unit.strip(" .,;")).replace("per cent", "percent")
    return _NAMES.get(word.lower(), word)


def _folded(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip().rstrip(".").lower())


@cache
def _registry() -> UnitRegistry[Any]:
    from pint import UnitRegistry

    return UnitRegistry(cache_folder=None)
