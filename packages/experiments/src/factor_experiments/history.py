"""What git and DVC know of evaluations: those in the lock files of every commit, and the tasks of the queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from factor_experiments.git import INTERNAL, Git
from factor_experiments.layout import EVALUATE, LOCK, STACK, forecast_of
from factor_experiments.ledger import Trial, trial_of
from factor_experiments.lock import lock_outs
from factor_experiments.stored import FOLDER, Stored

QUEUE = Path(".dvc") / "tmp" / "exps" / "celery"


@dataclass(frozen=True, kw_only=True)
class Known:
    """An evaluation that a commit has."""

    name: str
    table: str
    """md5 of its table; of a folder whose listing is not at hand the folder's digest."""
    commit: str
    when: datetime


def known_evaluations(
    git: Git, table_of: Callable[[str], str | None], *, working_tree_only: bool = False
) -> list[Known]:
    """Return every evaluation in the lock file of a commit that any ref or reflog leads to, oldest commit first.

    Branches, tags, remote branches, DVC's experiments and stashes, and what amending and rebasing left in the reflogs;
    and the lock file of the working tree. The same table in several commits is one evaluation. `table_of` gives the
    table's md5 by the digest of the output that holds it, None where it cannot be known from here: such outputs are
    told apart by their own digest.
    """
    lines = []
    if not working_tree_only:
        options = ("--all", "--reflog", "--full-history", "--no-show-signature", "--format=%H %ct")
        lines = git.text("log", *options, "--", LOCK).splitlines()
    commits = sorted((int(line.split()[1]), line.split()[0]) for line in lines)
    found: dict[tuple[str, str], Known] = {}
    tables: dict[str, str] = {}
    contents = list(git.contents([f"{commit}:{LOCK}" for _, commit in commits]))
    working, head = git.root / LOCK, git.find("HEAD")
    if working.is_file() and head is not None:
        commits.append((int(datetime.now(UTC).timestamp()), head))
        contents.append(working.read_bytes())
    for (seconds, commit), content in zip(commits, contents, strict=True):
        if content is None:
            continue
        text, where = content.decode(errors="replace"), f"{LOCK} of {commit[:9]}"
        for path, out in lock_outs(text, (f"{EVALUATE}@", STACK), where).items():
            name = forecast_of(path)
            if name is None:
                continue
            if out not in tables:
                tables[out] = table_of(out) or out
            if (name, tables[out]) not in found:
                when = datetime.fromtimestamp(seconds, UTC)
                found[name, tables[out]] = Known(name=name, table=tables[out], commit=commit, when=when)
    return list(found.values())


def names_of_commits(git: Git) -> dict[str, str]:
    """Return a name to show for each commit that a ref points at: the experiment's before the branch's."""
    names: dict[str, str] = {}
    for commit, ref in git.refs():
        parts = ref.split("/")
        if parts[1] == "exps" and parts[2] not in INTERNAL:
            names[commit] = parts[-1]
        elif parts[1] in ("heads", "tags"):
            names.setdefault(commit, "/".join(parts[2:]))
    return names


def with_series(known: Known, stored: Stored, experiments: Mapping[str, str]) -> Trial:
    """Return an evaluation as a trial, with its series where its table can be found; `experiments` by commit."""
    table = None if known.table.endswith(FOLDER) else stored.content(known.table)
    named = experiments.get(known.commit)
    if table is None:
        when = known.when.isoformat(timespec="seconds")
        return Trial(name=known.name, table=known.table, time=when, commit=known.commit, experiment=named)
    return trial_of(known.name, table, commit=known.commit, experiment=named, when=known.when)


def queue_counts(root: Path) -> dict[str, int]:
    """Return how many tasks of DVC's queue are queued, running and failed; all 0 where there never was one."""
    counts: Counter[str] = Counter()
    if (root / QUEUE).is_dir():
        counts.update(task["status"] for task in _tasks(root))
    return {status.lower(): counts[status] for status in ("Queued", "Running", "Failed")}


def _tasks(root: Path) -> list[dict[str, Any]]:
    from dvc.repo import Repo

    tasks: list[dict[str, Any]] = Repo(str(root)).experiments.celery_queue.status()
    return tasks
