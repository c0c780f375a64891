"""The command `factor-serve`: forecast from a bundle and bars, check a bundle, answer over HTTP.

A sub-command is one function that adds its arguments and one that runs, both listed in `COMMANDS`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from factor_data import LAYOUTS, Panel
from factor_serve.bundle import Bundle, BundleError, load_bundle
from factor_serve.export.command import add_export_arguments, run_export
from factor_serve.export.names import STACK
from factor_serve.http.command import add_http_arguments, run_http
from factor_serve.shadow.command import add_compare_arguments, add_shadow_arguments, run_compare, run_shadow
from factor_serve.shadow.due import add_due_arguments, run_due
from factor_serve.stamps import without_zone

ENSEMBLE = "FACTOR_SERVE_ENSEMBLE"
"""Variable of the environment that stands for --ensemble."""
OFF = "none"
"""What --ensemble is where neither says: no label is forecast by the stack."""


class Command(NamedTuple):
    """A sub-command: its line of help, what it adds to its parser, what it does."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. What the user can mend ends as one line on stderr and status 2, Ctrl-C with 130."""
    options = _parser().parse_args(arguments)
    try:
        return COMMANDS[options.command].run(options)
    except (ValueError, OSError) as error:
        print(f"factor-serve {options.command}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"factor-serve {options.command}: out of memory ({error or 'none is left'})", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nfactor-serve {options.command}: stopped (Ctrl-C)", file=sys.stderr)
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="factor-serve", description="Forecasts from a bundle.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help, description=command.help))
    return parser


def add_identity(parser: argparse.ArgumentParser) -> None:
    """The argument that names a bundle by its identity."""
    parser.add_argument(
        "--sha256", metavar="HASH", help="refuse any bundle but the one whose manifest has this sha256, as a tag says"
    )


def add_ensemble(parser: argparse.ArgumentParser) -> None:
    """The argument that switches the ensemble on for some labels."""
    parser.add_argument(
        "--ensemble",
        metavar="LABELS",
        help="labels that the stack forecasts, or all, or none; others are forecast by their best member out of fold "
        f"(default: ${ENSEMBLE}, or {OFF})",
    )


def switched_on(options: argparse.Namespace) -> str:
    """Return the labels whose ensemble is switched on, by the command or the environment; `OFF` where neither says."""
    found: str | None = options.ensemble if options.ensemble is not None else os.environ.get(ENSEMBLE)
    return found or OFF


def said_of_switch(models: Mapping[str, str]) -> str | None:
    """Say in words which labels the stack does not forecast, and what does; None where it forecasts all."""
    off = [f"{label} by {model}" for label, model in models.items() if model != STACK]
    return f"the ensemble is off for {', '.join(off)}; --ensemble says where it is on" if off else None


def served(folder: str, unpromoted: bool, sha256: str | None = None) -> Bundle:
    """Return the bundle of a folder; BundleError where its stack has not passed the gates and nobody said it may."""
    bundle = load_bundle(folder, sha256)
    if not bundle.promoted and not unpromoted:
        failed = [gate["rule"] for gate in bundle.manifest["gates"] if not gate["passed"]]
        raise BundleError(f"{folder}: is not promoted ({'; '.join(failed)}); --unpromoted forecasts all the same")
    return bundle


def add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `predict`."""
    add_source_arguments(parser)
    parser.add_argument("--at", metavar="DATE", help="the date that is forecast (default: the last one of the bars)")
    parser.add_argument("--since", metavar="DATE", help="forecast every date from this one on")
    parser.add_argument(
        "--news", metavar="PATH", help="news documents, where the bundle reads news; none: there were none"
    )
    parser.add_argument("--model", help="stack, all, or a member's name (default: as --ensemble says)")
    add_ensemble(parser)
    parser.add_argument("--out", metavar="FILE", required=True, help="a .parquet or .csv file")
    parser.add_argument("--follow", action="store_true", help="go on: append each date that comes to BARS")
    parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="with --follow: between two looks")
    parser.add_argument("--unpromoted", action="store_true", help="also if the stack has not passed its gates")


def run_predict(options: argparse.Namespace) -> int:
    """Forecast one date or several, and write them; with --follow go on."""
    from factor_serve.follow import follow
    from factor_serve.forecasts import forecast, strangers_of, switched
    from factor_serve.sources import bars_of, news_of
    from factor_serve.writing import check_ending, write_forecasts

    out = Path(options.out)
    check_ending(out)
    if options.at is not None and options.since is not None:
        raise ValueError("--at and --since: give one of them")
    if not options.every > 0:
        raise ValueError(f"--every {options.every:g}: must be above 0 seconds")
    bundle = served(options.bundle, options.unpromoted, options.sha256)
    if options.model is not None and options.ensemble is not None:
        raise ValueError("--model and --ensemble: give one of them")
    if options.model is None:
        options.model = switched(bundle, switched_on(options))
        if off := said_of_switch(options.model):
            print(f"note: {off}", file=sys.stderr)
    if options.follow:
        if options.at is not None:
            raise ValueError("--at names one date, --follow goes on with those that come: give one of them")
        return follow(bundle, options, out)
    panel = bars_of(options.bars, options.layout, options.map)
    dates = wanted_dates(options, panel)
    if not len(dates):
        raise ValueError(
            f"--since {options.since}: the bars have no date from it on; the last one is {panel.dates[-1]!s:.19}"
        )
    frame = forecast(bundle, panel, news_of(options.news, bundle, panel), dates, options.model)
    write_forecasts(frame, out)
    if note := strangers_of(bundle, frame):
        print(f"note: {note}", file=sys.stderr)
    print(f"{len(frame):,} forecasts of {frame['timestamp'].nunique()} dates in {out}")
    return 0


def wanted_dates(options: argparse.Namespace, panel: Panel) -> NDArray[np.datetime64]:
    """Dates of the bars that are forecast."""
    if options.since is not None:
        since = without_zone(options.since, "--since")
        return panel.dates[panel.dates >= since]
    return panel.dates[-1:] if options.at is None else np.array([without_zone(options.at, "--at")])


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `check`."""
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the bundle")
    add_identity(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--max-ms", type=float, metavar="MS", help="the longest that forecasting the canary may take")
    parser.add_argument("--unpromoted", action="store_true", help="a stack that has not passed its gates is all right")


def run_check(options: argparse.Namespace) -> int:
    """Print every check; status 1 where one is not passed."""
    from factor_serve.check import as_json, as_text, check_bundle

    checks = check_bundle(options.bundle, unpromoted=options.unpromoted, max_ms=options.max_ms, sha256=options.sha256)
    print(as_json(checks) if options.json else as_text(checks))
    return 0 if all(one.passed for one in checks) else 1


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that name a bundle and bars."""
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the bundle")
    add_identity(parser)
    parser.add_argument("bars", metavar="BARS", help="bars in any layout that factor-data import reads")
    parser.add_argument("--layout", default="auto", choices=["auto", *LAYOUTS], help="how BARS holds bars")
    parser.add_argument("--map", metavar="FILE", help="YAML file that says how BARS are read (docs/reading.md)")


def add_shadowed(parser: argparse.ArgumentParser) -> None:
    """Arguments of `shadow`, with those of its sources."""
    add_source_arguments(parser)
    add_shadow_arguments(parser)


def add_served_over_http(parser: argparse.ArgumentParser) -> None:
    """Arguments of `http`."""
    add_http_arguments(parser)
    add_ensemble(parser)


def run_served_over_http(options: argparse.Namespace) -> int:
    """Serve until the process is told to end."""
    return run_http(options, switched_on(options))


COMMANDS = {
    "predict": Command("Forecast from bars.", add_predict_arguments, run_predict),
    "shadow": Command("Log forecasts and judge them when labels are known.", add_shadowed, run_shadow),
    "compare": Command("Set the logs of two bundles side by side.", add_compare_arguments, run_compare),
    "due": Command("Say whether a log calls for an update of the models.", add_due_arguments, run_due),
    "export": Command("Write members as ONNX graphs.", add_export_arguments, run_export),
    "check": Command("Check a bundle without any bars.", add_check_arguments, run_check),
    "http": Command("Answer over HTTP.", add_served_over_http, run_served_over_http),
}
