"""Texts to unit vectors, in batches, each text once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

from matrix_graph.errors import ProviderDown
from matrix_graph.llm.provider import check_refusal, reason_of

Vector = NDArray[np.float32]


class Embedder:
    """An embedding model with a memory of what it has embedded.

    Args:
        model: Any LangChain embeddings.
        batch: Texts per request.
        keep: How many vectors are kept for texts that come again.
    """

    def __init__(self, model: Embeddings, *, batch: int = 256, keep: int = 20_000) -> None:
        self.model = model
        self.name: str = getattr(model, "model", None) or model.__class__.__name__
        self._batch = batch
        self._keep = keep
        self._known: dict[str, Vector] = {}

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of shape (len(texts), dimensions); the zero vector stays zero.

        Raises:
            ProviderDown: the model answers with an error.
            InputError: the provider refuses us.
        """
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        found: dict[str, Vector] = {text: self._known[text] for text in texts if text in self._known}
        for start in range(0, len(new), self._batch):
            part = new[start : start + self._batch]
            found.update(zip(part, await self._request(part), strict=True))
        self._known.update((text, found[text]) for text in new)
        while len(self._known) > self._keep:
            self._known.pop(next(iter(self._known)))
        return np.stack([found[text] for text in texts]) if texts else np.zeros((0, 0), dtype=np.float32)

    async def _request(self, texts: list[str]) -> NDArray[np.float32]:
        try:
            raw = np.asarray(await self.model.aembed_documents([t or " " for t in texts]), dtype=np.float32)
        except Exception as error:
            check_refusal(error, self.name)
            raise ProviderDown(f"The embedding model {self.name} fails: {reason_of(error)}") from error
        norms = np.linalg.norm(raw, axis=1, keepdims=True)
        vectors: NDArray[np.float32] = np.divide(raw, norms, out=np.zeros_like(raw), where=norms > 0)
        return vectors
