"""From a spec to a model: `local`, `openai:NAME`, `none`, or a LangChain object of the user's."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatResult
from langchain_core.runnables import Runnable
from pydantic import BaseModel, ConfigDict, SecretStr

from matrix_graph.boundary.bodies import (
    CHAT_LONGEST,
    EMBEDDINGS_LONGEST,
    BadBody,
    client_options,
)
from matrix_graph.boundary.secrets import remember
from matrix_graph.errors import InputError
from matrix_graph.llm import local
from matrix_graph.llm.offline import NOBODY

LOCAL, NONE = "local", "none"
_ENVELOPE = frozenset({"model", "stream", "extra_headers", "extra_query", "extra_body", "timeout"})
"""What the client wants to see itself of a request; the rest is the body."""
_UNREADABLE = (TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""What reading a body of another form raises in the client."""


def chat_model(
    spec: str | Runnable[Any, Any],
    base_url: str | None = None,
    temperature: float | None = None,
    *,
    offline: bool = False,
) -> Runnable[Any, Any]:
    """The chat model that `spec` names.

    Args:
        spec: `local`, `openai:NAME` for any server that speaks OpenAI's API, a chat model, or
            `none` where no model may be asked.
        base_url: The server's URL with its `/v1`; OpenAI's own by default.
        temperature: Sampling temperature; the provider's default if None (0.7 for `local`).
        offline: It will not be asked anything; neither a key nor weights are needed.

    Raises:
        InputError: an unknown spec, a missing key, or missing weights.
    """
    if not isinstance(spec, str):
        inner_model(spec)
        return spec
    if spec == NONE:
        return _NoChat()
    if spec == LOCAL:
        return _openai(
            model=local.CHAT_MODEL,
            base_url=NOBODY if offline else local.chat_server(),
            api_key=SecretStr(local.chat_key()),
            temperature=0.7 if temperature is None else temperature,
            top_p=0.9,
            extra_body={"repeat_penalty": 1.1},
        )
    name = _openai_name(spec, "model")
    base_url = NOBODY if offline else base_url
    return _openai(model=name, base_url=base_url, api_key=_key(base_url), temperature=temperature)


class ModelObject(BaseModel):
    """What a file keeps of a model that was an object.

    Attributes:
        object: Its class.
        name: Its name, by which its calls are on record.
        native_schema: Whether it takes the shape of an answer as OpenAI's `response_format`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    object: str
    name: str
    native_schema: bool = False

    def stand_in(self) -> Runnable[Any, Any]:
        """A chat model of that name, to read what is on record; it answers nobody."""
        if self.native_schema:
            return _openai(model=self.name, base_url=NOBODY, api_key=SecretStr("none"))
        return _NoChat(model_name=self.name)

    def __str__(self) -> str:
        return f"{self.name} ({self.object})"


def recorded(spec: str | Runnable[Any, Any] | Embeddings | ModelObject) -> str | ModelObject:
    """How a model stands in a file: its spec, or what there is to say of an object."""
    if isinstance(spec, str | ModelObject):
        return spec
    native = isinstance(spec, Runnable) and takes_schema(spec)
    return ModelObject(object=type(spec).__name__, name=name_of(spec), native_schema=native)


def name_of(model: Runnable[Any, Any] | Embeddings) -> str:
    """The name under which a model's calls are on record."""
    inner: Any = inner_model(model) if isinstance(model, Runnable) else model
    named = getattr(inner, "model_name", None) or getattr(inner, "model", None)
    return named if isinstance(named, str) else type(inner).__name__


def takes_schema(model: Runnable[Any, Any]) -> bool:
    """Whether a chat model takes the shape of an answer as OpenAI's `response_format`."""
    from langchain_openai.chat_models.base import BaseChatOpenAI

    return isinstance(inner_model(model), BaseChatOpenAI)


def inner_model(model: Runnable[Any, Any]) -> BaseChatModel:
    """The chat model within `bind()`, `with_retry()` and the like.

    Raises:
        InputError: there is none.
    """
    inner: Any = model
    while not isinstance(inner, BaseChatModel):
        inner = getattr(inner, "bound", None)
        if inner is None:
            raise InputError(
                f"{type(model).__name__} is no chat model: give its name, or a LangChain chat "
                "model, with bind() or with_retry() around it if need be."
            )
    return inner


def remember_keys(model: object) -> None:
    """Have the keys that a model holds never kept nor shown."""
    for value in vars(model).values():
        if isinstance(value, SecretStr):
            remember(value.get_secret_value())


def embedding_model(
    spec: str | Embeddings, base_url: str | None = None, *, offline: bool = False
) -> Embeddings:
    """The embedding model that `spec` names; as `chat_model`. `none:NAME` reads what NAME has on
    record.
    """
    if isinstance(spec, Embeddings):
        return spec
    if spec.partition(":")[0] == NONE:
        return _NoEmbeddings(spec.partition(":")[2])
    if offline:
        return _NoEmbeddings(
            local.EMBEDDING_MODEL if spec == LOCAL else _openai_name(spec, "embeddings")
        )
    if spec == LOCAL:
        return _minilm()
    from langchain_openai import OpenAIEmbeddings
    from openai import DefaultAioHttpClient

    return OpenAIEmbeddings(
        model=_openai_name(spec, "embeddings"),
        base_url=base_url,
        api_key=_key(base_url),
        http_async_client=DefaultAioHttpClient(**client_options(EMBEDDINGS_LONGEST)),
        check_embedding_ctx_length=False,
        max_retries=4,
    )


def is_local(spec: object) -> bool:
    """Whether a spec names the embedded model."""
    return isinstance(spec, str) and spec == LOCAL


class _NoChat(BaseChatModel):
    """Answers nobody."""

    model_name: str = NONE

    @property
    def _llm_type(self) -> str:
        return NONE

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise InputError("No chat model is named here; give the context a model.")


class _NoEmbeddings(Embeddings):
    """Embeds nothing, under the name of a model whose vectors are on record."""

    def __init__(self, name: str) -> None:
        self.model = name

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise InputError("No embedding model is named here; give the context embeddings.")

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


async def close_model(model: Runnable[Any, Any] | Embeddings) -> None:
    """Close the connections of a model that was made here."""
    client = getattr(model, "http_async_client", None)
    if client is not None:
        await client.aclose()


@cache
def _minilm() -> Embeddings:
    return local.MiniLM()


def _openai(**options: Any) -> BaseChatModel:
    from openai import DefaultAioHttpClient

    # With a client of its own, `ChatOpenAI` streams without saying what it used unless told to.
    client = DefaultAioHttpClient(**client_options(CHAT_LONGEST))
    options |= {"stream_usage": True, "http_async_client": client}
    return _lean_chat()(**options, max_retries=0)


@cache
def _lean_chat() -> Callable[..., BaseChatModel]:
    from langchain_openai import ChatOpenAI

    class LeanChatOpenAI(ChatOpenAI):
        """`ChatOpenAI` whose messages the client sends as they are.

        They are plain JSON already; its walk over them by their declared types takes a quarter of a
        call's CPU.
        """

        def _get_request_payload(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
            payload = super()._get_request_payload(*args, **kwargs)
            if "messages" not in payload:
                return payload
            kept = {name: payload[name] for name in _ENVELOPE & payload.keys()}
            body = {name: value for name, value in payload.items() if name not in _ENVELOPE}
            return kept | {"messages": [], "extra_body": body | (payload.get("extra_body") or {})}

        async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
            try:
                result = await super()._agenerate(*args, **kwargs)
            except _UNREADABLE as error:
                words = f"the answer is no chat completion ({type(error).__name__}: {error})"
                raise BadBody(words[:200]) from error
            if not result.generations or not isinstance(result.generations[0].message, AIMessage):
                raise BadBody("the answer is no chat completion (it holds no assistant's message)")
            if not isinstance((result.llm_output or {}).get("token_usage"), dict):
                result.llm_output = None
            return result

    return LeanChatOpenAI


def _openai_name(spec: str, what: str) -> str:
    provider, _, name = spec.partition(":")
    if provider != "openai" or not name:
        raise InputError(
            f"{what} {spec!r} is not understood; use 'local' or 'openai:NAME' (with --base-url "
            "for your own server)."
        )
    return name


def _key(base_url: str | None) -> SecretStr:
    key = os.environ.get("OPENAI_API_KEY", "")
    if not key and not base_url:
        raise InputError(
            "No API key: set OPENAI_API_KEY, or name your own server with --base-url, "
            f"or use --model local. For the local model: {local.INSTALL}"
        )
    return SecretStr(remember(key) or "none")
