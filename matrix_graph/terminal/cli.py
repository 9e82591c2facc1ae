"""The command line. Exit codes: 0 done, 2 bad input, 3 fewer rows than asked, 4 provider down, 5 a
cap reached, 6 a person is asked, 130 and 143 stopped.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import signal
import sys
from collections import Counter
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.table import Table

from matrix_graph.boundary.screen import TextConsole, TextHandler, print_json
from matrix_graph.debugger.debugger import Debugger
from matrix_graph.debugger.snapshot import record_of
from matrix_graph.errors import InputError, MatrixError, RunPaused
from matrix_graph.export.folder import export as exported
from matrix_graph.export.formats import VIEWS
from matrix_graph.llm.models import LOCAL
from matrix_graph.report.page import write_report
from matrix_graph.runs.config import RunConfig
from matrix_graph.runs.ended import Ended
from matrix_graph.runs.estimates import estimate as estimated
from matrix_graph.runs.filter_config import FilterConfig
from matrix_graph.runs.filter_runner import afilter_rows, arefilter
from matrix_graph.runs.options import Options
from matrix_graph.runs.template import write_template
from matrix_graph.terminal.filtered import print_filtered
from matrix_graph.terminal.options import options_of
from matrix_graph.terminal.screen import Screen
from matrix_graph.terminal.session import (
    Stops,
    agreed,
    answered,
    prices,
    signalled,
    stepped,
    stoppable,
)
from matrix_graph.terminal.summary import print_rows, print_run
from matrix_graph.terminal.trace import trace as traced
from matrix_graph.terminal.view import LogFile, Quiet, Verbose, View

File = Annotated[
    Path | None, typer.Argument(help="YAML file with options; flags come on top of it")
]
CONFIGURATIONS: dict[str, type[Options]] = {"run": RunConfig, "filter": FilterConfig}
ConfigFile = Annotated[Path | None, typer.Option("--config", help="the same as a flag")]
Resume = Annotated[bool, typer.Option("--resume", help="go on with the run in --out")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="delete the run in --out first")]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
err = TextConsole(stderr=True)


def _version(wanted: bool) -> None:
    if wanted:
        TextConsole().print(f"matrix-graph {version('matrix-graph')}")
        raise typer.Exit


@app.callback()
def main(
    show_version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="say which this is"),
    ] = False,
) -> None:
    """Post-training data from a simulated society."""
    for stream in (sys.stdout, sys.stderr):
        # Where a terminal cannot show all characters, the others are escaped.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    logging.getLogger().addHandler(TextHandler())


@app.command()
@options_of(RunConfig)
def run(
    command: typer.Context,
    config: File = None,
    config_file: ConfigFile = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="step through the run as it happens")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="print the final summary as JSON on standard output")
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_file: LogFile = None,
    **options: Any,
) -> None:
    """Simulate a society and write the data set that comes out of it.

    With --resume and more --rows or --scenarios than it had, a finished run goes on.
    """
    stopped = Stops(command)
    view = View(err, quiet, verbose, log_file)
    try:
        settings = RunConfig.load(_one(config, config_file), options)
        if debug and as_json:
            raise InputError("--debug and --json exclude each other.")
        settings = agreed(settings, err) if resume else settings
        if debug:
            result = stepped(settings, resume, overwrite, stopped, view)
        else:
            result = asyncio.run(stoppable(settings, resume, overwrite, stopped, view))
            result = answered(result, settings, stopped, view)
    except MatrixError as error:
        _fail(error, as_json)
    except KeyboardInterrupt:
        _tell_stopped(settings.folder)
        raise typer.Exit(128 + (stopped[0] if stopped else signal.SIGINT)) from None
    if as_json:
        print_json({"out": str(result.out), **result.summary})
    _write_page(result.out)
    if not quiet:
        print_run(result, err)
    if not result.ended.over:
        _tell_stopped(result.out)
    interrupted = stopped and result.ended.status == "interrupted"
    raise typer.Exit(128 + stopped[0] if interrupted else result.ended.exit_code)


@app.command()
@options_of(RunConfig)
def estimate(
    config: File = None,
    config_file: ConfigFile = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print it as JSON on standard output")
    ] = False,
    **options: Any,
) -> None:
    """Say how many calls and tokens a run would take, without making any."""
    try:
        settings = RunConfig.load(_one(config, config_file), options)
        foreseen = estimated(settings)
    except MatrixError as error:
        _fail(error, as_json)
    if as_json:
        parts = {part.name: part.calls for part in foreseen.parts}
        print_json(foreseen.totals() | {"calls_by_part": parts})
        return
    table = Table("calls for", "calls", "tokens in", "tokens out", box=None)
    for part in foreseen.parts:
        table.add_row(
            part.name,
            f"{part.calls:,}",
            f"{part.calls * part.input_tokens:,}",
            f"{part.calls * part.output_tokens:,}",
        )
    table.add_row(
        "all",
        f"{foreseen.calls:,}",
        f"{foreseen.input_tokens:,}",
        f"{foreseen.output_tokens:,}",
        style="bold",
    )
    out = TextConsole()
    out.print(table)
    if foreseen.cost:
        out.print(f"About {foreseen.cost:.2f} USD.")
    elif settings.model != LOCAL:
        out.print(
            f"No price is known for {settings.model}; give --price IN,OUT (USD per million tokens)."
        )


@app.command()
def show(
    folder: Annotated[Path, typer.Argument(help="a run's folder")],
    rows: Annotated[int, typer.Option(help="how many rows of each kind")] = 5,
) -> None:
    """Read some rows of a finished run, each with where it comes from."""
    try:
        print_rows(folder, rows, TextConsole())
    except MatrixError as error:
        _fail(error, as_json=False)


@app.command()
def trace(
    folder: Annotated[Path, typer.Argument(help="a run's folder")],
    row: Annotated[str, typer.Argument(help="id of a row, kept or dropped")],
) -> None:
    """Show where a row comes from: its calls, its scenario, the person's actions, and what they
    heard.
    """
    try:
        tree = traced(folder, row)
    except MatrixError as error:
        _fail(error, as_json=False)
    TextConsole().print(tree)


@app.command(name="report")
def report_page(
    folder: Annotated[Path, typer.Argument(help="the folder of a run, or of a filter run")],
) -> None:
    """Write the run as one page, FOLDER/report.html, to open in a browser."""
    try:
        path = write_report(folder)
    except MatrixError as error:
        _fail(error, as_json=False)
    err.print(f"Written: {path}", soft_wrap=True)


@app.command()
def debug(
    folder: Annotated[Path, typer.Argument(help="a run's folder, also of one that is going on")],
    trust: Annotated[
        bool, typer.Option("--trust", help="branches may ask the models that the folder names")
    ] = False,
) -> None:
    """Step through a run, see who knew what and why, change the past and compare what comes of it.

    Of a run that is going on elsewhere it shows what has happened up to now. To hold a run as it
    happens, and to change it: matrix-graph run --debug, also with --resume.
    """
    try:
        record = record_of(folder)
        price = record.summary["config"].get("price") or {}
        screen = Screen(Debugger(record), folder, TextConsole(), prices(price), trust=trust)
    except MatrixError as error:
        _fail(error, as_json=False)
    screen.loop()


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="a run's folder")],
    to: Annotated[str, typer.Option(help=", ".join(VIEWS))],
    out: Annotated[
        Path | None, typer.Option(help="where to write; FOLDER/export/TO by default")
    ] = None,
) -> None:
    """Write the rows in a trainer's own layout, with a training recipe where there is one."""
    try:
        done = exported(folder, to, out)
    except MatrixError as error:
        _fail(error, as_json=False)
    for name, count in done.rows.items():
        err.print(f"{count:>8,}  {done.folder / name}", soft_wrap=True)
    for reason, n in Counter(refused["reason"] for refused in done.refused).items():
        err.print(f"{n:>8,}  left out: {reason}", soft_wrap=True)


@app.command(name="filter")
@options_of(FilterConfig)
def filter_file(
    command: typer.Context,
    rows: Annotated[Path, typer.Argument(help="JSON Lines in one of TRL's layouts")],
    config: Annotated[
        Path | None, typer.Option("--config", help="YAML file with options; flags come on top")
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    log_file: LogFile = None,
    **options: Any,
) -> None:
    """Keep of any data set what training learns from; say what goes and why, and write controls to
    train beside.
    """
    stopped = Stops(command)
    try:
        settings = FilterConfig.load(config, options)
        with View(err, quiet, verbose, log_file).listening() as listen:
            options = {"resume": resume, "overwrite": overwrite}
            work = afilter_rows(rows, settings, listen=listen, progress=False, **options)
            result = asyncio.run(signalled(work, stopped, err))
    except MatrixError as error:
        if not isinstance(error, InputError):
            err.print(
                f"Go on with the same command and --resume; {settings.folder} keeps what was "
                "answered."
            )
        _fail(error, as_json=False)
    except (KeyboardInterrupt, asyncio.CancelledError):
        err.print(
            f"Stopped. Go on with the same command and --resume; {settings.folder} keeps what was "
            "answered."
        )
        raise typer.Exit(128 + (stopped[0] if stopped else signal.SIGINT)) from None
    _write_page(result.out)
    if not quiet:
        print_filtered(result, err)


@app.command(name="refilter")
def refilter_folder(
    folder: Annotated[Path, typer.Argument(help="the folder of a filter run")],
    rules: Annotated[
        Path | None,
        typer.Option(help="YAML with rules and thresholds; those of before if not given"),
    ] = None,
) -> None:
    """Filter again with other thresholds, on what was measured before: no model is asked."""
    try:
        result = asyncio.run(arefilter(folder, rules))
    except MatrixError as error:
        _fail(error, as_json=False)
    _write_page(result.out)
    print_filtered(result, err)


@app.command()
@options_of(RunConfig)
def preview(
    command: typer.Context,
    config: File = None,
    config_file: ConfigFile = None,
    **options: Any,
) -> None:
    """Look before the whole: one group and a few rows, in OUT-preview, and what the whole takes."""
    stopped = Stops(command)
    try:
        settings = RunConfig.load(_one(config, config_file), options)
        small, foreseen = settings.preview(), estimated(settings)
        overwrite = (small.folder / "run.json").is_file()
        result = asyncio.run(stoppable(small, False, overwrite, stopped, View(err)))
    except MatrixError as error:
        _fail(error, as_json=False)
    except KeyboardInterrupt:
        raise typer.Exit(128 + signal.SIGINT) from None
    _write_page(result.out)
    if result.ended.status == "complete":
        print_rows(result.out, 2, TextConsole())
    err.print(
        f"Ended {result.ended}. In {result.out}. The whole takes about {foreseen.calls:,} calls"
        + (f", {foreseen.cost:.2f} USD." if foreseen.cost else "."),
        soft_wrap=True,
    )
    raise typer.Exit(128 + stopped[0] if stopped else result.ended.exit_code)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="where to write it")] = Path("run.yaml"),
    of: Annotated[str, typer.Option(help="the configuration of what: run, or filter")] = "run",
) -> None:
    """Write a configuration file with every option, its default and what it means; and the JSON
    schema by which editors complete it.
    """
    try:
        if of not in CONFIGURATIONS:
            raise InputError(f"--of takes {' or '.join(CONFIGURATIONS)}, not {of}.")
        schema = write_template(CONFIGURATIONS[of], file)
    except MatrixError as error:
        _fail(error, as_json=False)
    err.print(f"Written: {file} and {schema}", soft_wrap=True)


def _write_page(folder: Path) -> None:
    """The page of a run that has ended, whose end a page that cannot be made does not change."""
    try:
        write_report(folder)
    except MatrixError as error:
        err.print(f"There is no page: {error}", soft_wrap=True)


def _one(config: Path | None, config_file: Path | None) -> Path | None:
    if config and config_file:
        raise InputError("Name one configuration, as the first word or with --config.")
    return config or config_file


def _fail(error: MatrixError, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"error": str(error)})
    label = "Bad input" if isinstance(error, InputError) else "Error"
    err.print(f"{label}: {error}", soft_wrap=True)
    if isinstance(error, RunPaused):
        raise typer.Exit(Ended.by(error).exit_code)
    raise typer.Exit(2 if isinstance(error, InputError) else 1)


def _tell_stopped(out: Path) -> None:
    if (out / "run.json").is_file():
        err.print(
            f"Go on with: matrix-graph run --out {shlex.quote(str(out))} --resume", soft_wrap=True
        )
    else:
        err.print("Stopped before anything was written.")
