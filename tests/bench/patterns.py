"""Every regular expression of the package, against the worst text that can be found for it.

    python -m tests.bench.patterns

A text is a unit, again and again, between two ends; all three are made of what the pattern itself
is made of. Many are tried at 0.5 KB, those that took longest at 2 and 8 KB, and those that grow
fastest at 1 MB. All that is timed runs in another process, which is killed after `LIMIT` seconds.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import multiprocessing
import pkgutil
import random
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from types import ModuleType
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

import matrix_graph
from tests.bench.machine import machine

LIMIT, LARGE = 3.0, 2**20
TRIES, SEARCH = 2000, 1.0
"""Texts that are tried for one pattern, and the seconds after which the rest of them is left."""

Pattern = re.Pattern[str]
WAYS: Mapping[str, Callable[[Pattern, str], object]] = {
    "search": lambda pattern, text: pattern.search(text),
    "fullmatch": lambda pattern, text: pattern.fullmatch(text),
    "sub": lambda pattern, text: sum(1 for _ in pattern.finditer(text)),
}

_INLINE = ("sub", "subn", "search", "match", "fullmatch", "findall", "finditer", "split", "compile")
_KINDS = "aZ1 \n\t.,-_é"
"""One of each kind of character."""
_FAILING = ("", "\0", "x", "1", "é", " ", "\n", "!", "$")
_CATEGORIES = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w"}
_parser: Any = importlib.import_module("re._parser")


class Bad(NamedTuple):
    """A text of any size; as a string, the expression that makes it."""

    prefix: str
    unit: str
    suffix: str

    def text(self, size: int) -> str:
        return self.prefix + self.unit * (size // len(self.unit)) + self.suffix

    def __str__(self) -> str:
        ends = [ascii(end) if end else "" for end in (self.prefix, self.suffix)]
        return " + ".join(filter(None, [ends[0], f"{self.unit!a} * n", ends[1]]))


class Try(NamedTuple):
    """A text, and what is done with it."""

    way: str
    bad: Bad


def patterns() -> list[tuple[str, Pattern]]:
    """Where each pattern of the package stands, and the pattern."""
    found: dict[Pattern, list[str]] = {}
    for module in _modules():
        place = module.__name__.removeprefix("matrix_graph.")
        for name, value in vars(module).items():
            for pattern in _held(value):
                found.setdefault(pattern, []).append(f"{place}.{name}")
        for line, pattern in _inline(module):
            found.setdefault(pattern, []).append(f"{place}:{line}")
    return [(" ".join(dict.fromkeys(places)), pattern) for pattern, places in found.items()]


def worst(pattern: Pattern, keep: int = 3, seconds: float = SEARCH) -> list[tuple[Try, float]]:
    """The texts that seem to take longest, a few for `sub` and for `fullmatch`, and the power of
    their length with which that grows.
    """
    bads = list(dict.fromkeys(_bads(pattern, random.Random(pattern.pattern))))
    found = []
    for way in ("sub", "fullmatch"):
        tries = [Try(way, bad) for bad in bads]
        tries = _slowest(tries, timed(pattern, tries, 500, 0.1, seconds))[:24]
        tries = _slowest(tries, timed(pattern, tries, 4_000, 0.2))[: 4 * keep]
        short, long = (timed(pattern, tries, size, 1.0) for size in (2_000, 8_000))
        growths = list(map(_growth, short, long))
        order = sorted(range(len(tries)), key=lambda n: -long[n] * 128 ** growths[n])
        found += [(tries[n], growths[n]) for n in order[:keep]]
    return found


def timed(
    pattern: Pattern,
    tries: Sequence[Try],
    size: int,
    limit: float = LIMIT,
    seconds: float = math.inf,
) -> list[float]:
    """Seconds for each, infinite beyond `limit`; no more of them after `seconds`."""
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < len(tries) and time.monotonic() < end:
        ours, theirs = multiprocessing.Pipe(duplex=False)
        job = (pattern, tries[len(times) :], size, theirs)
        process = multiprocessing.get_context("fork").Process(target=_child, args=job)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        theirs.close()
        while len(times) < len(tries) and time.monotonic() < end:
            if not ours.poll(limit):
                times.append(math.inf)
                break
            try:
                times.append(ours.recv())
            except EOFError:
                times.append(math.inf)
                break
        process.kill()
        process.join()
        ours.close()
    return times


def main() -> None:
    rows = []
    for where, pattern in patterns():
        taken = dict.fromkeys(WAYS, 0.0)
        slowest = (0.0, False, 0.0, "")
        for (way, bad), growth in worst(pattern):
            for other in ("search", "sub") if way == "sub" else (way,):
                if max(taken[other], taken["search"] if other == "sub" else 0) < math.inf:
                    took = timed(pattern, [Try(other, bad)], LARGE)[0]
                    taken[other] = max(taken[other], took)
                    slowest = max(slowest, (took, way == "sub", growth, str(bad)))
        taken["sub"] = max(taken["search"], taken["sub"])
        rows.append((slowest, where, taken))
    table = Table(
        *("where", "worst text", "grows as", *(f"{way}, ms" for way in WAYS)),
        title=f"Patterns · 1 MB of the worst text for each · {machine()}",
    )
    for (_, _, growth, text), where, taken in sorted(rows, key=lambda row: (-row[0][0], row[1])):
        times = map(_shown, taken.values())
        table.add_row(
            escape(where), escape(text), f"n^{growth:.1f}" if growth < math.inf else "more", *times
        )
    Console(width=180).print(table)


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.0f}" if seconds < LIMIT else f">{LIMIT:g} s"


def _child(pattern: Pattern, tries: Sequence[Try], size: int, pipe: Connection) -> None:
    for way, bad in tries:
        text = bad.text(size)
        begun = time.process_time()
        WAYS[way](pattern, text)
        pipe.send(time.process_time() - begun)


def _slowest(tries: Sequence[Try], times: Sequence[float]) -> list[Try]:
    return [tries[n] for n in sorted(range(len(times)), key=lambda n: -times[n])]


def _growth(short: float, long: float) -> float:
    """By which power of the length it grows; `long` is of four times the length."""
    return math.inf if long == math.inf else max(1.0, math.log(long / short, 4))


def _modules() -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(matrix_graph.__path__, "matrix_graph."):
        if not {"testing", "__main__"} & set(found.name.split(".")):
            yield importlib.import_module(found.name)


def _held(value: object) -> Iterator[Pattern]:
    if isinstance(value, re.Pattern) and isinstance(value.pattern, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _held([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from _held(part)


def _inline(module: ModuleType) -> Iterator[tuple[int, Pattern]]:
    """Patterns in calls such as `re.sub`, with their lines; what is only known as it runs is left
    out.
    """
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("re"), attr=name), args=[first, *rest]):
                if name not in _INLINE:
                    continue
                place = {"sub": 3, "subn": 3, "split": 2, "compile": 0}.get(name, 1)
                flags = [k.value for k in node.keywords if k.arg == "flags"] or rest[place:][:1]
                try:
                    parts = [_value(part, module) for part in (first, *flags)]
                except NameError:
                    continue
                if isinstance(parts[0], str):
                    yield node.lineno, re.compile(*parts)


def _value(node: ast.expr, module: ModuleType) -> Any:
    return eval(compile(ast.Expression(node), module.__name__, "eval"), vars(module))


def _bads(pattern: Pattern, rng: random.Random) -> Iterator[Bad]:
    """Texts from ways through the pattern: the beginning of one, then what may follow there or
    anything else, then an end that may be wrong.
    """
    tree = _parser.parse(pattern.pattern, pattern.flags)
    known = dict.fromkeys(_KINDS)
    for way in (_way(tree, rng) for _ in range(20)):
        known.update(dict.fromkeys(filter(None, way)))
    pieces = list(known)
    for piece in pieces[:40]:
        yield from (Bad("", piece, end) for end in ("", "\0", "x"))
    for _ in range(TRIES):
        way = _way(tree, rng)
        start, count = rng.randrange(len(way) + 1), rng.choice((1, 1, 2, 3))
        prefix = "".join(way[:start]) if rng.random() < 0.7 else ""
        here = "".join(way[start : start + count])
        unit = here if rng.random() < 0.5 else "".join(rng.choices(pieces, k=count))
        rest = "".join(way[start + rng.randrange(3) :])
        suffix = rng.choice(_FAILING) if rng.random() < 0.8 else rest[:-1]
        if unit:
            yield Bad(prefix, unit, suffix)


def _way(tree: Any, rng: random.Random) -> list[str]:
    """One way through a parsed pattern: pieces that it matches one after another."""
    pieces: list[str] = []
    before = ""
    for op, value in tree:
        match name := str(op):
            case "LITERAL" if before == name:
                pieces[-1] += chr(value)
            case "LITERAL":
                pieces.append(chr(value))
            case "ANY":
                pieces.append(rng.choice(_KINDS))
            case "NOT_LITERAL":
                pieces.append(rng.choice([c for c in _KINDS if ord(c) != value]))
            case "IN":
                pieces.append(_one_of(value, rng))
            case "BRANCH":
                pieces += _way(rng.choice(value[1]), rng)
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                least, most, inner = value
                for _ in range(min(int(most), max(least, rng.randrange(3)))):
                    pieces += _way(inner, rng)
            case "SUBPATTERN":
                pieces += _way(value[-1], rng)
            case "ATOMIC_GROUP":
                pieces += _way(value, rng)
            case "ASSERT" | "ASSERT_NOT":
                pieces += _way(value[1], rng) if name == "ASSERT" or rng.random() < 0.5 else []
        before = name
    return pieces


def _one_of(items: Any, rng: random.Random) -> str:
    """A character of a class; each kind of them alike often."""
    named = [chr(v if str(op) == "LITERAL" else v[0]) for op, v in items if _is_named(op)]
    fitting = [char for char in (*_KINDS, *named) if _is_in(items, char)]
    return str(rng.choice(fitting or [""]))


def _is_named(op: object) -> bool:
    return str(op) in ("LITERAL", "RANGE")


def _is_in(items: Any, char: str) -> bool:
    negated = hit = False
    for op, value in items:
        match str(op):
            case "NEGATE":
                negated = True
            case "LITERAL":
                hit |= ord(char) == value
            case "RANGE":
                hit |= value[0] <= ord(char) <= value[1]
            case "CATEGORY":
                name = str(value).removeprefix("CATEGORY_").removeprefix("UNI_")
                kind = _CATEGORIES[name.removeprefix("NOT_")]
                hit |= bool(re.fullmatch(kind, char)) != name.startswith("NOT_")
    return hit != negated


if __name__ == "__main__":
    main()
