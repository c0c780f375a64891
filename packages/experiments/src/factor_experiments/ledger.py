"""The ledger: every evaluation that was made, in a git ref that only grows.

`refs/factorcast/trials` leads to a chain of commits whose tree has a file per trial, `trials/<id>.json`, a file per
list that trials share, `lists/<digest>.json` (dates, rank ICs of floors), a file per folder of results,
`folders/<digest>.json`, which says what table lies in a folder that dvc.lock names, and one per verdict on the test
dates of a sweep, `verdicts/<id>.json`. Names are digests of what is inside, so two ledgers are merged by taking the
files of both, without conflict; `git gc` keeps what a ref leads to; no branch, amended commit or removed experiment
takes anything away. A ref is updated only if nobody else did meanwhile.

An evaluation that comes out the same to the bit is the same trial. Rank ICs are kept to 1e-5.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from factor_experiments.documents import (
    UNIT,
    all_series,
    list_id,
    of_form,
    parsed,
    trial_document,
    trial_id,
    verdict_document,
)
from factor_experiments.git import Git, GitError, file_commands
from factor_experiments.intake import damaged_files
from factor_experiments.series import Series, read_series

REF = "refs/factorcast/trials"
REMOTES = "refs/factorcast/remotes"
MOST = "factorcast.trials"
"""Setting of the clone: the most trials that its ledger has had, by which a loss is noticed."""
AUTHOR = "factorcast <trials@factorcast.invalid>"
ATTEMPTS = 60
FOLDERS = "folders/"
VERDICTS = "verdicts/"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """One evaluation that was looked at."""

    name: str
    """Name of the forecast: of the model, or "stack"."""
    table: str
    """md5 of its table, by which DVC knows it."""
    time: str
    """First time it was seen, ISO, UTC."""
    commit: str | None = None
    """Commit that had it, or that it was started from."""
    experiment: str | None = None
    """Name of the DVC experiment that made it."""
    settings: Mapping[str, Any] | None = None
    """Settings that decided the evaluation; None where they are not known."""
    cpu_seconds: float | None = None
    """CPU seconds of the training behind it, where it was run; None where it is not known, and of a stack."""
    series: Mapping[str, Series] | None = None
    """Per label; None where the table is nowhere to be found."""

    @property
    def id(self) -> str:
        """Return the digest by which the ledger names it."""
        return trial_id(self.name, self.table)


def trial_of(
    name: str,
    table: bytes,
    *,
    commit: str | None,
    experiment: str | None = None,
    settings: Mapping[str, Any] | None = None,
    when: datetime | None = None,
    cpu_seconds: float | None = None,
) -> Trial:
    """Return the trial that a table of a forecast (Parquet) is; ValueError where it cannot be read."""
    return Trial(
        name=name,
        table=hashlib.md5(table, usedforsecurity=False).hexdigest(),
        time=(when or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds"),
        commit=commit,
        experiment=experiment,
        settings=settings,
        cpu_seconds=cpu_seconds,
        series=read_series(table, name),
    )


def in_order(trials: Iterable[Trial]) -> list[Trial]:
    """Return trials, oldest first."""
    return sorted(trials, key=lambda trial: (trial.time, trial.name, trial.table))


class Ledger:
    """The ledger of a repository."""

    def __init__(self, git: Git, ref: str = REF) -> None:
        self.git, self.ref = git, ref
        self.left_out: dict[str, str] = {}
        """Files of the ledger that was merged last which are damaged and were not taken in, each with the rule."""

    def add(self, trials: Iterable[Trial], folders: Mapping[str, str] | None = None) -> int:
        """Write trials that are not there yet, and series of those that had none; return how many are new.

        `folders` gives the md5 of the table in a folder of results by the folder's digest. Another process may write at
        the same time: the one that comes second takes the first one's ledger as its base.
        """
        listed = {_folder_path(digest): _json(table) for digest, table in (folders or {}).items()}
        wanted = {_trial_path(trial): trial for trial in trials}

        def write(tip: str | None) -> int:
            there = self.git.files(self.ref)
            known = [path for path in wanted if path in there]
            contents = zip(known, self._contents(there, known), strict=True)
            without = {path for path, content in contents if _bare(path, content)}
            new = [
                trial
                for path, trial in wanted.items()
                if path not in there or (path in without and trial.series is not None)
            ]
            files = {path: content for path, content in listed.items() if path not in there}
            if not new and not files:
                return 0
            for trial in new:
                files |= _files_of(trial)
            self._commit(tip, {path: content for path, content in files.items() if _is_new(path, there)}, new)
            return len([trial for trial in new if _trial_path(trial) not in there])

        number = self._until_written(write)
        if number:
            self._remember()
        return number

    def read(self) -> list[Trial]:
        """Return every trial, oldest first. ValueError where a file of the ledger is damaged."""
        lists = {path.split("/")[1].removesuffix(".json"): one for path, one in self._read("lists/", parsed).items()}
        tables = {_folder_digest(path) for path in self.git.files(self.ref) if path.startswith(FOLDERS)}
        dates: dict[str, NDArray[np.datetime64]] = {}
        trials = list(self._read("trials/", lambda content: _trial(content, lists, dates)).values())
        # One whose folder has become known since is there by its table as well.
        return in_order(trial for trial in trials if trial.table not in tables)

    def tables(self) -> dict[str, str]:
        """Return the md5 of the table in each folder of results that is known, by the folder's digest."""
        return {_folder_digest(path): str(table) for path, table in self._read(FOLDERS, parsed).items()}

    def note_verdict(self, digest: str, document: Mapping[str, Any]) -> None:
        """Write down that test dates were looked at for a verdict; the same verdict again changes nothing."""
        path = f"{VERDICTS}{digest}.json"

        def write(tip: str | None) -> None:
            if path not in self.git.files(self.ref):
                self._commit(tip, {path: _json(document)}, ())

        self._until_written(write)

    def verdicts(self) -> list[dict[str, Any]]:
        """Return every verdict that was given, oldest first."""
        return sorted(self._read(VERDICTS, verdict_document).values(), key=lambda one: str(one["time"]))

    def count(self) -> int:
        """Return the number of trials."""
        return sum(path.startswith("trials/") for path in self.git.files(self.ref))

    def lost(self) -> int:
        """Return how many trials this clone's ledger has had once and no longer has."""
        most = self.git.config(MOST)
        return max(0, int(most) - self.count()) if most is not None and most.isdigit() else 0

    def merge(self, other: str, *, mend: bool = False) -> int:
        """Take in the ledger of another ref, without what is damaged in it; return how many trials are new.

        `left_out` names what was not taken in, each time anew: only with `mend` the other ledger counts as taken in all
        the same, so that this one can take its place. Where another process writes at the same time, it is begun again
        with what that has written.
        """
        theirs = self.git.find(other)

        def write(mine: str | None) -> int:
            self.left_out = {}
            if theirs is None or (mine is not None and self.git.is_ancestor(theirs, mine)):
                return 0
            return self._take_in(mine, theirs, mend)

        number = self._until_written(write)
        if number:
            self._remember()
        return number

    def _take_in(self, mine: str | None, theirs: str, mend: bool) -> int:
        """Add what one commit of a ledger has to another one; GitError where the ref has moved since it was `mine`.

        Their commit itself is taken only where it has all that is here, as it is here, and nothing that is damaged.
        """
        ours, others = {} if mine is None else self.git.files(mine), self.git.files(theirs)
        new = [path for path in others if others[path] != ours.get(path)]
        contents = dict(zip(new, self._contents(others, new), strict=True))
        known = [path for path in ours if _is_list(path)]
        self.left_out = damaged_files(contents, dict(zip(known, self._contents(ours, known), strict=True)))
        kept = {path: content for path, content in contents.items() if path not in self.left_out}
        has_all = all(others.get(path) == blob for path, blob in ours.items()) and not self.left_out
        if has_all and (mine is None or self.git.is_ancestor(mine, theirs)):
            self.git.run("update-ref", "--create-reflog", self.ref, theirs, mine or "")
        else:
            both = [path for path in kept if path in ours]
            own = dict(zip(both, self._contents(ours, both), strict=True))
            taken = {
                path: content
                for path, content in kept.items()
                if content is not None and _says_more(path, content, own.get(path))
            }
            if taken or mend or not self.left_out:
                self._commit(mine, taken, (), also=theirs if mend or not self.left_out else None)
        return sum(path.startswith("trials/") and path not in ours for path in kept)

    def mend(self) -> dict[str, str]:
        """Take damaged files out of the ledger, in a commit of its own; return them, each with the rule it breaks."""

        def write(tip: str | None) -> dict[str, str]:
            there = self.git.files(self.ref)
            damaged = damaged_files(dict(zip(there, self._contents(there, list(there)), strict=True)), {})
            if damaged:
                self._commit(tip, dict.fromkeys(damaged), ())
            return damaged

        return self._until_written(write)

    def fetch(self, remote: str, *, mend: bool = False) -> tuple[int, str | None]:
        """Merge the ledger of a remote: (number of new trials, why they could not be looked at or None)."""
        ref = f"{REMOTES}/{remote}"
        self.left_out = {}
        try:
            listed = self.git.text("ls-remote", remote, self.ref)
        except GitError as error:
            return 0, f"{remote} cannot be reached ({str(error).splitlines()[0]})"
        if not listed:
            return 0, f"{remote} has no ledger yet: factor-exp push puts them there"
        self.git.run("fetch", "--quiet", "--no-tags", remote, f"+{self.ref}:{ref}")
        number = self.merge(ref, mend=mend)
        if not self.left_out:
            return number, None
        return (
            number,
            f"{len(self.left_out)} damaged files of the ledger of {remote} were left out, {self.first_left_out}",
        )

    @property
    def first_left_out(self) -> str:
        """The first of the damaged files that were left out, with the rule that it breaks."""
        path, rule = next(iter(self.left_out.items()))
        return f"first {path!r}: {rule}"

    def push(self, remote: str) -> int:
        """Put the ledger into a remote, merged with what it has; return their number of trials there.

        What is damaged there is not in the ledger that takes its place; `left_out` names it.
        """
        for attempt in range(ATTEMPTS):
            self.fetch(remote, mend=True)
            try:
                self.git.run("push", "--quiet", remote, f"{self.ref}:{self.ref}")
                return self.count()
            except GitError as error:
                if attempt == 2 or ("fetch first" not in str(error) and "non-fast-forward" not in str(error)):
                    raise
        return self.count()

    def _until_written(self, write: Callable[[str | None], T]) -> T:
        """Call `write` with the tip of the ref until no other process has moved it meanwhile; return what it does."""
        for attempt in range(ATTEMPTS - 1):
            tip = self.git.find(self.ref)
            try:
                return write(tip)
            except GitError:
                if self.git.find(self.ref) == tip:
                    raise
                time.sleep(0.01 * (attempt + 1))
        return write(self.git.find(self.ref))

    def _read(self, folder: str, read: Callable[[bytes | None], T]) -> dict[str, T]:
        """Return what every file in a folder of the ledger holds; ValueError naming one that is damaged."""
        there = {path: blob for path, blob in self.git.files(self.ref).items() if path.startswith(folder)}
        found = {}
        for path, content in zip(there, self._contents(there, list(there)), strict=True):
            with _named(path):
                found[path] = read(content)
        return found

    def _contents(self, there: Mapping[str, str], paths: Sequence[str]) -> list[bytes | None]:
        return list(self.git.contents([there[path] for path in paths]))

    def _commit(
        self, tip: str | None, files: Mapping[str, bytes | None], new: Sequence[Trial], also: str | None = None
    ) -> None:
        """Add files, or take out those without content, in a commit; GitError where the ref has moved since `tip`."""
        said = ", ".join(trial.name for trial in new[:5]) + (" ..." if len(new) > 5 else "")
        merged = "Merge ledgers" if None not in files.values() else "Take out what is damaged"
        message = (f"{len(new)} trials: {said}" if new else merged).encode()
        lines = [f"commit {self.ref}\ncommitter {AUTHOR} {int(time.time())} +0000\n".encode()]
        lines.append(f"data {len(message)}\n".encode() + message + b"\n")
        lines += [f"from {tip}\n".encode()] if tip else []
        lines += [f"merge {also}\n".encode()] if also else []
        self.git.run("fast-import", "--quiet", "--date-format=raw", stdin=b"".join([*lines, *file_commands(files)]))

    def _remember(self) -> None:
        count, most = self.count(), self.git.config(MOST)
        if most is None or not most.isdigit() or int(most) < count:
            try:
                self.git.set_config(MOST, str(count))
            except GitError:
                return  # another process is writing it; the next trial does


def _trial_path(trial: Trial) -> str:
    return f"trials/{trial.id}.json"


def _folder_path(digest: str) -> str:
    return f"{FOLDERS}{digest}.json"


def _folder_digest(path: str) -> str:
    return path.removeprefix(FOLDERS).removesuffix(".json")


def _is_list(path: str) -> bool:
    return path.startswith("lists/")


def _is_new(path: str, there: Mapping[str, str]) -> bool:
    return not (_is_list(path) and path in there)


def _bare(path: str, content: bytes | None) -> bool:
    """Return whether a trial was written without its series."""
    with _named(path):
        return content is not None and of_form(content, ("time",)).get("labels") is None


def _says_more(path: str, theirs: bytes, ours: bytes | None) -> bool:
    """Return whether the other ledger knows a trial better: with its series, or, both alike, since earlier."""
    if ours is None:
        return True
    if not path.startswith(("trials/", VERDICTS)):
        return False
    if _bare(path, theirs) != _bare(path, ours):
        return _bare(path, ours)
    return bool(of_form(theirs, ("time",))["time"] < of_form(ours, ("time",))["time"])


def _json(document: Any) -> bytes:
    return (json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n").encode()


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Say which file of the ledger is damaged."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path} of the ledger is damaged: {error}; factor-exp mend takes it out") from error


def _files_of(trial: Trial) -> dict[str, bytes]:
    """Return the files of a trial: its own, and the lists that it shares with others."""
    lists: dict[str, bytes] = {}

    def shared(values: list[Any]) -> str:
        content = _json(values)
        digest = list_id(content)
        lists[f"lists/{digest}.json"] = content
        return digest

    labels = None
    if trial.series is not None:
        labels = {}
        for label, one in trial.series.items():
            labels[label] = {"overlap": one.overlap, "dates": shared(one.iso), "rank_ic": integers(one.rank_ic)}
            if one.floor_rank_ic is not None:
                labels[label] |= {"floor": one.floor, "floor_rank_ic": shared(integers(one.floor_rank_ic))}
    document = {
        "name": trial.name,
        "table": trial.table,
        "time": trial.time,
        "commit": trial.commit,
        "experiment": trial.experiment,
        "settings": trial.settings,
        "cpu_seconds": trial.cpu_seconds,
        "labels": labels,
    }
    return {**lists, _trial_path(trial): _json(document)}


def integers(values: NDArray[np.float64]) -> list[int | None]:
    """Return rank ICs as the ledger keeps them, in units of 1e-5; None for those that are undefined."""
    return [round(float(value) / UNIT) if np.isfinite(value) else None for value in values]


def _trial(content: bytes | None, lists: Mapping[str, Any], dates: dict[str, NDArray[np.datetime64]]) -> Trial:
    """Return the trial of a file; ValueError with the rule that it breaks. Dates that trials share are read once."""
    document = trial_document(content)
    return Trial(
        name=document["name"],
        table=document["table"],
        time=document["time"],
        commit=document.get("commit"),
        experiment=document.get("experiment"),
        settings=document.get("settings"),
        cpu_seconds=document.get("cpu_seconds"),
        series=all_series(document, lists, dates),
    )
