"""Everything that is known of trials, brought into the ledger; and what cannot be known from here, said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from factor_experiments.git import Git, GitError
from factor_experiments.history import Known, known_evaluations, names_of_commits, queue_counts, with_series
from factor_experiments.layout import SERIES, plan_path
from factor_experiments.ledger import Ledger, Trial, in_order
from factor_experiments.stored import FOLDER, Stored

READ_ONLY = "--read-only"


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The trials of a repository, and what is said with their number."""

    trials: tuple[Trial, ...]
    """Every trial, oldest first."""
    names: Mapping[str, str]
    """By trial: a name that no other one has."""
    gone: int
    """Trials that the ledger alone knows: no commit that a ref or reflog leads to has them."""
    new: int
    """Trials that commits have and the ledger had not, until now."""
    unwritten: str
    """Why these were not written into the ledger; empty where they were."""
    queue: Mapping[str, int]
    """Tasks of DVC's queue that are queued, running, failed: none of them is counted as a look."""
    missing: tuple[str, ...]
    """Why trials may be missing from the count; empty where nothing says so."""
    commits: Mapping[str, str]
    """By trial: a commit that has it; without those that no commit has."""
    current: tuple[str, ...]
    """Trials that the working tree has, without those of models that it no longer lists."""


def gather(git: Git, stored: Stored, *, remotes: bool = True, write: bool = True) -> Gathered:
    """Return every trial of the ledger, of its copies in git remotes, and of all commits.

    What the ledger lacks is written into it, since commits may be gone tomorrow; where git refuses that, the trials are
    counted all the same. With `remotes=False` no remote is asked, which is said. With `write=False` no ref changes, so
    no remote is asked either.
    """
    ledger = Ledger(git)
    missing = []
    if lost := ledger.lost():
        missing.append(f"the ledger of this clone once had {lost} more trials than now")
    if remotes and write:
        missing += _from_remotes(git, ledger)
    else:
        missing.append(f"git remotes were not asked ({'--offline' if write else READ_ONLY})")
    if git.is_shallow():
        missing.append("the clone is shallow: commits before it starts are not looked at (git fetch --unshallow)")
    tables = ledger.tables()
    found_here: dict[str, str] = {}

    def table_of(out: str) -> str | None:
        """Return the md5 of the table in an output, as the ledger or its listing say it."""
        if out not in tables and (md5 := stored.digest(out, SERIES)) is not None and md5 != out:
            tables[out] = found_here[out] = md5
        return tables.get(out, None if out.endswith(FOLDER) else out)

    known, names = known_evaluations(git, table_of), names_of_commits(git)
    experiments = {commit: name for name, commit in git.experiments().items()}
    there = {trial.id: trial for trial in ledger.read()}
    found = [
        with_series(one, stored, experiments)
        for one in known
        if (trial := there.get(_id(one))) is None or trial.series is None
    ]
    new, unwritten = _write_down(ledger, found, found_here) if write else (0, READ_ONLY)
    if stored.unreachable is not None and any(trial.series is None for trial in found):
        missing.append(f"tables that DVC's cache lacks could not be fetched: {stored.unreachable}")
    trials, ids = ledger.read(), {_id(one) for one in known}
    if unwritten:
        new = sum(trial.id not in there for trial in found)
        trials = _with_unwritten(trials, found, found_here)
    commits = {_id(one): one.commit for one in known}
    return Gathered(
        trials=tuple(trials),
        names=_names(trials, commits, names),
        commits=commits,
        gone=sum(trial.id not in ids for trial in trials),
        new=new,
        unwritten=unwritten if new else "",
        queue=queue_counts(git.root),
        missing=tuple(missing),
        current=tuple(
            _id(one)
            for one in known_evaluations(git, table_of, working_tree_only=True)
            if (git.root / plan_path(one.name)).is_file()  # a lock file keeps the stages of models that have left
        ),
    )


def _write_down(ledger: Ledger, found: Sequence[Trial], folders: Mapping[str, str]) -> tuple[int, str]:
    """Return how many trials are new in the ledger, and why none could be written; empty where they were."""
    try:
        return ledger.add(found, folders), ""
    except GitError as error:
        return 0, str(error).splitlines()[0]


def _with_unwritten(trials: Sequence[Trial], found: Sequence[Trial], folders: Mapping[str, str]) -> list[Trial]:
    """Return the trials that the ledger would have, had these been written."""
    by_id = {trial.id: trial for trial in (*trials, *found)}  # what was found says more than what is there
    return in_order(trial for trial in by_id.values() if trial.table not in folders)


def _from_remotes(git: Git, ledger: Ledger) -> list[str]:
    said = []
    for remote in git.text("remote").splitlines():
        try:
            _, why = ledger.fetch(remote)
        except GitError as error:
            why = f"the ledger of {remote} cannot be fetched ({str(error).splitlines()[0]})"
        said += [why] if why is not None else []
    return said


def _id(known: Known) -> str:
    return Trial(name=known.name, table=known.table, time="").id


def _names(trials: list[Trial], commits: Mapping[str, str], refs: Mapping[str, str]) -> dict[str, str]:
    """Return "model @ experiment, branch or commit" per trial, numbered where two would be the same."""
    names: dict[str, str] = {}
    seen: dict[str, int] = {}
    for trial in trials:
        commit = commits.get(trial.id) or trial.commit or "no commit"
        where = trial.experiment or refs.get(commit) or commit[:9]
        name = f"{trial.name} @ {where}"
        seen[name] = seen.get(name, 0) + 1
        names[trial.id] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return names
