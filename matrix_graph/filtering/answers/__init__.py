"""Checkable answers: the answer that a text gives, and whether two are the same."""

from matrix_graph.filtering.answers.final import final_answer
from matrix_graph.filtering.answers.same import majority, same_answer

__all__ = ["final_answer", "majority", "same_answer"]
