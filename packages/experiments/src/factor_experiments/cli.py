"""The command `factor-exp`: compare two revisions, count every trial and say what survives, share the ledger."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factor_experiments.board import LOOPBACK, board_server, build_board
from factor_experiments.compare import compare
from factor_experiments.compare_page import comparison_page
from factor_experiments.compare_text import comparison_text
from factor_experiments.gathering import Gathered, gather
from factor_experiments.git import Git
from factor_experiments.leaderboard import leaderboard
from factor_experiments.leaderboard_text import leaderboard_markdown, leaderboard_page
from factor_experiments.ledger import Ledger
from factor_experiments.mlflow_export import export
from factor_experiments.revision import WORKSPACE, read_revision
from factor_experiments.stored import Stored
from factor_experiments.trials import judge
from factor_experiments.trials_page import trials_page
from factor_experiments.trials_text import trials_text, written_down
from factor_experiments.writing import write_text
from factor_metrics import to_json_safe


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 2 where the arguments or the repository are wrong."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (ValueError, OSError) as error:
        print(f"factor-exp: {error}", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"factor-exp: out of memory ({error or 'none is left'})", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="factor-exp", description=__doc__)
    parser.add_argument(
        "-C", "--root", type=Path, default=Path(), help="a folder of the repository, by default this one"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("compare", help="is the difference of two revisions more than chance, and what differs?")
    one.add_argument("a", metavar="A", help="revision, branch, tag, name of an experiment, or workspace")
    one.add_argument("b", metavar="B", help="the same; differences are B less A")
    one.add_argument("--any-symbols", action="store_true", help="also pair dates on which other symbols are scored")
    _outputs(one)
    one.set_defaults(run=_compare)
    every = commands.add_parser("trials", help="count every trial, and say whether the best of them is more than luck")
    every.add_argument("--label", help="by default the first label of the working tree")
    _gathering(every)
    _outputs(every)
    every.set_defaults(run=_trials)
    board = commands.add_parser("leaderboard", help="all forecasts of a revision, in order")
    board.add_argument("revision", nargs="?", default=WORKSPACE, help="by default the working tree")
    board.add_argument("--out", type=Path, metavar="FILE", help="write Markdown there instead of printing it")
    _outputs(board)
    board.set_defaults(run=_leaderboard)
    site = commands.add_parser("board", help="one offline site of all experiments, with the verdict and the reports")
    site.add_argument("out", type=Path, metavar="FOLDER", help="is written anew")
    _gathering(site)
    site.add_argument("--sweeps", type=Path, metavar="FOLDER", help="logs of sweeps, whose pages are taken along")
    site.add_argument("--serve", type=int, metavar="PORT", help="then serve it on 127.0.0.1; 0: a free port")
    site.set_defaults(run=_board)
    store = commands.add_parser("mlflow", help="export all trials into an MLflow store, each as a run")
    store.add_argument("store", help="address of the store: sqlite:///mlflow.db, http://...")
    store.add_argument("--experiment", default="factorcast", help="name of MLflow's experiment")
    _gathering(store)
    store.set_defaults(run=_mlflow)
    pushed = commands.add_parser("push", help="put the ledger of trials into a git remote, merged with what is there")
    pushed.add_argument("remote", nargs="?", default="origin")
    pushed.set_defaults(run=_push)
    mended = commands.add_parser("mend", help="take damaged files out of the ledger of trials, and name them")
    mended.set_defaults(run=_mend)
    return parser


def _gathering(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="do not ask git remotes for their ledgers")
    parser.add_argument(
        "--read-only", action="store_true", help="write nothing into the ledger of trials, and ask no remote"
    )


def _gathered(options: argparse.Namespace) -> tuple[Git, Stored, Gathered]:
    git = Git(options.root)
    stored = Stored(git.root)
    return git, stored, gather(git, stored, remotes=not options.offline, write=not options.read_only)


def _outputs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--page", type=Path, metavar="OUT", help="also write a page that opens offline")


def _compare(options: argparse.Namespace) -> None:
    git = Git(options.root)
    result = compare(git, Stored(git.root), options.a, options.b, any_symbols=options.any_symbols)
    print(json.dumps(result.to_dict(), indent=2) if options.json else comparison_text(result))
    if options.page is not None:
        _write(options.page, comparison_page(result))


def _trials(options: argparse.Namespace) -> None:
    _, _, gathered = _gathered(options)
    if not gathered.trials:
        raise ValueError("there is no trial yet: make repro makes the first ones")
    verdict = judge(gathered, options.label)
    document = {"verdict": verdict, "gathered": _counted(gathered)}
    print(json.dumps(to_json_safe(document), indent=2) if options.json else trials_text(gathered, verdict))
    if options.page is not None:
        _write(options.page, trials_page(gathered, verdict))


def _counted(gathered: Gathered) -> dict[str, Any]:
    """Return what is known of the count, without the series."""
    return {
        "trials": len(gathered.trials),
        "gone": gathered.gone,
        "new": gathered.new,
        "unwritten": gathered.unwritten,
        "queue": gathered.queue,
        "missing": gathered.missing,
    }


def _leaderboard(options: argparse.Namespace) -> None:
    git = Git(options.root)
    trials = Ledger(git).read()
    costs = {(one.name, one.table): one.cpu_seconds for one in trials if one.cpu_seconds is not None}
    board = leaderboard(read_revision(git, options.revision), Stored(git.root), costs=costs)
    text = json.dumps(board.to_dict(), indent=2) + "\n" if options.json else leaderboard_markdown(board)
    if options.out is None:
        print(text, end="")
    else:
        _write(options.out, text)
    if options.page is not None:
        _write(options.page, leaderboard_page(board))


def _board(options: argparse.Namespace) -> None:
    git, stored, gathered = _gathered(options)
    built = build_board(git, stored, gathered, options.out, sweeps=options.sweeps)
    print(f"{built.num_entries} evaluations, {built.num_reports} reports: {built.index} (opens offline)")
    print(f"Ledger of trials: {written_down(gathered)}")
    if options.serve is None:
        return
    with board_server(options.out, options.serve) as server:
        print(f"http://{LOOPBACK}:{server.server_port}/ until Ctrl-C", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()


def _mlflow(options: argparse.Namespace) -> None:
    _, _, gathered = _gathered(options)
    new, number = export(gathered, options.store, options.experiment)
    print(f"{options.store} has {number} trials as runs of {options.experiment}, {new} of them new")
    print(f"Ledger of trials: {written_down(gathered)}")


def _push(options: argparse.Namespace) -> None:
    ledger = Ledger(Git(options.root))
    print(f"{options.remote} has {ledger.push(options.remote)} trials in its ledger")
    if ledger.left_out:
        print(f"{len(ledger.left_out)} damaged files that it had are no longer in it, {ledger.first_left_out}")


def _mend(options: argparse.Namespace) -> None:
    damaged = Ledger(Git(options.root)).mend()
    print(f"{len(damaged)} damaged files taken out of the ledger")
    for path, rule in damaged.items():
        print(f"{path!r}: {rule}")


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all, and say where it is."""
    write_text(path, text)
    print(f"Written: {path}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
