"""Any name as a label of a LangGraph namespace, in which periods are not allowed."""

from __future__ import annotations

from urllib.parse import unquote

from matrix_graph.errors import InputError


def label(name: str) -> str:
    """The label that stands for a name.

    Raises:
        InputError: the name is empty.
    """
    if not name:
        raise InputError("A run, an agent and a branch need a name that is not empty.")
    return name.replace("%", "%25").replace(".", "%2E")


def name_of(label: str) -> str:
    """The name that a label stands for."""
    return unquote(label)
