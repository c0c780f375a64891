"""How often t and p call nothing something: null panels, panels with a true signal, and pairs of forecasts.

Panels: 40 symbols, one-bar returns of t4 tails with a market factor and persistent volatility. The rank IC of each date
is judged as every table does it (`summarize`). A row is a kind of forecast at a horizon; what stands under a number of
dates is the share of panels. `python benchmarks/null_rejection.py [panels]` prints the page of
`results/null_rejection.md`; 1,000 panels take some ten minutes on one CPU.
"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Iterator

import numpy as np
from scipy.signal import lfilter

from factor_metrics import naive_t, newey_west_t, paired_difference, rank_ic, summarize

NUM_SYMBOLS, WARM_UP = 40, 60
HORIZONS, NUM_DATES = (1, 5, 20), (100, 250, 500, 1000)
KINDS = ("without memory", "AR .95", "AR .99", "80 % static", "60-5 momentum")
NORMAL = 1.959964
NUM_BOOTSTRAP = 500
STRENGTH = 0.03  # of a one-bar return's standard deviation


def returns_of(
    generator: np.random.Generator, length: int, exposure: np.ndarray | None = None, expected: np.ndarray | float = 0.0
) -> np.ndarray:
    """(length, num_symbols) heavy tails, a market factor, persistent volatility, `expected` on days of volatility 1."""
    volatility = np.exp(lfilter([0.2], [1.0, -0.97], generator.normal(size=(length, 1)), axis=0))
    if exposure is None:
        exposure = generator.normal(1.0, 0.4, NUM_SYMBOLS)
    market = generator.standard_t(4, size=(length, 1))
    own = generator.standard_t(4, size=(length, NUM_SYMBOLS))
    return (own + exposure * market + expected) * volatility


def persistent(generator: np.random.Generator, length: int, memory: float) -> np.ndarray:
    """(length, num_symbols) autoregressive of variance 1."""
    shocks = generator.normal(size=(length, NUM_SYMBOLS))
    shocks[1:] *= math.sqrt(1.0 - memory**2)
    return lfilter([1.0], [1.0, -memory], shocks, axis=0)


def label_of(returns: np.ndarray, horizon: int, num_dates: int) -> np.ndarray:
    """Sum of the next `horizon` returns from each date after the warm-up."""
    total = np.vstack([np.zeros((1, NUM_SYMBOLS)), np.cumsum(returns, axis=0)])
    return total[WARM_UP + horizon : WARM_UP + horizon + num_dates] - total[WARM_UP : WARM_UP + num_dates]


def forecast_of(kind: str, returns: np.ndarray, generator: np.random.Generator, num_dates: int) -> np.ndarray:
    """A forecast of this kind that knows nothing of what comes."""
    length, dates = len(returns), slice(WARM_UP, WARM_UP + num_dates)
    if kind == "without memory":
        return generator.normal(size=(num_dates, NUM_SYMBOLS))
    if kind.startswith("AR"):
        return persistent(generator, length, float(kind[3:]))[dates]
    if kind == "80 % static":
        changing = persistent(generator, length, 0.9)[dates]
        return math.sqrt(0.8) * generator.normal(size=NUM_SYMBOLS) + math.sqrt(0.2) * changing
    total = np.vstack([np.zeros((1, NUM_SYMBOLS)), np.cumsum(returns, axis=0)])
    return total[WARM_UP - 5 : WARM_UP - 5 + num_dates] - total[:num_dates]


def null_series(kind: str, horizon: int, num_dates: int, num_panels: int) -> Iterator[np.ndarray]:
    """Yield the rank ICs of forecasts that know nothing."""
    generator = np.random.default_rng(zlib.crc32(f"{kind} {horizon} {num_dates}".encode()))
    for _ in range(num_panels):
        returns = returns_of(generator, WARM_UP + num_dates + horizon)
        forecast = forecast_of(kind, returns, generator, num_dates)
        yield rank_ic(forecast, label_of(returns, horizon, num_dates))


def signal_series(horizon: int, num_dates: int, num_panels: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rank ICs of two forecasts of one market that are equally good, for different reasons.

    The market has the same exposures in every panel, and the signal grows with the volatility: else the true mean would
    be another one in each panel, which no interval of one panel can cover.
    """
    exposure = np.random.default_rng(0).normal(1.0, 0.4, NUM_SYMBOLS)
    generator = np.random.default_rng(zlib.crc32(f"signal {horizon} {num_dates}".encode()))
    for _ in range(num_panels):
        length = WARM_UP + num_dates + horizon
        pair = [persistent(generator, length, 0.95) for _ in range(2)]
        returns = returns_of(generator, length, exposure, STRENGTH * (pair[0] + pair[1]))
        label = label_of(returns, horizon, num_dates)
        first, second = (rank_ic(one[WARM_UP : WARM_UP + num_dates], label) for one in pair)
        yield first, second


def share(hits: list[bool]) -> str:
    return f"{100.0 * float(np.mean(hits)):.1f}"


def null_rows(num_panels: int) -> Iterator[str]:
    for kind in KINDS:
        for horizon in HORIZONS:
            ours, covered, withheld, classical, naive = [], [], [], [], []
            for num_dates in NUM_DATES:
                series = list(null_series(kind, horizon, num_dates, num_panels))
                judged = [summarize(one, horizon, num_bootstrap=NUM_BOOTSTRAP) for one in series]
                ours.append(share([one.p_value < 0.05 for one in judged]))
                covered.append(share([one.ci_low <= 0.0 <= one.ci_high for one in judged]))
                withheld += [one.undefined != "" for one in judged]
                if num_dates == 250:
                    lag = max(horizon - 1, math.floor(4.0 * (num_dates / 100.0) ** (2.0 / 9.0)))
                    errors = [newey_west_t(one, horizon, lag).standard_error for one in series]
                    means = [one.mean() for one in series]
                    classical = [abs(m) > NORMAL * e for m, e in zip(means, errors, strict=True)]
                    naive = [abs(naive_t(one)) > NORMAL for one in series]
            cells = [kind, str(horizon), *ours, share(withheld), *covered, share(classical), share(naive)]
            yield "| " + " | ".join(cells) + " |"


def signal_rows(num_panels: int) -> Iterator[str]:
    for horizon in HORIZONS:
        for num_dates in NUM_DATES:
            pairs = list(signal_series(horizon, num_dates, num_panels))
            truth = float(np.mean([first.mean() for first, _ in pairs]))
            judged = [summarize(first, horizon, num_bootstrap=NUM_BOOTSTRAP) for first, _ in pairs]
            moved = [summarize(first - truth, horizon, num_bootstrap=1) for first, _ in pairs]
            compared = [paired_difference(*pair, horizon, num_bootstrap=NUM_BOOTSTRAP) for pair in pairs]
            cells = [
                f"{horizon} | {num_dates} | {truth:.3f}",
                share([one.ci_low <= truth <= one.ci_high for one in judged]),
                share([one.p_value >= 0.05 for one in moved]),
                share([one.ci_low <= 0.0 <= one.ci_high for one in compared]),
                share([one.p_value < 0.05 for one in compared]),
                share([one.p_value < 0.05 for one in judged]),
            ]
            yield "| " + " | ".join(cells) + " |"


def main() -> None:
    num_panels = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    dates = " | ".join(f"{num:,}" for num in NUM_DATES)
    print(
        f"# How often t and p call nothing something\n\n{num_panels:,} panels a cell: a share has a standard error of"
    )
    print(f"{100.0 * math.sqrt(0.05 * 0.95 / num_panels):.1f} points. By `benchmarks/null_rejection.py`.\n")
    print(
        "## Without a signal\n\nPer cent of panels with p < .05 (|t| > 1.96) by number of dates, of panels whose t is"
    )
    print("withheld, and of 95 % block-bootstrap intervals that hold 0; beside them, at 250 dates, how often the")
    print("classical Newey-West t (lag max(h - 1, 4 (T / 100)^(2/9)), normal quantile) and the naive t exceed 1.96.\n")
    print(f"| forecast | horizon | {dates} | withheld | {dates} | classical | naive |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|")
    for row in null_rows(num_panels):
        print(row, flush=True)
    print("\n## With a true signal, and the difference of two forecasts that are equally good\n")
    print("Per cent of panels: 95 % bootstrap intervals that hold the true mean; tests of the true mean that do not")
    print("reject it; bootstrap intervals of the paired difference that hold 0; differences with p < .05; and, for the")
    print("power, means with p < .05.\n")
    print(
        "| horizon | dates | true mean | interval | test | interval of difference | difference p < .05 | mean p < .05 |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in signal_rows(num_panels):
        print(row, flush=True)


if __name__ == "__main__":
    main()
