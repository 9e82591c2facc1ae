"""A Chroma store for LangGraph, and episodic memory over any store."""

from matrix_graph.memory.episodic import EpisodicMemory, Memory, Recalled
from matrix_graph.memory.store import ChromaStore

__all__ = ["ChromaStore", "EpisodicMemory", "Memory", "Recalled"]
