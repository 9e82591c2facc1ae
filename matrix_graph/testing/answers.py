"""What the stand-ins answer: it depends on the request alone, and fits a schema where one is asked
for.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

DIMENSIONS = 64
_SUBJECTS = (
    "the baker",
    "my neighbour",
    "our foreman",
    "a customer",
    "the clinic",
    "my daughter",
    "the council",
)
_VERBS = (
    "repairs",
    "delays",
    "paints",
    "counts",
    "borrows",
    "returns",
    "measures",
    "sells",
    "records",
    "loses",
)
_THINGS = (
    "map",
    "blanket",
    "pump",
    "ladder",
    "camera",
    "invoice",
    "well",
    "boat",
    "scale",
    "curtain",
    "net",
    "oven",
    "ledger",
    "bicycle",
    "roof",
    "letter",
    "engine",
    "garden",
    "fence",
    "recipe",
    "permit",
    "violin",
)
_PLACES = (
    "market",
    "harbour",
    "school",
    "station",
    "field",
    "workshop",
    "library",
    "bridge",
    "kitchen",
    "depot",
)
_DAYS = (
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "the holiday",
    "harvest",
    "the storm",
)
_WORD = re.compile(r"\w+")


def prose(rng: random.Random, sentences: int = 2) -> str:
    """Sentences and then a question, drawn from `rng`."""

    def clause() -> str:
        return (
            f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.randint(2, 99)} "
            f"{rng.choice(_THINGS)}s "
            f"near the {rng.choice(_PLACES)} before {rng.choice(_DAYS)}"
        )

    statements = [f"{text[0].upper()}{text[1:]}." for text in (clause() for _ in range(sentences))]
    return " ".join(
        [*statements, f"How should I plan for the {rng.choice(_THINGS)} if {clause()}?"]
    )


def code(rng: random.Random) -> str:
    """A solution and its tests, as two blocks of Python."""
    thing, a, b = rng.choice(_THINGS), rng.randint(2, 99), rng.randint(2, 99)
    name = f"{rng.choice(_VERBS)}_{thing}_{a}_{b}"
    docstring = f'"""The cost of so many {thing}s."""'
    solution = f"def {name}(count: int) -> int:\n    {docstring}\n    return count * {a} + {b}"
    tests = "\n".join(f"assert {name}({n}) == {n * a + b}" for n in range(4))
    return f"```python\n{solution}\n```\n\n```python\n{tests}\n```"


def instance(schema: dict[str, Any], rng: random.Random) -> Any:
    """A random value that fits a JSON schema (the keywords of pydantic's plain models)."""
    if "enum" in schema:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "string")
    if kind == "object":
        parts = schema.get("properties", {})
        optional = parts.keys() - set(schema.get("required", parts))
        return {
            name: instance(sub, rng)
            for name, sub in parts.items()
            if name not in optional or rng.random() < 0.5
        }
    if kind == "array":
        low, high = schema.get("minItems", 0), schema.get("maxItems", 3)
        return [instance(schema.get("items", {}), rng) for _ in range(rng.randint(low, high))]
    if kind == "integer":
        return rng.randint(schema.get("minimum", 0), schema.get("maximum", 10))
    if kind == "number":
        return rng.uniform(schema.get("minimum", 0), schema.get("maximum", 1))
    if kind == "boolean":
        return rng.random() < 0.5
    return prose(rng, 1)[: schema.get("maxLength", 200)]


def answer_to(
    messages: Sequence[dict[str, Any]],
    schema: dict[str, Any] | None = None,
    seed: int | None = None,
) -> str:
    """The answer to a request, fixed by its content and its seed."""
    rng = seeded(
        json.dumps([messages, schema] if seed is None else [messages, schema, seed], sort_keys=True)
    )
    if schema:
        return json.dumps(instance(schema, rng))
    asked = f"{messages[0]['content']} {messages[-1]['content']}"
    if "```python" in asked:
        return code(rng)
    if "<think>" in asked:
        return f"<think>\n{prose(rng, 3)}\n</think>\n\n{prose(rng)}"
    if "===" in asked:
        return f"{prose(rng)}\n===\n{prose(rng)}"
    return prose(rng)


def vector_of(text: str) -> list[float]:
    """A bag of hashed words: texts with words in common are similar."""
    vector = np.zeros(DIMENSIONS, dtype=np.float32)
    for word in _WORD.findall(text.lower()):
        digest = blake2b(word.encode(), digest_size=4).digest()
        vector[digest[0] % DIMENSIONS] += 1 if digest[1] % 2 else -1
    return [float(x) for x in vector]


def inlined(schema: str) -> dict[str, Any]:
    from langchain_core.utils.json_schema import dereference_refs

    inlined: dict[str, Any] = dereference_refs(json.loads(schema))
    return inlined


def seeded(text: str) -> random.Random:
    return random.Random(blake2b(text.encode(), digest_size=8).digest())
