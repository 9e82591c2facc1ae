"""The data set card: a Hugging Face README that says what the rows are, where they come from, and
their limits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from matrix_graph.boundary.text import markdown
from matrix_graph.schema import Rejection

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))


def card(summary: Mapping[str, Any], rejections: Sequence[Rejection]) -> str:
    """The README.md of a run's folder, from the contents of its run.json."""
    config, counts = summary["config"], summary["counts"]
    kept: dict[str, int] = counts["kept"]
    total = sum(kept.values())
    head = {
        "tags": ["synthetic", "matrix-graph"],
        "size_categories": [next((name for limit, name in _SIZES if total < limit), "100K<n<1M")],
        "configs": [{"config_name": kind, "data_files": f"dataset/{kind}.jsonl"} for kind in kept],
    }
    rules = Counter(rejection["rule"] for rejection in rejections)
    named = config["profiles"]
    profiles = Path(named).name if named else "the synthetic profiles that matrix-graph ships"
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip(),
        "---",
        "# Synthetic instruction data from a simulated society",
        "",
        "Made with matrix-graph after MATRIX and MATRIX-Gen (arXiv 2410.14251): agents grounded "
        "in profiles live in",
        "groups of the alike; from what happens, a model writes what each person would ask, and "
        "answers it.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {markdown(kind)} rows kept | {n} |" for kind, n in kept.items()),
        f"| rows generated | {sum(counts['generated'].values())} |",
        f"| scenarios / actions | {counts['scenarios']} / {counts['actions']} |",
        f"| agents / groups | {counts['agents']} / {counts['groups']} |",
        f"| communication | {config['communication']} |",
        f"| model | {markdown(model_label(config['model']))} |",
        f"| student | {markdown(model_label(config['student'] or config['model']))} |",
        f"| embeddings | {markdown(model_label(config['embeddings']))} |",
        f"| seed | {config['seed']} |",
        f"| how the run ended | {markdown(summary['ended']['status'])} |",
        "",
        "## Dropped rows",
        "",
        "| rule | rows |",
        "|---|---|",
        *(f"| {markdown(rule)} | {n} |" for rule, n in rules.most_common()),
        "",
        "Every dropped row is in `rejected.jsonl` with the rule, its value and its threshold.",
        "",
        "## Sources and limits",
        "",
        f"Profiles: {markdown(profiles)}. E-mail addresses, links, phone numbers and handles were "
        "removed before any",
        "model read them. The rows carry the licence terms of the profiles and of the models "
        "named above. What people",
        "and answers say is invented by a model: it can be wrong, biased or unsafe, and was not "
        "checked by a person."
        + (
            " The embedded 135M model shows that the pipeline runs; its rows are not fit for "
            "training."
            if config["model"] == "local"
            else ""
        ),
        "",
        "Each row's `provenance` names scenario, agent, actions (`scenarios.jsonl`) and calls "
        "(`journal.sqlite`).",
    ]
    return "\n".join(lines) + "\n"


def model_label(model: str | Mapping[str, Any]) -> str:
    """What a model of a run.json is called: its spec, or the name and the class of an object."""
    return model if isinstance(model, str) else f"{model.get('name')} ({model.get('object')})"


def filter_card(summary: Mapping[str, Any], files: Sequence[str]) -> str:
    """The README.md of a filter run's folder, from the contents of its filter.json."""
    config = summary["config"]
    head = {
        "size_categories": [
            next((name for limit, name in _SIZES if summary["kept"] < limit), "100K<n<1M")
        ],
        "configs": [{"config_name": name, "data_files": f"dataset/{name}.jsonl"} for name in files],
    }
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).strip(),
        "---",
        "# Filtered data set",
        "",
        f"{summary['kept']} of {summary['given']} rows, kept by matrix-graph's filter. Judges:"
        f" {markdown(', '.join(map(model_label, config['judge'])) or 'none')}; student: "
        f"{markdown(model_label(config['student'] or 'none'))}.",
        "",
        "| step | left | dropped |",
        "|---|---|---|",
        *(f"| {markdown(s['step'])} | {s['left']} | {s['dropped']} |" for s in summary["funnel"]),
        "",
        "`controls/` holds as many rows at random and as many of the same lengths: train them, "
        "too, to see what the",
        "filter is worth. The licence is that of the rows given. Every dropped row is in "
        "`rejected.jsonl`.",
    ]
    return "\n".join(lines) + "\n"
