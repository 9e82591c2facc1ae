"""What a run has used, by model, and the caps on it.

All contexts that write to one journal are one run: they share its `Account`, which is kept in the
journal, so that a resumed run goes on counting where it stopped. A request counts once it has been
sent; one that reached no server is taken back.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from matrix_graph.errors import CapReached, InputError
from matrix_graph.llm.journal import Journal
from matrix_graph.llm.local import CHAT_MODEL
from matrix_graph.llm.usage import Usage


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens.

    Raises:
        InputError: one is below zero, or no number.
    """

    input: float
    output: float

    def __post_init__(self) -> None:
        for each in (self.input, self.output):
            if not (math.isfinite(each) and each >= 0):
                raise InputError(f"A price is a number of at least 0, not {each:g}.")

    def cost(self, usage: Usage) -> float:
        """US dollars for what was used."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


@cache
def list_price(model: str) -> Price | None:
    """The list price of an OpenAI model, or None where it is not known; the local model is free."""
    from genai_prices import Usage as Priced
    from genai_prices import calc_price

    if model == CHAT_MODEL:
        return FREE
    usage = Priced(input_tokens=10**6, output_tokens=10**6)
    try:
        price = calc_price(usage, model_ref=model, provider_id="openai")
    except LookupError:
        return None
    return Price(float(price.input_price), float(price.output_price))


class Account:
    """What the run of one journal has used. Safe to use from several threads.

    Attributes:
        lock: Held by who looks at the sum and adds to it.
        prices: By model name, over the list price. A model without either counts as free.
    """

    def __init__(self, journal: Journal) -> None:
        self.lock = threading.RLock()
        self._journal = journal
        self._usage: dict[str, Usage] = journal.usage()
        self.prices: dict[str, Price] = {}

    @property
    def by_model(self) -> dict[str, Usage]:
        """What each model was used for."""
        return dict(self._usage)

    @property
    def total(self) -> Usage:
        """What all models were used for."""
        return sum(self._usage.values(), Usage())

    @property
    def cost(self) -> float:
        """US dollars spent."""
        return sum(self.cost_of(model) for model in self._usage)

    def cost_of(self, model: str) -> float:
        """US dollars spent on one model."""
        price = self.prices.get(model) or list_price(model) or FREE
        return price.cost(self._usage.get(model, Usage()))

    def add(self, model: str, usage: Usage) -> None:
        """Count what was used, here and in the journal."""
        self.note(model, usage)
        self._journal.spend(model, usage)

    def note(self, model: str, usage: Usage) -> None:
        """Count here what the journal is told of together with its answer."""
        with self.lock:
            self._usage[model] = self._usage.get(model, Usage()) + usage


class Budget(NamedTuple):
    """Caps on an account, as one context has them.

    Attributes:
        max_calls: Requests to models, with those that failed.
        max_cost: US dollars. A call may start while less than this is spent, so the calls in
            flight may pass the cap.
    """

    account: Account
    max_calls: int | None = None
    max_cost: float | None = None

    def start(self, model: str) -> None:
        """Count a request that is about to be sent.

        Raises:
            CapReached: a cap does not leave room for it.
        """
        with self.account.lock:
            if self.max_calls is not None and self.account.total.requests >= self.max_calls:
                raise CapReached(
                    f"the cap of {self.max_calls} model calls is reached; raise max_calls "
                    "(--max-calls) to go on"
                )
            if self.max_cost is not None and (cost := self.account.cost) >= self.max_cost:
                raise CapReached(
                    f"the cap of {self.max_cost:g} USD is reached ({cost:.4f} spent); "
                    "raise max_cost (--max-cost) to go on"
                )
            self.account.add(model, Usage(requests=1))

    def take_back(self, model: str) -> None:
        """A request that was counted reached no server."""
        self.account.add(model, Usage(requests=-1))


def checked_caps(max_calls: int | None, max_cost: float | None) -> None:
    """See that caps leave room for something.

    Raises:
        InputError: they do not.
    """
    # So that NaN, below and above nothing, is refused as well.
    if not ((max_calls is None or max_calls >= 1) and (max_cost is None or max_cost > 0)):
        raise InputError("--max-calls and --max-cost must be above zero")
