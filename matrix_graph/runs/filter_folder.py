"""The folder of a filter run: what is kept and dropped, controls beside it, a picture, and the
numbers of it all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matrix_graph.boundary.files import (
    make_folder,
    remove,
    write_json,
    write_json_lines,
    write_text,
)
from matrix_graph.errors import InputError
from matrix_graph.export.card import filter_card
from matrix_graph.filtering.controls import effects, length_matched, random_subset
from matrix_graph.filtering.funnel import funnel_svg
from matrix_graph.filtering.graph import with_notes
from matrix_graph.filtering.rows import answer_of, is_safety, prompt_of
from matrix_graph.filtering.step import Drop
from matrix_graph.filtering.steps.pairs import Pairs, audit
from matrix_graph.runs.config import JOURNAL
from matrix_graph.runs.given import FILES, others_in
from matrix_graph.runs.notebook import frame, summary_table
from matrix_graph.runs.received import opened
from matrix_graph.schema import Rejection, Row

if TYPE_CHECKING:
    from pandas import DataFrame

SUMMARY, ROWS, LEDGER = "filter.json", "rows.jsonl", "ledger.jsonl"
_WRITTEN = ("dataset", "controls", "rejected.jsonl", "funnel.svg", "README.md", "report.html")


@dataclass(frozen=True)
class FilterResult:
    """A filter run's folder after it: `summary` is its filter.json."""

    out: Path
    kept: list[Row]
    rejections: list[Rejection]
    summary: dict[str, Any]

    def to_pandas(self) -> DataFrame:
        """The kept rows as a data frame.

        Raises:
            InputError: pandas is not installed.
        """
        return frame(self.kept)

    def _repr_html_(self) -> str:
        figures = {"in": self.out, "kept": f"{len(self.kept)} of {self.summary['given']}"}
        for stage in self.summary["funnel"]:
            if stage["dropped"]:
                figures[stage["step"]] = f"{stage['dropped']} dropped"
        return summary_table(figures, [(prompt_of(row), answer_of(row)) for row in self.kept[:3]])


def check_filter_folder(out: Path, resume: bool, overwrite: bool) -> None:
    if resume and overwrite:
        raise InputError("--resume and --overwrite exclude each other.")
    ours = (opened(out) / SUMMARY).is_file()
    if out.exists() and (not out.is_dir() or (others_in(out) and not ours)):
        raise InputError(
            f"--out {out} holds something that is no filter run; name an empty or a new folder."
        )
    if ours and not resume and not overwrite:
        raise InputError(
            f"--out {out} holds a filter run; go on with it (--resume), or replace it "
            "(--overwrite)."
        )
    if resume and not ours:
        raise InputError(f"{out} holds no filter run to resume.")


def begin_filter_folder(out: Path, overwrite: bool) -> None:
    if overwrite:
        for path in (
            *(out / name for name in (*_WRITTEN, *FILES.values(), ROWS, LEDGER, "export")),
            *_journal(out),
        ):
            remove(path)
    try:
        make_folder(out)
    except OSError as error:
        raise InputError(f"Cannot write to --out {out}: {error}") from error


def _journal(out: Path) -> list[Path]:
    return list(out.glob(f"{JOURNAL}*"))


@dataclass(frozen=True)
class Filtered:
    """Rows through a funnel: `stages` as `funnel` counts them, and names of the hygiene steps."""

    rows: list[Row]
    kept: list[Row]
    rejections: list[Rejection]
    stages: list[dict[str, Any]]
    hygiene: frozenset[str]


def write_filtered(
    filtered: Filtered, paired: Pairs | None, out: Path, head: dict[str, Any]
) -> FilterResult:
    """Write the files of a finished filter run.

    Args:
        paired: The rule that made pairs, if one did: the controls are made by it, too.
        head: What the summary says beside the counts; `config.seed` seeds the controls.
    """
    for name in _WRITTEN:
        remove(out / name)
    rows, kept = filtered.rows, filtered.kept
    pool, drawn_from = _pool(filtered)
    pool = _paired(pool, paired) if paired else pool
    seed = head["config"]["seed"]
    sets = {
        "kept": kept,
        "random": random_subset(pool, len(kept), seed),
        "length_matched": length_matched(pool, kept, seed),
    }
    files = _by_file(kept)
    for name, part in files.items():
        write_json_lines(out / "dataset" / f"{name}.jsonl", part)
    write_json_lines(out / "rejected.jsonl", filtered.rejections)
    kept_ids = {row["id"] for row in kept}
    also_kept: dict[str, int] = {}
    for name in ("random", "length_matched"):
        write_json_lines(out / "controls" / f"{name}.jsonl", sets[name])
        also_kept[name] = len({row["id"] for row in sets[name]} & kept_ids)
    write_text(out / "funnel.svg", funnel_svg(len(rows), filtered.stages))
    controls = {"drawn_from": drawn_from, "pool": len(pool), "seed": seed, "also_kept": also_kept}
    summary = head | {
        "given": len(rows),
        "kept": len(kept),
        "funnel": filtered.stages,
        "controls": controls,
        "effects": effects(sets, seed) if kept else [],
        "pairs": audit(kept),
    }
    write_text(out / "README.md", filter_card(summary, list(files)))
    write_json(out / SUMMARY, summary, indent=2)
    return FilterResult(out, kept, filtered.rejections, summary)


def _pool(filtered: Filtered) -> tuple[list[Row], str]:
    """What the controls are drawn from: the usable rows that the choosing steps chose among, or
    else all rows.
    """
    usable, start, chose = {row["id"]: row for row in filtered.kept}, 0, False
    for stage in filtered.stages:
        dropped = filtered.rejections[start : start + stage["dropped"]]
        start += stage["dropped"]
        if stage["step"] not in filtered.hygiene:
            usable |= {rejection["id"]: rejection["row"] for rejection in dropped}
            chose = chose or bool(dropped)
    if not chose:
        return filtered.rows, "all rows"
    return [usable[row["id"]] for row in filtered.rows if row["id"] in usable], "usable rows"


def _paired(pool: list[Row], paired: Pairs) -> list[Row]:
    """The controls of a set of pairs are pairs, made by the same rule."""
    bare = [row for row in pool if row.get("chosen") is None]
    findings = paired.find(bare)
    gone = {finding.id for finding in findings if isinstance(finding, Drop)}
    made = [row for row in with_notes(pool, findings) if row["id"] not in gone]
    return [row for row in made if row.get("chosen") is not None or is_safety(row)]


def _by_file(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by the file that they go to: one layout and kind each."""
    files: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        layout = next(
            (name for name in ("messages", "chosen", "completion") if row.get(name) is not None),
            "prompt",
        )
        kind = row.get("kind")
        name = (
            "".join(c if c.isalnum() or c in "_-" else "_" for c in kind)[:40]
            if isinstance(kind, str)
            else ""
        )
        files.setdefault(name or {"chosen": "pairs"}.get(layout, "rows"), {}).setdefault(
            layout, []
        ).append(row)
    parts = (
        (name, layout, part) for name, layouts in files.items() for layout, part in layouts.items()
    )
    return {
        name if len(files[name]) == 1 else f"{name}-{layout}": part for name, layout, part in parts
    }
