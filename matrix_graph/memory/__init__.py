"""A Chroma store for LangGraph, and episodic memory over any store."""

from matrix_graph.memory.episodic import EpisodicMemory, Query
from matrix_graph.memory.lane import Memory, Recalled, Weights
from matrix_graph.memory.store import ChromaStore

__all__ = ["ChromaStore", "EpisodicMemory", "Memory", "Query", "Recalled", "Weights"]
