"""Asking a person through `interrupt()`, until the answer is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from langgraph.config import get_config
from langgraph.types import interrupt

from matrix_graph.errors import InputError

T = TypeVar("T")
_CHECKPOINTER = "__pregel_checkpointer"
"""Where LangGraph keeps it for its nodes."""


def ask(question: Mapping[str, Any], checked: Callable[[Any], T]) -> T:
    """What `checked` makes of the answer.

    LangGraph keeps an answer for good: where `checked` raises InputError, the same is asked again,
    with what was wrong as `problem`.

    Raises:
        InputError: the graph has no checkpointer, so nobody could answer.
    """
    if get_config()["configurable"].get(_CHECKPOINTER) is None:
        raise InputError(
            "A person is asked, whose answer goes on from a checkpoint: compile the graph with a "
            "checkpointer."
        )
    asked = dict(question)
    while True:
        answer = interrupt(asked)
        try:
            return checked(answer)
        except InputError as error:
            asked["problem"] = str(error)
