"""Repositories with fabricated results: git is real, results are a few numbers put where DVC would keep them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_experiments.git import Git

START = 1_600_000_000
DATES = np.arange("2020-01-01", "2021-09-01", dtype="datetime64[D]")[:400]


def table(
    rank_ics: Mapping[str, NDArray[np.float64]],
    dates: NDArray[np.datetime64] | None = None,
    *,
    floor: NDArray[np.float64] | None = None,
    symbols: int = 7,
    overlaps: Mapping[str, int] | None = None,
    equal: NDArray[np.float64] | None = None,
) -> bytes:
    """Return ic.parquet of a forecast with these rank ICs per label."""
    frames = []
    for label, values in rank_ics.items():
        when = (DATES if dates is None else dates)[: len(values)].astype("datetime64[ns]")
        frame = pd.DataFrame({"timestamp": when, "label": label, "overlap": (overlaps or {}).get(label, 1)})
        frame = frame.assign(ic=values, rank_ic=values, spread=values / 10.0, turnover=0.1)
        beside = np.zeros(len(values)) if floor is None else floor
        frame = frame.assign(floor="reversal_1", floor_rank_ic=beside, symbols=np.int64(symbols))
        frame = frame.assign(net_return=values / 100.0)
        frames.append(frame if equal is None else frame.assign(equal_rank_ic=equal))
    buffer = io.BytesIO()
    pd.concat(frames).to_parquet(buffer, index=False)
    return buffer.getvalue()


@dataclass
class Fabricated:
    """A repository whose commits hold results as a run of the pipeline would leave them."""

    path: Path
    clock: int = START
    environment: dict[str, str] = field(default_factory=dict)
    tables: Mapping[str, bytes] = field(default_factory=dict)
    """Those that were written last."""

    @property
    def git(self) -> Git:
        return Git(self.path)

    def run(self, *command: str) -> str:
        self.clock += 60
        stamp = f"{self.clock} +0000"
        done = subprocess.run(
            command, cwd=self.path, check=False, capture_output=True, text=True,
            env={**os.environ, "GIT_AUTHOR_DATE": stamp, "GIT_COMMITTER_DATE": stamp, **self.environment},
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def results(
        self,
        tables: Mapping[str, bytes],
        settings: Mapping[str, Any] | None = None,
        modules: Mapping[str, str] | None = None,
        data: str = "a",
        params: str = "",
        versions: Mapping[str, str] | None = None,
        beside: Mapping[str, bytes] | None = None,
        valid: Sequence[NDArray[np.datetime64]] = (),
    ) -> None:
        """Write results into the working tree: dvc.lock and plans in git, the tables in DVC's cache.

        `beside` are further files in the folder of each table, `valid` the valid dates of every fold.
        """
        lines = ["schema: '2.0'", "stages:"]
        if valid:
            folds = json.dumps({"folds": [{"valid": dates.astype(str).tolist()} for dates in valid]}).encode()
            listing = [{"md5": self.cache(folds), "relpath": "folds.json"}]
            lines += ["  split:", "    cmd: python", "    outs:", "    - path: results/split", "      hash: md5"]
            lines += [f"      md5: {self.cache(json.dumps(listing).encode(), '.dir')}", "      size: 1"]
        for name, content in tables.items():
            files = {"ic.parquet": content, **(beside or {})}
            listing = [{"md5": self.cache(one), "relpath": file} for file, one in sorted(files.items())]
            digest = self.cache(json.dumps(listing).encode(), ".dir")
            out = "results/stack" if name == "stack" else f"results/evaluate/{name}"
            lines += [f"  {'stack' if name == 'stack' else 'evaluate@' + name}:", "    cmd: python", "    outs:"]
            lines += [f"    - path: {out}", "      hash: md5", f"      md5: {digest}", "      size: 1"]
        (self.path / "dvc.lock").write_text("\n".join(lines) + "\n")
        (self.path / "data.dvc").write_text(
            f"outs:\n- md5: {hashlib.md5(data.encode()).hexdigest()}.dir\n  path: data\n"
        )
        (self.path / "params.yaml").write_text(params or "models: [linear]\n")
        (self.path / "requirements.lock").write_text("numpy==2.4.6\n")
        plans = self.path / "results" / "plan"
        plans.mkdir(parents=True, exist_ok=True)
        labels = {"tokenize": {"labels": {"h1": {"horizon": 1}, "h5": {"horizon": 5}}}}
        evaluated = {f"evaluate_{name}": {} for name in tables if name != "stack"}
        for stage, own in {"tokenize": labels, "stack": dict(settings or {}), **evaluated}.items():
            plan = {
                "stage": stage,
                "settings": own,
                "modules": dict(modules or {"stages.stack": "aa"}),
                "distributions": dict(versions or {"numpy": "2.4.6"}),
            }
            (plans / f"{stage}.json").write_text(json.dumps(plan))

    def cache(self, content: bytes, ending: str = "") -> str:
        """Put a file where DVC keeps it; return its digest."""
        digest = hashlib.md5(content).hexdigest() + ending
        cached = self.path / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
        cached.parent.mkdir(parents=True, exist_ok=True)
        cached.write_bytes(content)
        return digest

    def commit(self, message: str, *options: str) -> str:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", message, *options)
        return self.run("git", "rev-parse", "HEAD")


def make_repository(path: Path) -> Fabricated:
    path.mkdir(parents=True, exist_ok=True)
    made = Fabricated(path)
    made.run("git", "init", "--quiet", "--initial-branch", "main")
    with (path / ".git" / "config").open("a") as file:
        file.write("[user]\n\temail = tests@factorcast.invalid\n\tname = tests\n")
    (path / ".gitignore").write_text("/.dvc/cache\n/.dvc/tmp\n")
    (path / ".dvc").mkdir()
    (path / ".dvc" / "config").write_text("")
    return made


def draws(number: int, num_dates: int = 400, mean: float = 0.0, seed: int = 0) -> list[NDArray[np.float64]]:
    """Return independent series of rank ICs with standard deviation 0.1."""
    generator = np.random.default_rng(seed)
    return [mean + 0.1 * generator.normal(size=num_dates) for _ in range(number)]


def stacked(series: Sequence[NDArray[np.float64]], label: str = "h1") -> list[bytes]:
    return [table({label: one}) for one in series]
