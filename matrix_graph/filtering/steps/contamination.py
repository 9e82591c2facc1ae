"""Benchmark contamination: rows that share a word 8-gram with the user's benchmark prompts go.

Lower-cased and white-space folded, as in open-r1, and once more without punctuation. A benchmark
prompt of fewer than eight words counts where it stands whole in the row's prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from matrix_graph.boundary.files import read_text
from matrix_graph.boundary.values import read_json
from matrix_graph.errors import InputError
from matrix_graph.filtering.rows import asked_in, words_of
from matrix_graph.filtering.step import Drop, Share, Step
from matrix_graph.schema import Row

N = 8
_FIELDS = ("prompt", "question", "instruction", "problem", "text", "input")


@dataclass(frozen=True)
class Contamination(Step):
    """Rows that hold what the user's benchmarks hold.

    Attributes:
        benchmark: The benchmark prompts.
        share: If 0, any shared 8-gram drops a row (open-r1). Otherwise shared 8-grams must cover
            more than this share of a benchmark prompt's words (0.5 in Tulu 3, arXiv 2411.15124).
    """

    name: ClassVar[str] = "contamination"
    hygiene: ClassVar[bool] = True
    benchmark: tuple[str, ...] = field(repr=False, default=())
    share: Share = 0.0

    @classmethod
    def of(cls, prompts: Iterable[str], share: float = 0.0) -> Contamination:
        """From benchmark prompts; empty ones do not count."""
        return cls(tuple(prompt for prompt in prompts if prompt.strip()), share=share)

    def find(self, rows: Sequence[Row]) -> list[Drop]:
        """See `Step`."""
        where, lengths = self._index
        return [drop for row in rows if (drop := self._judge(row, where, lengths))]

    @cached_property
    def _index(self) -> tuple[dict[int, list[int]], set[int]]:
        """The benchmark prompts by the hash of an n-gram, and the lengths of n-grams there are."""
        # By hash: a million strings would take ten times the memory.
        where: dict[int, list[int]] = {}
        lengths: set[int] = set()
        for number, prompt in enumerate(self.benchmark):
            for words in _readings(prompt):
                lengths.add(min(N, len(words)))
                for gram in _grams(words, min(N, len(words))):
                    where.setdefault(hash(gram), []).append(number)
        return where, lengths

    def _judge(self, row: Row, where: dict[int, list[int]], lengths: set[int]) -> Drop | None:
        shared: dict[int, set[tuple[str, ...]]] = {}
        for words in (words for text in asked_in(row) for words in _readings(text)):
            for gram in dict.fromkeys(gram for n in lengths for gram in _grams(words, n)):
                for number in where.get(hash(gram), ()):
                    if not self.share:
                        return Drop(row["id"], "contamination", " ".join(gram), "no shared 8-gram")
                    shared.setdefault(number, set()).add(gram)
        most = max(
            (_covered(self.benchmark[number], grams) for number, grams in shared.items()),
            default=0.0,
        )
        if most > self.share:
            return Drop(row["id"], "contamination", round(most, 3), self.share)
        return None


def read_benchmark(path: Path | str) -> list[str]:
    """The prompts in a benchmark file: JSON Lines or a list with a prompt, question, instruction,
    problem, text and input (texts or chat messages), all that there are, or one prompt a line.

    Raises:
        InputError: the file cannot be read or holds no prompt.
    """
    text = read_text(Path(path))
    prompts = [prompt for prompt in _prompts(text, path) if words_of(prompt)]
    if not prompts:
        raise InputError(
            f"{path} holds no benchmark prompt (a field of {', '.join(_FIELDS)}, or plain lines)."
        )
    return prompts


def _prompts(text: str, path: Path | str) -> Iterator[str]:
    first = text.lstrip()[:1]
    if first not in ("{", "["):
        yield from (line.strip() for line in text.split("\n"))
        return
    try:
        items = (
            read_json(text)
            if first == "["
            else [read_json(line) for line in text.split("\n") if line.strip()]
        )
    except ValueError as error:
        raise InputError(
            f"{path} is neither JSON Lines nor a JSON list of benchmark items ({error})."
        ) from error
    for item in items:
        values = (
            [item[name] for name in _FIELDS if item.get(name)] if isinstance(item, dict) else [item]
        )
        for value in values:
            texts = (
                value
                if isinstance(value, list) and all(isinstance(part, str) for part in value)
                else None
            )
            yield from texts if texts is not None else asked_in({"prompt": value})


def _readings(text: str) -> list[tuple[str, ...]]:
    """The words as white space parts them, and as they are without punctuation."""
    lowered = text.lower()
    return [words for words in (tuple(lowered.split()), tuple(words_of(lowered))) if words]


def _grams(words: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _covered(prompt: str, grams: set[tuple[str, ...]]) -> float:
    """The greatest share of the words of `prompt`, read either way, that lie inside `grams`."""
    return max(_share(words, grams) for words in _readings(prompt))


def _share(words: Sequence[str], grams: set[tuple[str, ...]]) -> float:
    n = min(N, len(words))
    inside = {i + k for i, gram in enumerate(_grams(words, n)) if gram in grams for k in range(n)}
    return len(inside) / len(words)
