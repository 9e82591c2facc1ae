"""Answers with a shape: the schema for the request, the validation of the answer, the words for a
repair.

Every constraint stands in the JSON schema itself, so that a server that decodes under a grammar
cannot break it. Validation is ours, since asking for it through the client costs twice the CPU.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

M = TypeVar("M", bound=BaseModel)
_FENCE = re.compile(r"^```(?:json)?\s*|(?:(?<!\s)\s++)?```$")
_BLOCK = re.compile(r"^```(?:python|py)?[ \t]*\n(?:(.*?)^```[ \t]*$|.*+)", re.S | re.M)
"""A block of code; one that is not closed goes to the end of the text."""
_THINKING = re.compile(r"\A\s*<think>.*?</think>\s*", re.S)


class Malformed(ValueError):
    """An answer that does not have the shape asked for; the message can be told to the model."""


@cache
def response_format(schema: type[BaseModel]) -> dict[str, Any]:
    """The OpenAI `response_format` that asks for `schema`."""
    from langchain_core.utils.json_schema import dereference_refs

    body = {k: v for k, v in dereference_refs(schema.model_json_schema()).items() if k != "$defs"}
    return {"type": "json_schema", "json_schema": {"name": schema.__name__, "schema": body}}


def schema_in_words(schema: type[BaseModel]) -> str:
    """The same request as text, for models that take no `response_format`."""
    body = json.dumps(schema.model_json_schema(), ensure_ascii=False)
    return f"Answer with one JSON object and nothing else. It must fit this JSON schema:\n{body}"


def python_blocks(text: str) -> list[str]:
    """What stands in the closed blocks of Python, in order."""
    return [match[1] for match in _BLOCK.finditer(text) if match[1] is not None]


def parse(schema: type[M], text: str) -> M:
    """Read `text` as `schema`, tolerating thinking before it, a code fence or words around it.

    Raises:
        Malformed: it does not fit; the message names the fields.
    """
    plain = _FENCE.sub("", _THINKING.sub("", text).strip())
    if not plain.startswith("{") and "{" in plain:
        plain = plain[plain.index("{") : plain.rfind("}") + 1]
    try:
        return schema.model_validate_json(plain)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'answer'}: {e['msg']}"
            for e in error.errors(include_url=False)[:3]
        )
        raise Malformed(f"not the JSON asked for ({problems})") from error
