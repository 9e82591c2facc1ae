"""A chat model and embeddings that need no model."""

from __future__ import annotations

from collections import Counter
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field

from matrix_graph.testing.answers import answer_to, inlined, vector_of


class FakeEmbeddings(Embeddings):
    """Embeddings by `vector_of`. `texts` counts how often each text was embedded."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text."""
        self.texts.update(texts)
        return [vector_of(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """The vector of one text."""
        return self.embed_documents([text])[0]


class FakeChat(BaseChatModel):
    """A chat model by `answer_to`, reading a schema out of the words that ask for one.

    `replies` maps a substring of the last message to a fixed answer, or to an exception to raise.
    `calls` counts the calls.
    """

    replies: dict[str, Any] = Field(default_factory=dict)
    calls: int = 0

    @property
    def _llm_type(self) -> str:
        return "fake"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: Any = None,
        **kwargs: Any,
    ) -> ChatResult:
        self.calls += 1
        request = [{"role": m.type, "content": m.text} for m in messages]
        asked = str(messages[-1].text)
        for words, reply in self.replies.items():
            if words in asked:
                if isinstance(reply, BaseException):
                    raise reply
                return result_of(str(reply))
        _, marker, schema = asked.rpartition("It must fit this JSON schema:\n")
        return result_of(answer_to(request, inlined(schema) if marker else None))


def result_of(text: str) -> ChatResult:
    """What a chat model returns that says `text`."""
    return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])
