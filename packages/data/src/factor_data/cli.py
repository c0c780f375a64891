"""The command `factor-data`: import bars of any layout, export them, simulate some, have a language model read news.

A sub-command is one function that adds its arguments and one that runs, both listed in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import io
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import PurePath
from types import TracebackType
from typing import NamedTuple, get_args

import numpy as np

from factor_data.exporting import EXPORT_LAYOUTS, export_bars
from factor_data.importing import ImportSummary, import_data
from factor_data.news.factors.command import NEWS_FACTORS_HELP, add_news_factors_arguments, run_news_factors
from factor_data.reading.clock import Unit
from factor_data.reading.config import ReadConfig
from factor_data.reading.layouts import LAYOUTS
from factor_data.reading.notes import LeftOut
from factor_data.reading.vendors import VENDORS
from factor_data.simulate.files import SIMULATED_FILES, write_files

FEW = 0.03  # of the labels may be lost without a word
BAR_WIDTH = 30
REDRAW_SECONDS = 0.2
MOST_NAMED = 20  # entries with a line of their own


class Command(NamedTuple):
    """A sub-command: its line of help, what it adds to its parser, what it does."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Bad input ends as one line on stderr and status 2, Ctrl-C with 130; bugs keep a traceback."""
    options = _parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no UTF-8, or no text of this locale
    command = COMMANDS[options.command]
    try:
        command.run(options)
    except (ValueError, OSError) as error:
        print(f"factor-data {options.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"factor-data {options.command}: out of memory ({error or 'none is left'})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nfactor-data {options.command}: stopped (Ctrl-C)", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="factor-data", description="Bars and news, read strictly.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help, description=command.help))
    return parser


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """SRC and what must be said of some layouts; `import_config` reads it back, `options.map` is the map file."""
    parser.add_argument("source", metavar="SRC", help="folder, file or fsspec URL; it is not changed")
    parser.add_argument("--layout", default="auto", choices=["auto", *LAYOUTS], help="how SRC holds bars")
    parser.add_argument(
        "--map", metavar="FILE", help="YAML file with these settings (default: SRC/import.yaml); a dataset.yaml will do"
    )
    parser.add_argument("--vendor", choices=list(VENDORS), help="whose names columns have (default: found from them)")
    parser.add_argument(
        "--column",
        dest="columns",
        action="append",
        type=_pair,
        metavar="OURS=THEIRS",
        help="which column is timestamp, symbol, open, ...; once for each",
    )
    for name, what in (
        ("leave-out", "columns that are not read, or patterns as note_*"),
        ("texts", "columns of text beside the bars that are news of their bar"),
        ("absent", "columns of bars that the files lack, as volume"),
        ("names", "names of columns, for CSV without a line of them"),
        ("factors", "one file per day: factor columns (default: all numbered)"),
        ("targets", "one file per day: ready-made target columns"),
    ):
        parser.add_argument(f"--{name}", type=_names, metavar="A,B,..", help=what)
    for name, what in (
        ("symbol-pattern", "one file per symbol: pattern of the file name with a group (?P<symbol>...)"),
        ("frequency", "qlib: which frequency to read, as day"),
        ("time-format", "how text stamps are written, as %%d.%%m.%%Y"),
        ("time-zone", "zone whose clock the bars keep, as UTC; stamps of another are converted"),
        ("separator", "sign between the values of CSV (default: found)"),
        ("decimal", "decimal sign of CSV"),
        ("thousands", "sign between groups of three digits in CSV"),
    ):
        parser.add_argument(f"--{name}", help=what)
    parser.add_argument("--time-unit", choices=get_args(Unit), help="unit of stamps that are numbers since 1970")
    parser.add_argument("--skip-lines", type=int, help="lines of CSV above the names of columns")
    parser.add_argument("--sort", action="store_const", const=True, help="rows may be in any order of time")


def import_config(options: argparse.Namespace) -> ReadConfig:
    """The configuration that parsed arguments say."""
    said = {one.name: getattr(options, one.name) for one in fields(ReadConfig)}
    said = {name: value for name, value in said.items() if value is not None}
    return ReadConfig(**said | ({"columns": dict(said["columns"])} if "columns" in said else {}))


def _pair(text: str) -> tuple[str, str]:
    ours, sign, theirs = text.partition("=")
    if not sign or not ours.strip():
        raise argparse.ArgumentTypeError(f"must be OURS=THEIRS, as timestamp=Date, got {text!r}")
    return ours.strip(), theirs


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _add_target(parser: argparse.ArgumentParser) -> None:
    add_import_arguments(parser)
    parser.add_argument("target", metavar="DST", help="new folder for bars/, news/ and dataset.yaml")


def _import(options: argparse.Namespace) -> None:
    with ProgressBar() as bar:
        config = import_config(options)
        summary = import_data(options.source, options.target, options.layout, config, bar.show, options.map)
    print(describe(summary))


def describe(summary: ImportSummary) -> str:
    """Say in a few lines what an import read."""
    lines = [
        f"{summary.num_bars:,} bars of {summary.num_symbols:,} symbols, {_stamp(summary.first)} to "
        f"{_stamp(summary.last)}, {summary.num_dates:,} dates (layout {summary.layout!r}, "
        f"time zone {summary.zone or 'not stated'})",
        "missing values: " + (", ".join(f"{name} {n:,}" for name, n in summary.null_counts.items() if n) or "none"),
        "missing dates between a symbol's first and last bar: " + _missing_dates(summary),
    ]
    if summary.lost_share > FEW:
        lines.append(
            f"warning: on one calendar some {summary.lost_share:.0%} of the bars would have no label, since their "
            "entry or exit falls on a date on which only other symbols have a bar. Markets that trade at other times "
            "of the week are told apart by split; exchanges that differ by holidays are named in split.calendars"
        )
    if summary.num_documents:
        lines.append(f"{summary.num_documents:,} news documents (time zone {summary.news_zone or 'not stated'})")
        if summary.news_zone != summary.zone:
            lines.append("bars and news do not state the same time zone: mind news.cutoff_minutes")
    if summary.empty_files:
        lines.append(f"{len(summary.empty_files)} files without rows: {_some(summary.empty_files)}")
    lines += [f"guessed {guess}" for guess in summary.guesses]
    lines += [f"left out {PurePath(one.path).name}: {one.reason}" for one in summary.left_out[:MOST_NAMED]]
    if len(summary.left_out) > MOST_NAMED:
        lines.append(f"left out {len(summary.left_out) - MOST_NAMED:,} more: {_more(summary.left_out[MOST_NAMED:])}")
    return "\n".join(lines)


def _more(left_out: Sequence[LeftOut]) -> str:
    """The names of entries that have no line of their own; all of them, since none may vanish."""
    return ", ".join(PurePath(one.path).name for one in left_out)


def _missing_dates(summary: ImportSummary) -> str:
    if not summary.missing_dates:
        return "none"
    most = [
        f"{symbol} {summary.missing_dates[symbol]:,} (first {', '.join(map(_stamp, dates))})"
        for symbol, dates in summary.first_missing.items()
    ]
    total = sum(summary.missing_dates.values())
    return f"{total:,} in {len(summary.missing_dates):,} symbols, most: {'; '.join(most)}"


def _stamp(stamp: np.datetime64) -> str:
    return f"{stamp!s:.16}".removesuffix("T00:00")


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


class ProgressBar:
    """One line on a terminal's stderr: share of bytes read and the time left at this pace. Quiet elsewhere."""

    def __init__(self) -> None:
        self.is_shown = sys.stderr.isatty()
        self.started = self.drawn = time.monotonic()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_shown:  # leave the line empty
            print("\r" + " " * (BAR_WIDTH + 50) + "\r", end="", file=sys.stderr, flush=True)

    def show(self, done: int, total: int) -> None:
        """Draw `done` of `total` bytes and the time left, at most every `REDRAW_SECONDS`."""
        now = time.monotonic()
        if not self.is_shown or now - self.drawn < REDRAW_SECONDS or not done:
            return
        self.drawn = now
        share = done / total
        left = (now - self.started) * (1 - share) / share
        filled = "#" * int(BAR_WIDTH * share)
        print(
            f"\r[{filled:<{BAR_WIDTH}}] {share:4.0%} of {total / 2**20:,.1f} MiB, ETA {left:,.0f} s ",
            end="",
            file=sys.stderr,
            flush=True,
        )


def _add_export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="bars of any layout that is found by itself, as data/")
    parser.add_argument("target", metavar="DST", help="new folder")
    parser.add_argument("--layout", required=True, choices=list(EXPORT_LAYOUTS), help="how DST is to hold the bars")


def _export(options: argparse.Namespace) -> None:
    done = export_bars(options.source, options.target, options.layout)
    print(
        f"{done.num_bars:,} bars of {done.num_symbols:,} symbols in {done.num_files:,} files (layout {done.layout!r})"
    )


def _add_simulate_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", choices=list(SIMULATED_FILES), help="which files: those of the preset of this name")
    parser.add_argument("target", metavar="DST", help="new folder")
    parser.add_argument("--symbols", type=int, help="number of symbols (default: as the preset's page has it)")
    parser.add_argument("--days", type=int, help="length, in days")
    parser.add_argument("--signal", type=float, default=1.0, help="scale of what can be forecast; 0: nothing")
    parser.add_argument("--seed", type=int, default=7, help="seed of every random number")


def _simulate(options: argparse.Namespace) -> None:
    count = write_files(
        options.name,
        options.target,
        symbols=options.symbols,
        days=options.days,
        signal=options.signal,
        seed=options.seed,
    )
    print(f"{count:,} files of a simulated market in {options.target}. Next: make use-data SRC={options.target}")


COMMANDS = {
    "import": Command("Stream bars of any layout into the project's own.", _add_target, _import),
    "export": Command("Write bars in a layout that others read.", _add_export_arguments, _export),
    "simulate": Command("Write a simulated market as files of others.", _add_simulate_arguments, _simulate),
    "news-factors": Command(NEWS_FACTORS_HELP, add_news_factors_arguments, run_news_factors),
}
