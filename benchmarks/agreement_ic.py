"""IC, by group too, and autocorrelation against alphalens-reloaded and qlib on panels made to disagree.

Not a matter of speed: it fails where a value differs by more than 1e-12, or where one side says NaN and the other
does not. One exception: on values that differ in their last bits pandas, and so qlib's IC, loses digits; there ours
is compared with exact fractions and theirs only shown. Run it where benchmarks/requirements.txt is installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pandas as pd
from alphalens.performance import factor_information_coefficient, factor_rank_autocorrelation
from qlib.contrib.eva.alpha import calc_ic

from factor_metrics import (
    ForecastMatrices,
    grouped_ic,
    ic,
    prediction_autocorrelation,
    rank_ic,
    to_alphalens,
    to_qlib,
)

NUM_DATES, NUM_SYMBOLS = 40, 60
GROUP = np.array(["banks", "energy", "tech"], dtype=object)[np.arange(NUM_SYMBOLS) % 3]
LAST_BITS = "values that differ in their last bits"


def panels() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    generator = np.random.default_rng(0)
    prediction, label = generator.standard_normal((2, NUM_DATES, NUM_SYMBOLS))
    label += 0.3 * prediction
    yield "random", prediction, label
    yield "random, float32", prediction.astype(np.float32), label.astype(np.float32)
    holes = generator.random((2, *prediction.shape)) < [[[0.3]], [[0.1]]]
    yield "missing", np.where(holes[0], np.nan, prediction), np.where(holes[1], np.nan, label)
    yield "many ties", prediction.round(0), label.round(1)
    yield "two values", np.sign(prediction), np.sign(label)
    yield "minus zero", np.where(prediction > 0.5, prediction, -0.0 * prediction), label
    yield LAST_BITS, 1.0 + prediction.round(1) * 2.0**-50, label
    yield "tiny and huge", prediction * 1e-150, label * 1e150
    some = np.arange(NUM_DATES)[:, None] % 4
    yield "constant prediction on every fourth date", np.where(some == 0, 0.25, prediction), label
    yield "constant label on every fourth date", prediction, np.where(some == 1, 0.25, label)
    others = np.arange(NUM_SYMBOLS)[None, :] >= 1
    few = (some == 2) & others
    yield "one symbol on every fourth date", np.where(few, np.nan, prediction), label
    yield "nothing on every fourth date", np.where(some == 3, np.nan, prediction), label
    yield "perfect and opposite", prediction, np.where(some < 2, prediction, -prediction)


def exact_pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson in rational arithmetic, one square root at the end."""
    left, right = ([Fraction(float(value)) for value in values] for values in (x, y))
    left, right = ([value - sum(values) / len(values) for value in values] for values in (left, right))
    products = [
        sum(a * b for a, b in zip(*pair, strict=True)) for pair in ((left, right), (left, left), (right, right))
    ]
    squared = products[0] ** 2 / (products[1] * products[2])
    return float(np.copysign(float(squared) ** 0.5, float(products[0])))


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-12)
    defined = ~np.isnan(ours)
    return float(np.abs(ours - theirs)[defined].max())


def check(name: str, prediction: np.ndarray, label: np.ndarray) -> None:
    dates = pd.bdate_range("2024-01-01", periods=NUM_DATES)
    forecast = ForecastMatrices(
        dates=dates,
        symbols=pd.Index([f"S{number:02d}" for number in range(NUM_SYMBOLS)]),
        prediction=prediction,
        labels={"1D": label},
        group=np.broadcast_to(GROUP, prediction.shape),
        quantile=np.ones(prediction.shape, dtype=np.int64),  # the IC does not read it
    )
    factor_data = to_alphalens(forecast)
    by_alphalens = factor_information_coefficient(factor_data)["1D"].reindex(dates).to_numpy(np.float64)
    inside = factor_information_coefficient(factor_data, by_group=True)["1D"].unstack("group").reindex(dates)
    judged = grouped_ic(prediction, label, GROUP, min_symbols=2)
    difference(judged.ic, inside[list(judged.groups)].to_numpy(np.float64).T)
    frame = to_qlib(forecast)
    by_qlib = [series.reindex(dates).to_numpy() for series in calc_ic(frame["score"], frame["label"])]
    pearson, spearman = ic(prediction, label, min_symbols=2), rank_ic(prediction, label, min_symbols=2)
    if name == LAST_BITS:
        exact = np.array([exact_pearson(x, y) for x, y in zip(prediction, label, strict=True)])
        print(
            f"{name:42s} IC from exact {difference(pearson, exact):.1e}; qlib's {np.abs(by_qlib[0] - exact).max():.1e}"
        )
        by_qlib[0] = exact
    if not np.isnan(prediction).any():
        # With gaps alphalens ranks among all symbols of a date, we among those of both dates.
        by_rank = factor_rank_autocorrelation(factor_data).reindex(dates).to_numpy(np.float64)
        difference(prediction_autocorrelation(prediction, min_symbols=2), by_rank)
    print(
        f"{name:42s} {np.isnan(spearman).sum():3d} NaN dates  alphalens {difference(spearman, by_alphalens):.1e}"
        f"  qlib IC {difference(pearson, by_qlib[0]):.1e}  qlib rank IC {difference(spearman, by_qlib[1]):.1e}"
    )


def main() -> None:
    warnings.simplefilter("ignore")
    for name, prediction, label in panels():
        check(name, prediction, label)
    infinite = np.ones((2, 12))
    infinite[1, 3] = np.inf
    try:
        rank_ic(infinite, np.ones((2, 12)))
    except ValueError as error:
        print(f"infinite: refused, {error}")
    else:
        raise AssertionError("an infinite prediction was not refused")


if __name__ == "__main__":
    main()
