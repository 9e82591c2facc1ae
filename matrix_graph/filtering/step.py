"""A filter step: rows in, findings out. A finding drops a row, with rule, value and threshold, or
notes columns in it.

What is measured (by a model, a sandbox) is noted in the row; what is decided reads it there. So a
threshold can be moved afterwards at no call's cost.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Awaitable, Collection, Mapping, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Annotated, Any, ClassVar, NamedTuple, cast

from pydantic import Field

from matrix_graph.errors import InputError
from matrix_graph.schema import Row


class Drop(NamedTuple):
    """Why one row goes: in words, with the value seen and the threshold."""

    id: str
    rule: str
    value: float | str
    threshold: float | str


class Note(NamedTuple):
    """Columns that one row gets; those that are None it loses."""

    id: str
    columns: Mapping[str, Any]


Finding = Drop | Note
Share = Annotated[float, Field(ge=0, le=1)]
"""A threshold that is a share or a quantile."""
Grade = Annotated[float, Field(ge=0, le=10)]
"""A threshold on a judge's grades."""
Words = Annotated[int, Field(ge=0)]
"""A threshold on a number of words."""
Findings = Sequence[Finding] | Awaitable[Sequence[Finding]]


class Step(ABC):
    """One rule or a few that belong together, or a measurement. Steps are frozen dataclasses, whose
    fields are the thresholds.

    Attributes:
        name: Its node in the graph, and its key in a rules file.
        measures: The columns that a measurement notes; what they hold is then on record.
        embeds: Whether it compares by the embeddings of a context.
        hygiene: Whether what it drops is of no use to anybody. Other steps choose among usable
            rows, and the controls are drawn from all that they chose among.
    """

    name: ClassVar[str]
    measures: ClassVar[tuple[str, ...]] = ()
    embeds: ClassVar[bool] = False
    hygiene: ClassVar[bool] = False

    async def __call__(self, rows: Sequence[Row]) -> list[Finding]:
        """The findings.

        Raises:
            InputError: a row has no id, or two have one.
        """
        check_ids(rows)
        return await called(self.find, rows)

    @abstractmethod
    def find(self, rows: Sequence[Row]) -> Findings:
        """The findings in these rows: a plain method runs in a thread, a coroutine in the loop."""


class Comparing(Step):
    """A step that compares rows with each other and with those that were kept before."""

    @abstractmethod
    def comparison(self) -> Comparison:
        """A comparison that knows no row yet."""

    def find(self, rows: Sequence[Row]) -> Findings:
        """The findings among these rows alone."""
        return self.comparison().compare(rows)


class Comparison(ABC):
    """What a comparing step knows of the rows so far; each is read once, however many batches come.

    Entries are numbered in their order of arrival; `counts` says which are compared with.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.counts = bytearray()
        self._numbers: dict[str, int] = {}
        self._undecided: list[int] = []

    @abstractmethod
    def compare(self, rows: Sequence[Row]) -> Findings:
        """The drops of one batch. Begin with `begin(rows)`, and `add` every row that stays."""

    def keep(self, ids: Collection[str]) -> None:
        """Of the batch compared last these rows were kept; the others do not count any more."""
        kept = set(ids)
        for number in self._undecided:
            self.counts[number] = self.ids[number] in kept
        self._undecided.clear()

    def begin(self, rows: Sequence[Row]) -> None:
        """A batch comes in; rows that come again are compared anew, and not with themselves."""
        self.keep(())
        for row in rows:
            if (number := self._numbers.get(row["id"])) is not None:
                self.counts[number] = 0

    def add(self, row: Row) -> int:
        """A row that stays; returns its number."""
        number = len(self.ids)
        self.ids.append(row["id"])
        self.counts.append(1)
        self._numbers[row["id"]] = number
        self._undecided.append(number)
        return number


def in_order(low_name: str, low: float, high_name: str, high: float) -> None:
    """See that two thresholds leave room between them.

    Raises:
        InputError: the lower one is above the other.
    """
    if low > high:
        raise InputError(f"{low_name} ({low:g}) is above {high_name} ({high:g})")


def check_ids(rows: Sequence[Row]) -> None:
    """See that every row can be told from the others.

    Raises:
        InputError: a row has no id, or two have one.
    """
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("id"), str):
            raise InputError(f"Row {number} has no id; give each row an `id` (text) of its own.")
    name, count = Counter(row["id"] for row in rows).most_common(1)[0] if rows else ("", 0)
    if count > 1:
        raise InputError(f"{count} rows have the id {name!r}; give each row an `id` of its own.")


async def called(find: Any, rows: Sequence[Row]) -> list[Finding]:
    """What a method finds, awaited if it is a coroutine function, else in a thread."""
    if iscoroutinefunction(find):
        findings = await find(rows)
    else:
        findings = await asyncio.to_thread(find, rows)
        findings = await findings if isawaitable(findings) else findings
    return list(cast("Sequence[Finding]", findings or []))
