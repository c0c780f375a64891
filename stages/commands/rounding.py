"""Do the numbers differ from the committed ones, and is that what another CPU explains? One line at the end of a run.

Sums in floating point depend on the CPU's instruction set, training carries a last bit into the third digit, and then
dvc.lock and summary.json are modified though nothing is wrong. A person who sees that has to be told.
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CORRELATIONS = ("stack", "low", "model")
"""Keys of summary.json that hold a mean rank IC or a bound of it."""
LARGEST_DIFFERENCE = 0.005
"""Largest difference of a correlation: a quarter of the narrowest interval of a default run. An LSTM trained as with
SSE4 alone is 4e-7 off, the K-line model, of which rounding may turn a drawn path, more. What is beyond this is no
rounding."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Metrics of a workspace beside those of its commit, by "file: key.key"."""

    committed: dict[str, float]
    found: dict[str, float]

    @property
    def differences(self) -> dict[str, float]:
        """Absolute difference of each metric that is not the same; infinite where one side has none."""
        result = {}
        for name in sorted(self.committed | self.found):
            one, other = (values.get(name, math.inf) for values in (self.committed, self.found))
            if one != other and not (math.isnan(one) and math.isnan(other)):
                distance = abs(one - other)
                result[name] = math.inf if math.isnan(distance) else distance
        return result

    @property
    def beyond_rounding(self) -> list[str]:
        """The correlations that differ by more than another CPU explains."""
        return [
            name
            for name, distance in self.differences.items()
            if name.rsplit(".", 1)[-1] in CORRELATIONS and distance > LARGEST_DIFFERENCE
        ]

    def sentence(self) -> str | None:
        """What to tell; None if every number is the committed one."""
        differences = self.differences
        if not differences:
            return None
        relative = {
            name: distance / (abs(self.committed.get(name, 0.0)) or 1.0) for name, distance in differences.items()
        }
        name = max(relative, key=lambda one: relative[one])
        told = (
            f"{len(differences)} of {len(self.committed)} metrics differ from the committed ones, most {name} by "
            f"{differences[name]:.2g} (relative {relative[name]:.2g}): "
        )
        if self.beyond_rounding:
            return told + f"more than rounding does to {self.beyond_rounding[0]} (at most {LARGEST_DIFFERENCE})"
        return told + "another CPU rounds differently, this is expected; git shows dvc.lock and results as modified"


def compare_with_commit(folder: Path = Path()) -> Comparison | None:
    """Committed metrics of a checkout beside those of its workspace.

    None where there is nothing to compare: no repository, or code, data or parameters are not those of the commit.
    """
    changed = _git(folder, "diff", "--quiet", "HEAD", "--", ".", ":!results", ":!*dvc.lock", ":!docs")
    listed = _git(folder, "ls-tree", "-r", "--name-only", "HEAD", "--", "results")
    if changed is None or listed is None:
        return None
    committed: dict[str, float] = {}
    found: dict[str, float] = {}
    for path in (name for name in listed.splitlines() if Path(name).name == "summary.json"):
        text = _git(folder, "show", f"HEAD:{path}")
        if text is None or not (folder / path).exists():
            continue  # a model that is not among `models`
        committed |= dict(_numbers(json.loads(text), f"{path}: "))
        found |= dict(_numbers(json.loads((folder / path).read_text(encoding="utf-8")), f"{path}: "))
    return Comparison(committed=committed, found=found)


def _numbers(values: Any, name: str) -> Iterator[tuple[str, float]]:
    """Every number of nested dictionaries by its path; null is NaN."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from _numbers(value, f"{name}{key}" if name.endswith(": ") else f"{name}.{key}")
    elif values is None or isinstance(values, int | float):
        yield name, math.nan if values is None else float(values)


def _git(folder: Path, *arguments: str) -> str | None:
    """What git says; None if it fails or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
