"""Small pictures in SVG: bars of counts and of values in bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from matrix_graph.report.html import Html, tag

_LABEL, _BAR, _ROW = 205, 150, 22
_BINS = 10


def bars(counts: Mapping[str, int], limit: int = 8) -> Html:
    """Horizontal bars, the greatest first."""
    shown = sorted(counts.items(), key=lambda item: -item[1])[:limit]
    most = max((count for _, count in shown), default=1)
    parts = []
    for number, (name, count) in enumerate(shown):
        y, width = number * _ROW, max(1.0, _BAR * count / most)
        label = name if len(name) <= 25 else f"{name[:24]}…"
        parts += [
            tag("text", label, tag("title", name), x=_LABEL - 8, y=y + 15, text_anchor="end"),
            tag(
                "rect", x=_LABEL, y=y + 3, width=f"{width:.1f}", height=_ROW - 7, rx=3, class_="bar"
            ),
            tag("text", f"{count:,}", x=f"{_LABEL + width + 6:.1f}", y=y + 15, class_="count"),
        ]
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_LABEL + _BAR + 60} {_ROW * len(shown) + 4}",
        role="img",
        class_="chart",
    )


def histogram(values: Sequence[float]) -> Html:
    """Counts of values in ten bins, with the ends and the median named."""
    counts, edges = np.histogram(values, bins=_BINS)
    width, height = 38.0, 90.0
    most = max(1, int(counts.max()))
    parts = [
        tag(
            "rect",
            tag("title", f"{edges[n]:.3g} to {edges[n + 1]:.3g}: {count}"),
            x=f"{n * width + 2:.1f}",
            y=f"{height - height * count / most + 2:.1f}",
            width=f"{width - 4:.1f}",
            height=f"{height * count / most:.1f}",
            class_="bar",
        )
        for n, count in enumerate(counts)
    ]
    total = width * _BINS
    parts += [
        tag("line", x1=0, x2=total, y1=height + 2, y2=height + 2, class_="axis"),
        tag("text", f"{edges[0]:.3g}", x=0, y=height + 18),
        tag(
            "text",
            f"median {float(np.median(values)):.3g}",
            x=total / 2,
            y=height + 18,
            text_anchor="middle",
        ),
        tag("text", f"{edges[-1]:.3g}", x=total, y=height + 18, text_anchor="end"),
    ]
    return tag("svg", *parts, viewBox=f"0 0 {total:g} {height + 24:g}", role="img", class_="chart")
