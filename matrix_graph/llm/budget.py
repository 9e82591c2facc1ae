"""Caps on calls and money, counted before a call starts so that they cannot be overshot by waiting
work.
"""

from __future__ import annotations

from dataclasses import dataclass

from matrix_graph.errors import CapReached, InputError


@dataclass(frozen=True)
class Price:
    """US dollars per million tokens."""

    input: float
    output: float

    def cost(self, input_tokens: int, output_tokens: int) -> float:
        """US dollars for that many tokens."""
        return (input_tokens * self.input + output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)


def price_of(model: str) -> Price | None:
    """The list price of an OpenAI model, or None where it is not known."""
    from genai_prices import Usage, calc_price

    try:
        price = calc_price(
            Usage(input_tokens=10**6, output_tokens=10**6), model_ref=model, provider_id="openai"
        )
    except LookupError:
        return None
    return Price(float(price.input_price), float(price.output_price))


class Budget:
    """What was used, and the caps on it.

    Args:
        max_calls: Requests to chat models, counted with the failed ones.
        max_cost: US dollars. A call may start while less than this is spent.
        prices: Per model name; a model without a price counts as free unless `max_cost` is set.
        calls, input_tokens, output_tokens: Totals of an earlier part of the run.

    Raises:
        InputError: a cap is negative.
    """

    def __init__(
        self,
        *,
        max_calls: int | None = None,
        max_cost: float | None = None,
        prices: dict[str, Price] | None = None,
    ) -> None:
        if (max_calls is not None and max_calls < 1) or (max_cost is not None and max_cost <= 0):
            raise InputError("--max-calls and --max-cost must be above zero")
        self.max_calls = max_calls
        self.max_cost = max_cost
        self.prices = prices or {}
        self.calls = 0
        self.input_tokens = 0
        self.output_tokens = 0
        self.cost = 0.0

    def start(self) -> None:
        """Count a call that is about to start.

        Raises:
            CapReached: a cap does not leave room for it.
        """
        if self.max_calls is not None and self.calls >= self.max_calls:
            raise CapReached(f"the cap of {self.max_calls} model calls is reached")
        if self.max_cost is not None and self.cost >= self.max_cost:
            raise CapReached(
                f"the cap of {self.max_cost:.2f} USD is reached ({self.cost:.4f} spent)"
            )
        self.calls += 1

    def charge(self, model: str, input_tokens: int, output_tokens: int) -> None:
        """Add what an answered call used."""
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost += self.prices.get(model, FREE).cost(input_tokens, output_tokens)

    def carry_over(self, totals: dict[str, tuple[int, int, int]]) -> None:
        """Start from an earlier part of the run: per model, calls and tokens in and out."""
        for model, (calls, input_tokens, output_tokens) in totals.items():
            self.calls += calls
            self.charge(model, input_tokens, output_tokens)
