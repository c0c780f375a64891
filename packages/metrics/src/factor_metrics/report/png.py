"""The main charts of a folder of results as one PNG, drawn by matplotlib (the extra `png`)."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from factor_metrics.portfolio.performance import drawdown
from factor_metrics.report.data import ResultRow, finite
from factor_metrics.report.folder import FolderResults
from factor_metrics.report.results import result_key
from factor_metrics.report.series import cumulative, rolling_mean, rolling_window
from factor_metrics.whole_file import write_atomically

if TYPE_CHECKING:
    import pandas as pd

COLORS = {"stack": "#d55e00", "model": "#2f7fd0", "floor": "#8b95a3"}


def write_png(results: FolderResults, folder: Path, out: Path) -> None:
    """Draw rank IC with intervals for every label and, where `folder` has ic.parquet, the series over time.

    Raises
    ------
    ValueError
        matplotlib is not installed, or `out` does not end in .png.
    """
    if out.suffix != ".png":
        raise ValueError(f"the picture must be named *.png, got {out}")
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("a PNG needs matplotlib: pip install 'factor-metrics[png]'") from None
    series = _read_series(folder / "ic.parquet")
    labels = results.labels
    num_rows = 1 if series is None else 3
    figure: Any = Figure(figsize=(4.6 * len(labels), 3.4 * num_rows), dpi=110, layout="constrained")
    figure.suptitle(f"{results.title}: out of fold, by label")
    axes = figure.subplots(num_rows, len(labels), squeeze=False)
    for column, label in enumerate(labels):
        rows = sorted((row for row in results.rows if row.label == label), key=result_key)
        draw_intervals(axes[0, column], rows, label)
        if series is not None:
            _draw_series(axes[1:, column], series[series["label"] == label])
    # Without the version of matplotlib in it the same results give the same bytes.
    write_atomically(out, partial(FigureCanvasAgg(figure).print_png, metadata={"Software": None}))


def _read_series(path: Path) -> pd.DataFrame | None:
    """Return the frame of evaluate's ic.parquet; None where the folder has none, as that of the stack."""
    if not path.is_file():
        return None
    import pandas as pd

    return pd.read_parquet(path, page_checksum_verification=True)


def draw_intervals(axis: Any, rows: list[ResultRow], label: str) -> None:
    """Draw one line per forecast: its interval, its mean as a dot."""
    axis.set_title(f"rank IC, {label}", fontsize=10)
    axis.axvline(0.0, color="#18202b", linewidth=0.8)
    for place, row in enumerate(rows):
        low, middle, high = map(finite, (row.scores.ci_low, row.scores.rank_ic, row.scores.ci_high))
        color = COLORS[row.kind]
        if low is not None and high is not None:
            axis.plot([low, high], [place, place], color=color, linewidth=4, alpha=0.45)
        if middle is not None:
            axis.plot([middle], [place], "o", color=color, markersize=5)
    axis.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="x", alpha=0.25)


def _draw_series(axes: Any, frame: pd.DataFrame) -> None:
    """Draw the rolling mean of the rank IC, and the cumulative spread with its distance from the peak."""
    dates = frame["timestamp"].to_numpy()
    rank_ic = frame["rank_ic"].to_numpy(dtype=np.float64)
    window = rolling_window(len(rank_ic))
    overlap = int(frame["overlap"].iloc[0])
    spread = frame["spread"].to_numpy(dtype=np.float64)
    axes[0].set_title(f"mean rank IC of the last {window} dates", fontsize=10)
    axes[0].plot(dates, rolling_mean(rank_ic, window), color=COLORS["model"])
    axes[1].set_title("cumulative spread and its drawdown", fontsize=10)
    axes[1].plot(dates, cumulative(spread, overlap), color=COLORS["model"])
    axes[1].fill_between(dates, drawdown(spread / overlap, compound=False), 0.0, color=COLORS["model"], alpha=0.3)
    for axis in axes:
        axis.axhline(0.0, color="#18202b", linewidth=0.8)
        axis.tick_params(labelsize=8)
        axis.tick_params(axis="x", rotation=30)
        axis.grid(alpha=0.25)
