"""What the best trial of a sweep, chosen on valid dates, is worth on the test dates that had no part in the choice."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_experiments.compare_text import chance
from factor_experiments.git import Git
from factor_experiments.layout import FOLDS, LOCK, RESULTS, SERIES, SPLIT
from factor_experiments.ledger import Ledger
from factor_experiments.lock import lock_outs, out_of
from factor_experiments.revision import Revision
from factor_experiments.series import Series, read_series
from factor_experiments.stored import Stored
from factor_experiments.trials import LEVEL, beyond_judged
from factor_metrics import ICSummary, format_interval, paired_difference, summarize, to_json_safe
from factor_metrics.json_document import as_written, parse_document


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How a trial of a sweep was chosen."""

    sweep: str
    point: Mapping[str, Any]
    """Values of the trial."""
    num_trials: int
    """Trials of the sweep with a score; the choice among them was made on valid dates, so they cost no significance."""
    valid_rank_ic: float
    """By which it is the best."""


@dataclass(frozen=True, kw_only=True)
class SweepVerdict:
    """The chosen trial on the test dates. NaN = undefined."""

    choice: Choice
    experiment: str
    """Trial that is best on valid dates."""
    model: str
    label: str
    test: ICSummary
    """Its rank IC on the test dates that had no part in the choice."""
    left_out: int
    """Test dates with a rank IC that are not judged: another fold validates on them, or their labels overlap with
    those of dates on which one does."""
    num_verdicts: int
    """Different forecasts of this label that verdicts have looked at on such dates, this one among them."""
    corrected_p_value: float
    """One-sided p of "not better than nothing", for as many verdicts (Sidak)."""
    beside_base: ICSummary | None
    """Rank IC less that of the commit that the sweep starts from, by date; None where that has no such forecast, or
    the same one."""

    @property
    def holds(self) -> bool:
        """Return whether it is better than nothing beyond chance, for as many verdicts as were given."""
        return self.test.mean > 0.0 and self.corrected_p_value <= LEVEL

    @property
    def sentence(self) -> str:
        """Say it in words."""
        return " ".join([self._chosen(), self._judged(), self._beside()])

    def _chosen(self) -> str:
        values = ", ".join(f"{key} {value}" for key, value in self.choice.point.items())
        return (
            f"Of {self.choice.num_trials} trials {self.experiment} ({values}) is best on valid dates, with a rank IC "
            f"of {self.choice.valid_rank_ic:+.4f} of {self.model} at {self.label}."
        )

    def _judged(self) -> str:
        if not math.isfinite(self.corrected_p_value):
            but = f" but for {self.left_out} that other folds validate on" if self.left_out else ""
            return f"Its {self.test.num_dates} test dates{but} are too few to say what it is worth."
        what = "holds" if self.holds else "does not hold"
        others = f" ({self.left_out} more are left out: other folds validate there)" if self.left_out else ""
        nth = "the first verdict" if self.num_verdicts == 1 else f"one of {self.num_verdicts} verdicts"
        return (
            f"It {what} on {self.test.num_dates} test dates{others}: {self.test.mean:+.4f} "
            f"{format_interval(self.test.ci_low, self.test.ci_high)}, one-sided p "
            f"{chance(self.corrected_p_value)} as {nth} on such dates."
        )

    def _beside(self) -> str:
        found = self.beside_base
        if found is None:
            return "The commit that the sweep starts from has the same forecast, or none, to compare with."
        if not math.isfinite(found.p_value):
            return f"Less the commit that the sweep starts from: {found.mean:+.4f}, on too few dates for a p."
        more = "more" if found.p_value <= LEVEL else "no more"
        return (
            f"Less the commit that the sweep starts from: {found.mean:+.4f} "
            f"{format_interval(found.ci_low, found.ci_high)}, p {chance(found.p_value)}: {more} than chance would make."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return {**to_json_safe(vars(self)), "holds": self.holds, "sentence": self.sentence}


def sweep_verdict(
    ledger: Ledger,
    stored: Stored,
    chosen: Revision,
    base: Revision | None,
    *,
    choice: Choice,
    model: str,
    label: str | None,
    seed: int = 0,
) -> SweepVerdict:
    """Look at the test dates of the trial that was chosen, and write into the ledger that they were looked at.

    Where folds move forward, later ones validate on dates that earlier ones test, so the trial was chosen on these as
    well: they are left out. ValueError where its table or folds are neither in DVC's cache nor in its remote, or the
    table has no such label.
    """
    table = _table(stored, chosen, model)
    series = None if table is None else _series(stored, table, model)
    if table is None or series is None:
        why = stored.unreachable or "dvc fetch"
        raise ValueError(f"the table of {model} of {chosen.name} is neither in DVC's cache nor in its remote: {why}")
    name = label if label is not None else next(iter(series))
    if name not in series:
        raise ValueError(f"label {name!r} is not in {model} of {chosen.name}: it has {', '.join(series)}")
    one, left_out = untouched(series[name], valid_dates(ledger.git, stored, chosen))
    num_verdicts = _noted(ledger, choice.sweep, chosen.name, model, name, table, one)
    test = summarize(one.rank_ic, one.overlap, seed=seed)
    beside = None
    before = None if base is None else _table(stored, base, model)
    if before is not None and before != table:
        other = (_series(stored, before, model) or {}).get(name)
        if other is not None:
            beside = paired_difference(one.rank_ic, other.on(one.dates), one.overlap, seed=seed)
    return SweepVerdict(
        choice=choice,
        experiment=chosen.name,
        model=model,
        label=name,
        test=test,
        left_out=left_out,
        num_verdicts=num_verdicts,
        corrected_p_value=beyond_judged(_one_sided(test), num_verdicts, 1),
        beside_base=beside,
    )


def valid_dates(git: Git, stored: Stored, revision: Revision) -> NDArray[np.datetime64]:
    """Return the dates on which any fold of a revision validates; none where its lock file knows no folds."""
    lock = next(git.contents([f"{revision.commit}:{LOCK}"]))
    outs = lock_outs((lock or b"").decode(errors="replace"), (SPLIT,), f"{LOCK} of {revision.name}")
    out = out_of(outs, f"{RESULTS}/{SPLIT}/{FOLDS}")
    if out is None:
        return np.empty(0, dtype="datetime64[ns]")
    content = stored.file(out, FOLDS)
    if content is None:
        why = stored.unreachable or "dvc fetch"
        raise ValueError(f"the folds of {revision.name} are neither in DVC's cache nor in its remote: {why}")
    where = f"{FOLDS} of {revision.name}"
    with as_written(where):
        folds = parse_document(content, where)["folds"]
        found = [np.array(fold["valid"], dtype="datetime64[ns]") for fold in folds]
    return np.unique(np.concatenate(found))


def untouched(series: Series, chosen_on: NDArray[np.datetime64]) -> tuple[Series, int]:
    """Return a series without the rank ICs whose labels overlap with those of dates that a choice was made on.

    And how many were taken out. Labels of two dates overlap where they are fewer than `overlap` dates apart.
    """
    calendar = np.union1d(series.dates, chosen_on)
    counts = np.r_[0, np.cumsum(np.isin(calendar, chosen_on))]
    place, reach = np.searchsorted(calendar, series.dates), series.overlap - 1
    near = counts[np.minimum(place + reach + 1, len(calendar))] > counts[np.maximum(place - reach, 0)]
    kept = np.where(near, np.nan, series.rank_ic)
    return replace(series, rank_ic=kept), int((near & np.isfinite(series.rank_ic)).sum())


def _table(stored: Stored, revision: Revision, model: str) -> str | None:
    """Return the md5 of a model's table; None where there is none, or the listing of its folder is nowhere."""
    return stored.digest(revision.tables[model], SERIES) if model in revision.tables else None


def _series(stored: Stored, table: str, name: str) -> dict[str, Series] | None:
    content = stored.content(table)
    return None if content is None else read_series(content, name)


def _one_sided(found: ICSummary) -> float:
    return found.p_value / 2.0 if found.mean > 0.0 else 1.0 - found.p_value / 2.0


def _noted(ledger: Ledger, sweep: str, experiment: str, model: str, label: str, table: str, series: Series) -> int:
    """Write a verdict into the ledger; return on how many different forecasts verdicts of its dates were given."""
    known = series.dates[np.isfinite(series.rank_ic)]
    spans = [str(date)[:19] for date in (known[[0, -1]] if len(known) else known)]
    document = {
        "sweep": sweep, "experiment": experiment, "model": model, "label": label, "table": table, "dates": spans,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    digest = hashlib.sha256(f"{model} {label} {table}".encode()).hexdigest()[:32]
    ledger.note_verdict(digest, document)
    return sum(
        one["label"] == label and len(one["dates"]) == len(spans) and _overlap(one["dates"], spans)
        for one in ledger.verdicts()
    )


def _overlap(a: list[str], b: list[str]) -> bool:
    return not a or not b or (a[0] <= b[1] and b[0] <= a[1])
