"""Benchmark contamination: rows that share a word 8-gram with the user's benchmark prompts go.

Lower-cased and white-space folded, as open-r1 does. A benchmark prompt of fewer than eight words
counts where it stands whole in the row's prompt.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matrix_graph.errors import InputError
from matrix_graph.filtering.rows import prompt_of
from matrix_graph.filtering.step import Drop
from matrix_graph.schema import Row

N = 8
_FIELDS = ("prompt", "question", "instruction", "problem", "text", "input")


@dataclass(frozen=True)
class Contamination:
    """The prompts of the user's benchmarks, as n-grams."""

    benchmark: frozenset[str] = field(repr=False)
    name: str = "contamination"
    compares: bool = False

    @classmethod
    def of(cls, prompts: Iterable[str]) -> Contamination:
        """From benchmark prompts; empty ones do not count."""
        return cls(frozenset(gram for prompt in prompts for gram in _grams(prompt)))

    def __call__(self, rows: Sequence[Row], earlier: Sequence[Row]) -> list[Drop]:
        lengths = {gram.count(" ") + 1 for gram in self.benchmark}
        drops = []
        for row in rows:
            words = prompt_of(row).lower().split()
            shared = (g for n in lengths for g in _windows(words, n) if g in self.benchmark)
            if gram := next(shared, None):
                drops.append(Drop(row["id"], "contamination", gram, "no shared 8-gram"))
        return drops


def read_benchmark(path: Path | str) -> list[str]:
    """The prompts in a benchmark file: JSON Lines with a prompt, question, instruction, problem, text
    or input (text or chat messages), or one prompt a line.

    Raises:
        InputError: the file cannot be read or holds no prompt.
    """
    try:
        lines = Path(path).read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the benchmark file {path}: {error}") from error
    prompts = [text for line in lines if line.strip() for text in [_prompt(line)] if text]
    if not prompts:
        raise InputError(f"{path} holds no benchmark prompt (a field of {', '.join(_FIELDS)}, or plain lines).")
    return prompts


def _prompt(line: str) -> str:
    try:
        data: Any = json.loads(line)
    except json.JSONDecodeError:
        return line
    if not isinstance(data, dict):
        return str(data)
    return next((prompt_of({"prompt": data[name]}) for name in _FIELDS if data.get(name)), "")


def _grams(text: str) -> list[str]:
    words = text.lower().split()
    return list(_windows(words, min(N, len(words)))) if words else []


def _windows(words: Sequence[str], n: int) -> Iterable[str]:
    return (" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
