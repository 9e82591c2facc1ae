"""A configuration to begin with: every option with its default and what it means, and the JSON
schema by which an editor completes it.
"""

from __future__ import annotations

import json
import textwrap
from datetime import date
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from matrix_graph.boundary.files import write_json, write_text
from matrix_graph.errors import InputError
from matrix_graph.runs.options import Options


def write_template(config: type[Options], path: Path) -> Path:
    """Write a commented YAML file for `config`, and beside it the schema, whose path is returned.

    Raises:
        InputError: there is such a file already.
    """
    schema = path.with_suffix(".schema.json")
    for file in (path, schema):
        if file.exists():
            raise InputError(f"{file} is there already; name another file.")
    write_json(schema, json_schema(config), indent=2)
    write_text(path, f"# yaml-language-server: $schema={schema.name}\n{template(config)}")
    return schema


def template(config: type[Options]) -> str:
    """The options as YAML, each commented out at its default, under what it means."""
    return "\n".join(_entry(name, field) for name, field in config.model_fields.items())


def json_schema(config: type[Options]) -> dict[str, Any]:
    """The JSON schema of a configuration's YAML file."""
    return config.model_json_schema()


def _entry(name: str, field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True)
    if isinstance(default, tuple):
        default = list(default)
    value = json.dumps(str(default) if isinstance(default, Path | date) else default)
    about = textwrap.wrap(" ".join((field.description or "").split()), 96)
    return "\n".join([*(f"# {line}" for line in about), f"#{name}: {value}", ""])
