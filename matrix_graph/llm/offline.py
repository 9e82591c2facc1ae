"""Work that asks no model: what is not on record interrupts the graph, as a question to a person
would.

An interrupt, and no error, since then all that can be answered from the record still is.
"""

from __future__ import annotations

from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt

NOBODY = "http://127.0.0.1:9/v1"
"""A server that is none, for clients that want one and will not be used."""

ANSWER = "answer"
"""What is asked for where there is none on record."""


class NotOnRecord(GraphInterrupt):
    """There is no answer on record, and no model may be asked."""

    def __init__(self, what: str) -> None:
        super().__init__((Interrupt(value={"asks": ANSWER, "what": what}),))
