"""IC during a long training: in- and out-of-sample, every so many steps or minutes and on demand, as JSON files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factor_metrics.checks import FloatArray, as_float_array, check_at_least
from factor_metrics.information_coefficient.ic import ic, rank_ic
from factor_metrics.json_document import read_document
from factor_metrics.json_safe import to_json_safe
from factor_metrics.labels import same_labels
from factor_metrics.significance.sample_comparison import compare_samples
from factor_metrics.significance.summary import summarize
from factor_metrics.system import iso_time
from factor_metrics.writing import write_text

Sample = Literal["in_sample", "out_of_sample"]
"""Dates of a forecast: those that the model was fitted or chosen on, or others."""


class LiveICReporter:
    """Keeps the forecasts of the last dates of each sample and reports their IC, per date and never pooled.

    `latest.json` holds the last report, `history.json` the last `max_history` ones, oldest first. Both are replaced
    whole, so a reader never sees half a file, and hold no NaN: what is undefined is null. A reporter on the same folder
    continues its history.

    Parameters
    ----------
    folder
        Where the files are written; made if absent.
    targets
        Names of the columns of predictions and labels, such as ("h1", "h5").
    horizons
        Bars from entry to exit of each target, for t-statistics. Default: 1 each.
    every_steps, every_minutes
        `step` reports when either has passed since the last report. Both None: only `report_now` does.
    max_history
        Reports kept.
    max_dates
        Dates kept per sample; the ones that were added longest ago go first.
    min_symbols
        Dates with fewer symbols have no IC.
    risk_threshold
        In-sample less out-of-sample rank IC above it is a high risk of overfitting.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        folder: Path,
        targets: Sequence[str],
        *,
        horizons: Sequence[int] | None = None,
        every_steps: int | None = None,
        every_minutes: float | None = None,
        max_history: int = 50,
        max_dates: int = 250,
        min_symbols: int = 10,
        risk_threshold: float = 0.05,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.targets = tuple(targets)
        self.horizons = tuple(horizons) if horizons is not None else (1,) * len(self.targets)
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError(f"targets must name at least one column, each once, got {self.targets}")
        if len(self.horizons) != len(self.targets):
            raise ValueError(f"horizons must have one entry per target, got {self.horizons} for {self.targets}")
        for name, value, least in (
            ("every_steps", 1 if every_steps is None else every_steps, 1),
            ("max_history", max_history, 1),
            ("max_dates", max_dates, 1),
            ("min_symbols", min_symbols, 2),
        ):
            check_at_least(name, value, least)
        if every_minutes is not None and not every_minutes > 0.0:
            raise ValueError(f"every_minutes must be above 0, got {every_minutes!r}")
        self.folder, self.every_steps, self.every_minutes = folder, every_steps, every_minutes
        self.max_history, self.max_dates, self.min_symbols = max_history, max_dates, min_symbols
        self.risk_threshold, self.clock = risk_threshold, clock
        self.num_steps = 0
        self.started = self.last_time = clock()
        self.last_step = 0
        self.dates: dict[Sample, dict[int, FloatArray]] = {name: {} for name in get_args(Sample)}
        self.history = self._read_history()

    @same_labels("date_code", "prediction", "label")
    def add(self, sample: Sample, date_code: ArrayLike, prediction: ArrayLike, label: ArrayLike) -> None:
        """Take a batch of whole dates. A date that comes again replaces what was there: it is the newer forecast.

        Parameters
        ----------
        sample
            "in_sample" for dates that the model is fitted on, else "out_of_sample".
        date_code
            (num_rows,) int, any number that rises with time.
        prediction, label
            (num_rows, num_targets), NaN = missing; (num_rows,) for a single target.
        """
        if sample not in self.dates:
            raise ValueError(f"sample must be one of {get_args(Sample)}, got {sample!r}")
        codes = np.asarray(date_code)
        if codes.ndim != 1 or codes.dtype.kind not in "iu":
            raise ValueError(f"date_code must be (num_rows,) integers, got {codes.dtype} of shape {codes.shape}")
        values = [self._columns(name, given) for name, given in (("prediction", prediction), ("label", label))]
        for name, given in zip(("prediction", "label"), values, strict=True):
            if len(given) != len(codes):
                raise ValueError(f"{name} must have one row per date_code, {len(codes)}, got {len(given)}")
        both = np.stack(values, axis=1)  # (num_rows, 2, num_targets)
        order = np.argsort(codes, kind="stable")
        unique, starts = np.unique(codes[order], return_index=True)
        kept = self.dates[sample]
        for code, rows in zip(unique, np.split(both[order], starts[1:]), strict=True):
            kept.pop(int(code), None)
            kept[int(code)] = rows
        for oldest in list(kept)[: max(0, len(kept) - self.max_dates)]:
            del kept[oldest]

    def step(self, num_steps: int = 1) -> dict[str, Any] | None:
        """Count optimiser steps; return the report where one was due and written, else None."""
        check_at_least("num_steps", num_steps, 0)
        self.num_steps += num_steps
        reason = self.due()
        return self.report_now(reason) if reason else None

    def due(self) -> str | None:
        """Return why a report is due, "steps" or "minutes"; None where it is not."""
        if self.every_steps is not None and self.num_steps - self.last_step >= self.every_steps:
            return "steps"
        if self.every_minutes is not None and self.clock() - self.last_time >= 60.0 * self.every_minutes:
            return "minutes"
        return None

    def report_now(self, reason: str = "demand") -> dict[str, Any]:
        """Write and return a report of what is held now; a sample without a date is reported with nulls."""
        now = self.clock()
        report = to_json_safe(
            {
                "time": iso_time(now),
                "minutes": (now - self.started) / 60.0,
                "step": self.num_steps,
                "reason": reason,
                "targets": {name: self._target(position) for position, name in enumerate(self.targets)},
            }
        )
        self.history = [*self.history, report][-self.max_history :]
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_json(self.folder / "history.json", self.history)
        replace_json(self.folder / "latest.json", report)
        self.last_time, self.last_step = now, self.num_steps
        return report

    def _columns(self, name: str, given: ArrayLike) -> FloatArray:
        values = np.asarray(given)
        array = as_float_array(name, values[:, None] if values.ndim == 1 else values, 2)
        if array.shape[1] != len(self.targets):
            raise ValueError(f"{name} must have {len(self.targets)} columns, one per target, got {array.shape[1]}")
        return array

    def _target(self, position: int) -> dict[str, Any]:
        """Return both samples of one target and what is lost from the one to the other."""
        horizon = self.horizons[position]
        report: dict[str, Any] = {}
        series: dict[str, NDArray[np.float64]] = {}
        for sample in self.dates:
            prediction, label = self._matrices(sample, position)
            series[sample] = rank_ic(prediction, label, self.min_symbols)
            report[sample] = self._scores(prediction, label, series[sample], horizon)
        compared = compare_samples(series["in_sample"], series["out_of_sample"], horizon, self.risk_threshold)
        return {
            **report,
            "degradation": compared.degradation,
            "retention": compared.retention,
            "overfitting_risk": compared.overfitting_risk,
        }

    def _matrices(self, sample: Sample, position: int) -> tuple[FloatArray, FloatArray]:
        """Return prediction and label (num_dates, most symbols of a date), in time order, padded with NaN.

        Of the type that was given, which says by how much equal forecasts may differ.
        """
        held = [rows for _, rows in sorted(self.dates[sample].items())]
        shape = len(held), max((len(rows) for rows in held), default=0)
        kind = held[-1].dtype if held else np.float64
        prediction, label = np.full(shape, np.nan, kind), np.full(shape, np.nan, kind)
        for date, rows in enumerate(held):
            prediction[date, : len(rows)], label[date, : len(rows)] = (
                rows[:, 0, position],
                rows[:, 1, position],
            )
        return prediction, label

    def _scores(self, prediction: NDArray, label: NDArray, rank_ics: NDArray, horizon: int) -> dict[str, float | int]:
        """Return the scores of one sample; NaN where nothing is defined."""
        error = prediction.astype(np.float64) - label
        error = error[~np.isnan(error)]
        per_date = ic(prediction, label, self.min_symbols)
        ranked = summarize(rank_ics, horizon)
        return {
            "ic": float(per_date[~np.isnan(per_date)].mean()) if (~np.isnan(per_date)).any() else np.nan,
            "rank_ic": ranked.mean,
            "rank_ic_t_stat": ranked.t_stat,
            "rank_ic_effective_dates": ranked.effective_dates,
            "rank_ic_low": ranked.ci_low,
            "rank_ic_high": ranked.ci_high,
            "mse": float((error**2).mean()) if len(error) else np.nan,
            "mae": float(np.abs(error).mean()) if len(error) else np.nan,
            "num_samples": len(error),
            "num_dates": ranked.num_dates,
        }

    def _read_history(self) -> list[dict[str, Any]]:
        path = self.folder / "history.json"
        if not path.exists():
            return []
        try:
            history = read_document(path)
        except ValueError as error:
            raise ValueError(f"{error}: move it away to start a new history") from None
        if not isinstance(history, list) or not all(isinstance(one, dict) for one in history):
            raise ValueError(f"{path} must hold a list of reports: move it away to start a new history")
        return history[-self.max_history :]


def replace_json(path: Path, document: Any) -> None:
    """Write JSON, whole or not at all; NaN and infinities are refused."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")
