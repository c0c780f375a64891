"""The command `factor-metrics`: results as a table or a picture, and what the machine is doing."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from factor_metrics.report.folder import read_results
from factor_metrics.report.png import write_png
from factor_metrics.report.terminal import terminal_table
from factor_metrics.system import record_system_figures, system_figures


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 where the arguments or files are wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"factor-metrics: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"factor-metrics: out of memory ({error or 'none is left'})", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="factor-metrics", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    report = commands.add_parser("report", help="print the results of a folder; with --png draw them")
    report.add_argument("path", type=Path, help="a model's folder, the stack's, or the folder above them")
    report.add_argument("--png", type=Path, metavar="OUT", help="also draw the main charts into this file")
    report.set_defaults(run=_report)
    system = commands.add_parser("system", help="print CPU, memory, disk and GPU as one line of JSON")
    system.add_argument("--record", type=Path, metavar="FILE", help="append to this file instead")
    system.add_argument("--every", type=float, metavar="SECONDS", help="go on until interrupted")
    system.add_argument("--disk", type=Path, default=Path(), help="a folder on the disk to look at")
    system.set_defaults(run=_system)
    return parser


def _report(options: argparse.Namespace) -> None:
    found = read_results(options.path)
    print("\n\n".join(terminal_table(results) for results in found))
    if options.png is not None:
        if len(found) > 1:
            raise ValueError(f"--png draws one folder, and {options.path} holds {len(found)}: name one of them")
        write_png(found[0], options.path, options.png)
        print(f"Drawn: {options.png}")


def _system(options: argparse.Namespace) -> None:
    if options.every is not None and not options.every > 0.0:
        raise ValueError(f"--every must be above 0 seconds, got {options.every}")
    while True:
        if options.record is None:
            print(json.dumps(system_figures(options.disk), allow_nan=False), flush=True)
        else:
            record_system_figures(options.record, options.disk)
        if options.every is None:
            return
        try:
            time.sleep(options.every)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    sys.exit(main())
