"""What filtering changed: the kept rows beside rows drawn at random, as intervals on a line and as
numbers.
"""

from __future__ import annotations

from typing import Any

from matrix_graph.report.html import Html, joined, table, tag
from matrix_graph.runs.record import FilterRecord

_WIDTH, _ROW, _LABEL = 560, 30, 200


def compared(record: FilterRecord) -> Html:
    """Mean of the kept rows less that of the controls, per measure, with its 95 % interval."""
    effects = record.summary["effects"]
    if not effects:
        return tag("p", "Nothing was kept, so there is nothing to compare.")
    drawn = record.summary["controls"]["drawn_from"]
    legend = (
        f"How far the mean of the kept rows lies from that of as many drawn at random ({drawn}), "
        "with the 95 % "
        "interval: to the right of the middle the kept rows have more. "
        "Where the line crosses the middle, it may be chance."
    )
    numbers = [
        [
            effect["measure"],
            *(f"{effect[name]['mean']:.3g}" for name in ("kept", "random", "length_matched")),
            _interval(effect["difference"]["random"]),
            _interval(effect["difference"]["length_matched"]),
        ]
        for effect in effects
    ]
    head = ["", "kept", "random", "of the same lengths", "kept − random", "kept − same lengths"]
    lines = [line for number, effect in enumerate(effects) for line in _line(number, effect)]
    middle = _LABEL + (_WIDTH - _LABEL) / 2
    axis = tag("line", x1=middle, x2=middle, y1=0, y2=_ROW * len(effects), class_="axis")
    drawing = tag(
        "svg",
        axis,
        *lines,
        viewBox=f"0 0 {_WIDTH} {_ROW * len(effects) + 4}",
        role="img",
        class_="chart",
    )
    return joined(
        [tag("p", legend), tag("figure", drawing, class_="intervals"), table(head, numbers)]
    )


def _line(number: int, effect: dict[str, Any]) -> list[Html]:
    """One measure on a scale of its own, with zero in the middle."""
    apart, y = effect["difference"]["random"], number * _ROW + _ROW / 2
    most = max(abs(apart["low"]), abs(apart["high"])) or 1.0
    half = (_WIDTH - _LABEL) / 2 - 12

    def at(value: float) -> str:
        return f"{_LABEL + (_WIDTH - _LABEL) / 2 + half * value / most:.1f}"

    return [
        tag("text", effect["measure"], x=_LABEL - 8, y=y + 4, text_anchor="end"),
        tag(
            "line",
            x1=at(apart["low"]),
            x2=at(apart["high"]),
            y1=y,
            y2=y,
            class_="bar",
            stroke="currentColor",
        ),
        tag(
            "circle", tag("title", _interval(apart)), cx=at(apart["mean"]), cy=y, r=5, class_="bar"
        ),
    ]


def _interval(apart: dict[str, float]) -> str:
    return f"{apart['mean']:+.3g} [{apart['low']:+.3g}, {apart['high']:+.3g}]"
