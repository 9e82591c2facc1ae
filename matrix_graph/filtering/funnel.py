"""The funnel: how many rows each rule let through, in numbers and as a picture that needs nothing
but a viewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape
from typing import Any

from matrix_graph.boundary.text import inert
from matrix_graph.schema import Rejection

_WIDTH, _ROW, _LABEL, _BAR = 860, 34, 190, 420
_KEPT, _DROPPED = "#2b6cb0", "#dd6b20"


def funnel(
    steps: Sequence[tuple[str, int, int]], rejections: Sequence[Rejection]
) -> list[dict[str, Any]]:
    """Per step what is left after it, what it dropped, and by which rules.

    Args:
        steps: Name, dropped and left of each step, as the graph tells of them.
        rejections: In the order of the steps.
    """
    stages, start = [], 0
    for name, dropped, left in steps:
        rules = Counter(rejection["rule"] for rejection in rejections[start : start + dropped])
        stages.append({"step": name, "left": left, "dropped": dropped, "rules": dict(rules)})
        start += dropped
    return stages


def funnel_svg(total: int, stages: Sequence[dict[str, Any]]) -> str:
    """The funnel as an SVG picture: a bar a step, what it dropped at the bar's end."""
    rows = [
        ("given", total, 0, {}),
        *((s["step"], s["left"], s["dropped"], s["rules"]) for s in stages),
    ]
    height = _ROW * len(rows) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>Rows left after each step of the filter</title>",
    ]
    scale = _BAR / max(1, total)
    for number, (name, left, dropped, rules) in enumerate(rows):
        y, end = 10 + number * _ROW, _LABEL + left * scale
        why = f"  (− {dropped:,})" if dropped else ""
        if rules:
            why = f"  (− {', '.join(f'{n:,} {rule}' for rule, n in rules.items())})"
        parts += [
            _text(_LABEL - 10, y, name.replace("_", " "), "end"),
            _bar(_LABEL, y, left * scale, _KEPT),
            _bar(end, y, dropped * scale, _DROPPED),
            _text(end + dropped * scale + 8, y, f"{left:,}{why}", "start"),
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bar(x: float, y: int, width: float, fill: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 10}" rx="3" fill="{fill}"/>'
    )


def _text(x: float, y: int, text: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y + 17}" text-anchor="{anchor}"'
    return f'<text {place} fill="currentColor">{escape(inert(text))}</text>'
