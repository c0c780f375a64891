"""Kill training runs, then every stage, make use-data and imports, many times; write what came of it (make soak).

SIGKILL goes in turn to a rank, the launcher and DVC: every second time at a moment drawn evenly over the length of an
undisturbed run, else when a step drawn at random has been saved. The same command is then run again. Every run that
ends must have left the same bytes as the undisturbed one, and nothing of a killed one may be alive after it. What the
second part kills, and what it demands: `kill_stages`.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from collections import Counter
from pathlib import Path

from kill_runs import Tally, kill_runs, prepare, uninterrupted
from kill_stages import StageTally, kill_stages, prepare_targets

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
RESULT, OF_STAGES = RESULTS / "kill_soak.md", RESULTS / "kill_stages.md"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kills", type=int, nargs="?", default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--date", required=True)
    parser.add_argument("--hardware", default=platform.machine())
    parser.add_argument("--stage-kills", type=int, default=65, help="of the second part; the first has `kills`")
    options = parser.parse_args()
    if options.kills:
        kill_training(options)
    if options.stage_kills:
        kill_each_stage(options)


def kill_training(options: argparse.Namespace) -> None:
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


def kill_each_stage(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        targets = prepare_targets(Path(folder).resolve())
        tally = kill_stages(targets, options.stage_kills, options.seed, lambda now: write_stages(now, options))
    if tally.lost or tally.orphans:
        sys.exit("\n".join(["a result was lost, or a process left behind", *tally.lost]))


def write_stages(tally: StageTally, options: argparse.Namespace) -> None:
    rows = {
        "kills": tally.kills.total(),
        **{f"of them {name}": count for name, count in tally.kills.items()},
        "runs that ended before their kill": tally.late,
        "results lost (another dvc.lock, data.dvc or import after the rerun)": len(tally.lost),
        "processes left behind": tally.orphans,
    }
    head = ["# Killing stages", "", f"{options.date}, {options.hardware}; `make soak`, seed {options.seed}.", ""]
    table = ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items()), ""]
    OF_STAGES.write_text("\n".join([*head, *table]), encoding="utf-8")
    print(f"{tally.kills.total()} kills of stages, {len(tally.lost)} lost, {tally.orphans} left behind", flush=True)


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
