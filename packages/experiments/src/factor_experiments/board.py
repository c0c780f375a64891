"""The board: one offline site of all experiments, with the verdict over all trials and the reports beside it."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from factor_experiments.board_page import Entry, board_page
from factor_experiments.gathering import Gathered
from factor_experiments.git import Git
from factor_experiments.layout import LOCK, PARAMS, REPORT, REPORT_STAGES, report_of
from factor_experiments.lock import lock_outs, parse_yaml
from factor_experiments.revision import flattened
from factor_experiments.stored import Stored
from factor_experiments.trials import judge
from factor_experiments.trials_page import trials_page
from factor_experiments.writing import write_text

LOOPBACK = "127.0.0.1"
INDEX, TRIALS, REPORTS, SWEEPS = "index.html", "trials.html", "reports", "sweeps"


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was written."""

    index: Path
    num_entries: int
    num_reports: int
    undecided: str
    """Why there is no verdict over all trials; empty where there is one."""


def build_board(git: Git, stored: Stored, gathered: Gathered, folder: Path, *, sweeps: Path | None = None) -> Built:
    """Write the site into `folder`: its list and comparison, the verdict, reports of DVC's cache, pages of sweeps.

    Everything is written anew; the folder may be copied or mailed. Reports that only a remote has are left out.
    ValueError where there is no trial, and where the folder holds anything else than a board.
    """
    _check_folder(folder, sweeps)
    if not gathered.trials:
        raise ValueError("there is no trial yet: make repro makes the first ones")
    for name in (REPORTS, SWEEPS):
        shutil.rmtree(folder / name, ignore_errors=True)
    undecided = ""
    try:
        write_text(folder / TRIALS, trials_page(gathered, judge(gathered)))
    except ValueError as error:
        undecided = str(error)
        (folder / TRIALS).unlink(missing_ok=True)
    commits = {trial.id: gathered.commits.get(trial.id) or trial.commit for trial in gathered.trials}
    reports = _reports(stored, _of_commits(git, commits, LOCK), folder)
    pages = _sweeps(sweeps, folder)
    entries = list(_entries(gathered, commits, _of_commits(git, commits, PARAMS), reports))
    write_text(folder / INDEX, board_page(entries, gathered, undecided, pages))
    return Built(
        index=folder / INDEX,
        num_entries=len(entries),
        num_reports=len(set(reports.values())),
        undecided=undecided,
    )


def _check_folder(folder: Path, sweeps: Path | None) -> None:
    """Refuse a folder that holds what is not a board's: its folders of reports and sweeps are deleted."""
    own = {INDEX, TRIALS, REPORTS, SWEEPS}
    there = sorted(one.name for one in folder.iterdir()) if folder.exists() else []
    other = [name for name in there if name not in own and not name.startswith(".")]
    if other:
        raise ValueError(f"{folder}: holds {other[0]}, which no board has: name a folder of its own")
    if sweeps is not None and sweeps.resolve().is_relative_to((folder / SWEEPS).resolve()):
        raise ValueError(f"{sweeps}: lies where the board writes: name another folder")


def _of_commits(git: Git, commits: Mapping[str, str | None], path: str) -> dict[str, bytes | None]:
    """Return a file as every commit that has a trial has it, by commit; None where it has no such file."""
    names = list(dict.fromkeys(filter(None, commits.values())))
    return dict(zip(names, git.contents([f"{name}:{path}" for name in names]), strict=True))


def _entries(
    gathered: Gathered,
    commits: Mapping[str, str | None],
    settings: Mapping[str, bytes | None],
    reports: Mapping[tuple[str, str], str],
) -> Iterator[Entry]:
    """Return every trial, newest first, with what its commit has set otherwise than most."""
    params = {commit: _params(content) for commit, content in settings.items()}
    usual = _usual(list(params.values()))
    for trial in reversed(gathered.trials):
        commit = commits[trial.id]
        own = params.get(commit or "", {})
        yield Entry(
            trial=trial,
            name=gathered.names[trial.id],
            commit=commit,
            settings={key: value for key, value in own.items() if usual.get(key) != repr(value)},
            report=reports.get((commit or "", trial.name)),
            current=trial.id in gathered.current,
        )


def _params(content: bytes | None) -> dict[str, Any]:
    """Return the settings of a commit by dotted keys; none where its file cannot be read as YAML."""
    try:
        document = parse_yaml((content or b"").decode(errors="replace"))
    except ValueError:
        return {}
    return flattened(document) if isinstance(document, dict) else {}


def _usual(params: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the value that most commits have, per key."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for one in params:
        for key, value in one.items():
            counts[key][repr(value)] += 1
    return {key: found.most_common(1)[0][0] for key, found in counts.items()}


def _reports(stored: Stored, locks: Mapping[str, bytes | None], folder: Path) -> dict[tuple[str, str], str]:
    """Copy the reports that DVC's cache has; return (commit, forecast) -> path in the site."""
    found = {}
    for commit, content in locks.items():
        if content is None:
            continue
        outs = lock_outs(content.decode(errors="replace"), REPORT_STAGES, f"{LOCK} of {commit[:9]}")
        for path, out in outs.items():
            name, md5 = report_of(path), stored.cached_digest(out, REPORT)
            if name is None or md5 is None:
                continue
            target = folder / REPORTS / f"{md5}.html"
            if not target.exists() and (page := stored.cached(md5)) is not None:
                write_text(target, page.decode())
            if target.exists():
                found[commit, name] = f"{REPORTS}/{md5}.html"
    return found


def _sweeps(source: Path | None, folder: Path) -> dict[str, str]:
    """Copy the pages of sweeps; return name -> path in the site."""
    found = {}
    for page in sorted(source.glob("*/page.html")) if source is not None else []:
        name = page.parent.name
        write_text(folder / SWEEPS / f"{name}.html", page.read_text(encoding="utf-8"))
        found[name] = f"{SWEEPS}/{name}.html"
    return found


def board_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the site on loopback; nothing outside this machine reaches it. Port 0: a free one."""
    return ThreadingHTTPServer((LOOPBACK, port), partial(SimpleHTTPRequestHandler, directory=str(folder)))
