"""How many results have been looked at before: those that git, DVC and the ledger know, counted when it is asked.

The more one has looked, the better the best result is by chance alone. The ledger of trials
(`factor_experiments.ledger`) has every evaluation that was made here; commits and experiments have those of other
clones, each as a content of summary.json. The larger of both counts. It grows with every run and commit, so it is in no
stage's result, which must be the same bytes when it is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from factor_experiments.git import EXPERIMENTS, INTERNAL, Git
from factor_experiments.ledger import Ledger
from stages.running.files import RESULTS

SUMMARY = RESULTS / "summary.json"
NO_GIT = "looks counted: this run only, since git does not read a repository here"


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Results that were looked at."""

    this_run: int
    """Models and their stack, for every label."""
    earlier: int
    """Others that the repository knows."""
    source: str
    """Where the number of earlier ones comes from, in words."""

    @property
    def total(self) -> int:
        """Return all of them."""
        return self.this_run + self.earlier


def count_looks(this_run: int, models: Iterable[str] = (), results: Path = RESULTS) -> Looks:
    """Return the looks of this run and those that the repository knows; without git, of this run alone.

    A trial of the ledger counts once for each label, a content of summary.json once; what this run has of both (the
    evaluations of `models` and of the stack) counts in `this_run`.
    """
    try:
        git = Git(Path())
    except ValueError as error:
        return Looks(this_run=this_run, earlier=0, source=f"{NO_GIT} ({str(error).splitlines()[0]})")
    written, seen = in_books(git, models, results), in_history(git, results / SUMMARY.name)
    source = f"looks counted: this run, and the larger of {written} in the ledger of trials and {seen} in git and DVC"
    if git.is_shallow():
        source += "; the clone is shallow, so earlier ones are not known"
    return Looks(this_run=this_run, earlier=max(written, seen), source=source)


def in_books(git: Git, models: Iterable[str], results: Path) -> int:
    """Return the forecasts and labels of trials in the ledger that are not those of this run."""
    tables = {"stack": results / "stack" / "ic.parquet"}
    tables |= {name: results / "evaluate" / name / "ic.parquet" for name in models}
    mine = {(name, md5_of(table)) for name, table in tables.items() if table.is_file()}
    others = (trial for trial in Ledger(git).read() if (trial.name, trial.table) not in mine)
    return sum(max(len(trial.series or ()), 1) for trial in others)


def in_history(git: Git, summary: Path) -> int:
    """Return how many contents of summary.json branches, tags and experiments have, each once, less the present one."""
    if not git.text("for-each-ref", "--count=1"):
        return 0
    work = [f"--exclude={EXPERIMENTS}/{name}*" for name in INTERNAL] + ["--exclude=refs/stash"]
    raw = ("--all", "--raw", "--no-abbrev", "--no-renames", "--format=")
    log = git.text("log", *work, *raw, "--", str(summary.resolve()))
    contents = {line.split()[3] for line in log.splitlines() if line.startswith(":")} - {"0" * 40}
    if summary.is_file():
        contents.discard(git.text("hash-object", str(summary.resolve())))
    return len(contents)


def md5_of(path: Path) -> str:
    """Return the md5 of a file, by which DVC and the ledger know it."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
