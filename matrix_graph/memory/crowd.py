"""Many owners' memories in one matrix, to find whose is most like a text at a cost that hardly
grows with them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from matrix_graph.memory.matrix import unit


class Crowd:
    """The vectors that each owner can see, centred on the mean of all and scaled to unit length.

    Args:
        seen: Per owner the parts of its memory, each of shape (n, dimensions).
    """

    def __init__(self, seen: Sequence[Sequence[NDArray[np.float16]]]) -> None:
        parts = [
            (owner, part) for owner, several in enumerate(seen) for part in several if len(part)
        ]
        self._owners = np.repeat(
            [owner for owner, _ in parts], [len(part) for _, part in parts]
        ).astype(np.int64)
        self._mean: NDArray[np.float32] = np.zeros(0, dtype=np.float32)
        if parts:
            vectors = np.concatenate([part for _, part in parts]).astype(np.float32)
            self._mean = vectors.mean(0)
            self._vectors = unit(vectors - self._mean)
            self._starts = np.flatnonzero(np.diff(self._owners, prepend=-1))

    def nearest(self, vector: NDArray[np.float32], k: int) -> list[int]:
        """Positions of the `k` owners with the vector most like `vector`, nearest first; ties go to
        the earlier.
        """
        if not len(self._owners):
            return []
        best = np.maximum.reduceat(self._vectors @ unit(vector - self._mean), self._starts)
        owners = self._owners[self._starts]
        nearest: list[int] = owners[np.argsort(-best, kind="stable")[:k]].tolist()
        return nearest
