"""An evaluation as data frames: a row per date, a row per fold; pandas is an extra (`[frames]`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factor_metrics.dispersion import no_dispersion
from factor_metrics.judging.evaluation import Evaluation
from factor_metrics.labels import same_labels

if TYPE_CHECKING:
    import pandas as pd


def evaluation_by_date(judged: Evaluation, dates: NDArray[np.datetime64], *, label: str, overlap: int) -> pd.DataFrame:
    """Return one row per date: IC, rank IC and its running sum, spread and turnover; NaN where undefined.

    `dates` (num_dates,) are those of the evaluation; the running sum passes over undefined dates. `label`
    and `overlap`, the dates over which its values overlap, are columns of the table.
    """
    import pandas as pd

    _check_dates(judged, "dates", dates)
    return pd.DataFrame(
        {
            "timestamp": dates,
            "label": label,
            "overlap": np.int16(overlap),
            "ic": judged.ic,
            "rank_ic": judged.rank_ic,
            "cumulative_rank_ic": np.nancumsum(judged.rank_ic),
            "spread": judged.spread,
            "turnover": judged.turnover,
        }
    )


@same_labels("dates", "fold_of_date")
def evaluation_by_fold(
    judged: Evaluation,
    dates: NDArray[np.datetime64],
    fold_of_date: NDArray[np.integer],
    *,
    label: str,
) -> pd.DataFrame:
    """Return one row per fold: what the forecast was worth on its dates.

    Parameters
    ----------
    judged
        The evaluation over all dates.
    dates, fold_of_date
        (num_dates,) each: the date, and the number of the fold that tests it.
    label
        Name of the label, a column of the table.

    Returns
    -------
    pandas.DataFrame
        Columns label, fold, first, last (date), dates (their number), and means over the defined dates: ic,
        rank_ic, rank_icir (mean over standard deviation, ddof 1), hit_rate, spread, turnover; NaN where a fold
        has no such date. Folds ascend.
    """
    import pandas as pd

    _check_dates(judged, "dates", dates)
    _check_dates(judged, "fold_of_date", fold_of_date)
    rows = []
    for fold in np.unique(fold_of_date):
        of = fold_of_date == fold
        known = judged.rank_ic[of & np.isfinite(judged.rank_ic)]
        mean = _mean(judged.rank_ic[of])
        rows.append(
            {
                "label": label,
                "fold": int(fold),
                "first": dates[of].min(),
                "last": dates[of].max(),
                "dates": int(of.sum()),
                "ic": _mean(judged.ic[of]),
                "rank_ic": mean,
                "rank_icir": float("nan") if no_dispersion(known) else mean / float(known.std(ddof=1)),
                "hit_rate": float(np.mean(known > 0)) if len(known) else float("nan"),
                "spread": _mean(judged.spread[of]),
                "turnover": _mean(judged.turnover[of]),
            }
        )
    return pd.DataFrame(rows)


def _mean(values: NDArray) -> float:
    """Return the mean over the defined dates; NaN where there is none."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")


def _check_dates(judged: Evaluation, name: str, values: NDArray) -> None:
    if values.shape != judged.rank_ic.shape:
        raise ValueError(
            f"{name} must have one entry per date of the evaluation, {judged.rank_ic.shape}, got {values.shape}"
        )
