"""One IC series in ten numbers, and the paired difference of two."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from factor_metrics.checks import as_series, check_same_shape
from factor_metrics.dispersion import no_dispersion
from factor_metrics.inline import inline_html, inline_table
from factor_metrics.labels import same_labels
from factor_metrics.significance.bootstrap import bootstrap_interval
from factor_metrics.significance.mean_test import mean_test
from factor_metrics.significance.newey_west import naive_t


def format_interval(low: float | None, high: float | None, digits: int = 4) -> str:
    """Return both ends of an interval as a line of a terminal has them; in words where dates are too few for one."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "(no interval)"  # no brackets: rich would take them for a style
    return f"[{low:+.{digits}f}, {high:+.{digits}f}]"


@dataclass(frozen=True, kw_only=True)
class ICSummary:
    """Summary of a daily IC series (or of a difference of two). NaN = undefined."""

    mean: float
    """Mean over the dates where the IC is defined."""
    std: float
    """Standard deviation over dates, ddof 1."""
    icir: float
    """mean / std: per date, not annualised."""
    t_stat: float
    """t of the mean against 0, on the normal scale: see `mean_test`."""
    p_value: float
    """Its two-sided p-value."""
    effective_dates: float
    """Independent dates that would give the mean the same error."""
    ci_low: float
    """Lower end of the block-bootstrap interval of the mean."""
    ci_high: float
    """Upper end of the block-bootstrap interval of the mean."""
    hit_rate: float
    """Share of dates with IC > 0."""
    num_dates: int
    """Number of dates where the IC is defined."""
    naive_t_stat: float
    """mean / (std / sqrt(num_dates)): what t would be if dates were independent."""
    undefined: str = ""
    """Why t_stat and p_value are NaN; "" where they are not."""

    def to_dict(self) -> dict[str, float | str]:
        """Return the fields as a plain dict (NaN kept; see `to_json_safe`)."""
        return asdict(self)

    def _repr_html_(self) -> str:
        rows = [(name.replace("_", " "), value) for name, value in self.to_dict().items() if name != "undefined"]
        facts = {"mean": self.mean, "interval": format_interval(self.ci_low, self.ci_high), "t": self.t_stat}
        undefined = {"t is undefined": self.undefined} if self.undefined else {}
        return inline_html("ICSummary", facts | undefined, inline_table(["", "value"], rows))


def summarize(
    ic_series: ArrayLike,
    horizon: int = 1,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> ICSummary:
    """Return mean, spread, significance and hit rate of an IC series.

    Parameters
    ----------
    ic_series
        (num_dates,) from `ic` or `rank_ic`, in time order. NaN dates are dropped.
    horizon
        Bars from entry to exit of the label: labels of neighbouring dates overlap by horizon - 1 bars, which
        the t-statistic (`mean_test`) and the interval (`bootstrap_interval`) allow for.
    confidence, num_bootstrap, seed
        Level of the bootstrap interval, its resamples and their seed.

    Returns
    -------
    ICSummary
        With no date everything is NaN; with one date or without dispersion (`dispersion`) std-based numbers are
        NaN; where the interval is withheld, or dates are too few for a t, so are t and p.

    Examples
    --------
    >>> summary = summarize([0.1, 0.3, float("nan"), 0.2])
    >>> round(summary.mean, 6), round(summary.icir, 6), summary.hit_rate, summary.num_dates
    (0.2, 2.0, 1.0, 3)
    """
    values = as_series("ic_series", ic_series)
    values = values[~np.isnan(values)]
    num_dates = len(values)
    tested = mean_test(values, horizon)
    ci_low, ci_high = bootstrap_interval(values, horizon, confidence, num_bootstrap, seed)
    std = math.nan
    if num_dates >= 2:
        std = 0.0 if no_dispersion(values) else float(values.std(ddof=1))
    return ICSummary(
        mean=tested.mean,
        std=std,
        icir=tested.mean / std if std > 0.0 else math.nan,
        t_stat=tested.t_stat,
        p_value=tested.p_value,
        effective_dates=tested.effective_dates,
        ci_low=ci_low,
        ci_high=ci_high,
        hit_rate=float((values > 0.0).mean()) if num_dates else math.nan,
        num_dates=num_dates,
        naive_t_stat=naive_t(values),
        undefined=tested.undefined,
    )


@same_labels("ic_a", "ic_b")
def paired_difference(
    ic_a: ArrayLike,
    ic_b: ArrayLike,
    horizon: int = 1,
    confidence: float = 0.95,
    num_bootstrap: int = 2000,
    seed: int = 0,
) -> ICSummary:
    """Return the summary of ic_a - ic_b on the dates where both are defined.

    Pairing removes what both share on a date (an easy or a hard market), so it is far sharper than comparing
    two intervals. Both series are (num_dates,) over the same dates.
    """
    series_a, series_b = as_series("ic_a", ic_a), as_series("ic_b", ic_b)
    check_same_shape("ic_a", series_a, "ic_b", series_b)
    return summarize(series_a - series_b, horizon, confidence, num_bootstrap, seed)
