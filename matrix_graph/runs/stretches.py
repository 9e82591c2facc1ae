"""The stretches of a run that went on to more: how far each led. To be lived again as it was, a run
is led through them in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

from matrix_graph.errors import InputError
from matrix_graph.generation.requirements import Requirement, read_requirements


class Stretch(NamedTuple):
    """So many scenarios, and so many rows by requirement."""

    scenarios: int
    rows: Mapping[str, int]

    @classmethod
    def to(cls, scenarios: int, wanted: Sequence[Requirement]) -> Self:
        """The stretch that leads to these."""
        return cls(scenarios, {requirement.id: requirement.count for requirement in wanted})

    def given(self, wanted: Sequence[Requirement]) -> dict[str, Any]:
        """What the graph is invoked with; `wanted` says what the requirements are."""
        fields = [w.model_copy(update={"count": self.rows[w.id]}).model_dump() for w in wanted]
        return {"quota": self.scenarios, "wanted": fields}

    def is_of(self, state: Mapping[str, Any]) -> bool:
        """Whether the state of the graph belongs to it."""
        return self == Stretch.to(state["quota"], read_requirements(state["wanted"]))


def stretches_of(summary: Mapping[str, Any]) -> list[Stretch]:
    """The stretches in a run.json.

    Raises:
        InputError: they are not what a run writes.
    """
    try:
        whole = Stretch.to(
            summary["config"]["scenarios"], read_requirements(summary["requirements"])
        )
        past = [Stretch(**stretch) for stretch in summary.get("stretches", [])]
        return past or [whole]
    except (KeyError, TypeError) as error:
        raise InputError(f"run.json is not what a run writes ({error!r}).") from error
