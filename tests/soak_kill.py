"""Kill training runs at random moments, many times, and write what came of it (make soak).

SIGKILL goes in turn to a rank, the launcher and DVC: every second time at a moment drawn evenly over the length of an
undisturbed run, else when a step drawn at random has been saved. The same command is then run again. Every run that
ends must have left the same bytes as the undisturbed one, and nothing of a killed one may be alive after it.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections import Counter
from pathlib import Path

from kill_runs import Tally, kill_runs, prepare, uninterrupted

RESULT = Path(__file__).parents[1] / "benchmarks" / "results" / "kill_soak.md"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int, nargs="?", default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--date", required=True)
    parser.add_argument("--hardware", default=platform.machine())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkout = prepare(Path(folder).resolve() / "factorcast", cold=True)
        _, seconds = uninterrupted(checkout, options.processes)
        tally = kill_runs(
            checkout,
            options.kills,
            options.seed,
            options.processes,
            told=lambda now: write(now, seconds, options),
        )
        write(tally, seconds, options)
    if tally.different or tally.orphans:
        sys.exit("a run was lost")


def write(tally: Tally, seconds: float, options: argparse.Namespace) -> None:
    """The table so far: a soak that is itself ended leaves what it has seen."""
    victims = Counter(victim for victim, _ in tally.kills)
    rows = {
        "kills": len(tally.kills),
        **{f"of them the {victim}": count for victim, count in sorted(victims.items())},
        "attempts": tally.attempts,
        "attempts that went on from a checkpoint": tally.resumed,
        "runs that ended": tally.finished,
        "runs lost (other bytes than the undisturbed run)": tally.different,
        "processes left behind": tally.orphans,
    }
    lines = [
        "# Killing runs",
        "",
        f"{options.date}, {options.hardware}; `make soak`, one fold, 2 epochs, {options.processes} processes, seed "
        f"{options.seed}. An "
        f"undisturbed run took {seconds:.0f} s.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows.items()),
        "",
    ]
    RESULT.write_text("\n".join(lines), encoding="utf-8")
    print(f"{len(tally.kills)} kills, {tally.finished} runs ended, {tally.different} lost", flush=True)


if __name__ == "__main__":
    main()
