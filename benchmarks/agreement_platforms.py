"""Forecasts, books and bars handed to other libraries and taken back, against the libraries themselves.

Not a matter of speed: it fails where what comes back differs, or where their number differs from ours. Run it where
benchmarks/requirements.txt is installed: `make interop`.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from factor_data import read_bars
from factor_data.exporting import export_bars
from factor_metrics import (
    ForecastMatrices,
    TradingRules,
    annual_return,
    annual_volatility,
    backtest,
    calmar_ratio,
    conditional_value_at_risk,
    expected_returns,
    from_neuralforecast,
    from_signals,
    from_skfolio,
    hit_rate,
    long_short_weights,
    max_drawdown,
    rank_ic,
    sharpe_ratio,
    sortino_ratio,
    to_neuralforecast,
    to_orders,
    to_returns,
    to_signals,
    to_skfolio,
    top_k_weights,
)

DATES = pd.bdate_range("2022-01-03", periods=300)
SYMBOLS = np.array([f"S{number:02d}" for number in range(25)], dtype=object)
YEAR = 252.0


def market() -> tuple[np.ndarray, np.ndarray]:
    """A forecast with an IC of about .1 and prices, (num_dates, num_symbols)."""
    generator = np.random.default_rng(0)
    prediction, noise = generator.normal(size=(2, len(DATES), len(SYMBOLS)))
    moves = 0.02 * (0.1 * np.roll(prediction, 1, axis=0) + noise)
    return prediction, 50.0 * np.exp(np.cumsum(moves, axis=0))


def same(ours: float, theirs: float, what: str, tolerance: float = 1e-12) -> None:
    """Fail where two numbers differ by more than `tolerance`, relative to theirs."""
    if not abs(ours - theirs) <= tolerance * max(abs(theirs), 1e-300):
        raise AssertionError(f"{what}: {ours!r} here, {theirs!r} there")


def check_quantstats() -> str:
    """Net returns of a book in quantstats and our figures of them."""
    import quantstats

    prediction, price = market()
    book = backtest(long_short_weights(prediction), price, DATES, TradingRules(buy_cost=5e-4, sell_cost=5e-4))
    series, stats = to_returns(book), quantstats.stats
    same(sharpe_ratio(book.returns, periods_per_year=YEAR), stats.sharpe(series, periods=252), "Sharpe")
    same(annual_volatility(book.returns, periods_per_year=YEAR), stats.volatility(series, periods=252), "volatility")
    same(max_drawdown(book.returns), stats.max_drawdown(series), "drawdown")
    same(sortino_ratio(book.returns, periods_per_year=YEAR), stats.sortino(series, periods=252), "Sortino")
    return f"Sharpe, Sortino, volatility and drawdown of {len(series)} net returns"


def check_empyrical() -> str:
    """The same in empyrical, with annual return, Calmar and the tail; its Sortino ratio fails with numpy 2."""
    import empyrical

    prediction, price = market()
    book = backtest(long_short_weights(prediction), price, DATES, TradingRules(buy_cost=5e-4, sell_cost=5e-4))
    series = to_returns(book)
    same(sharpe_ratio(book.returns, periods_per_year=YEAR), empyrical.sharpe_ratio(series), "Sharpe")
    same(annual_return(book.returns, periods_per_year=YEAR), empyrical.annual_return(series), "annual return")
    same(calmar_ratio(book.returns, periods_per_year=YEAR), empyrical.calmar_ratio(series), "Calmar")
    same(hit_rate(book.returns), float((series > 0).mean()), "hit rate")
    tail = series.to_numpy()[-280:]  # of which 5 % are whole dates: empyrical counts none in part
    same(conditional_value_at_risk(tail), -empyrical.conditional_value_at_risk(tail, 0.05), "expected shortfall")
    return f"Sharpe, Calmar, annual return and tail of {len(series)} net returns"


def check_vectorbt() -> str:
    """A long book by orders: equity on each date; a long-short one by signals: what is held on each date."""
    import vectorbt

    prediction, price = market()
    close = pd.DataFrame(price, index=DATES, columns=SYMBOLS)
    weights = top_k_weights(prediction, 5, max_replaced=2) * 0.9  # cash for the fees of what is bought
    rules = TradingRules(delay=1, buy_cost=1e-3, sell_cost=1e-3)
    shared = {"init_cash": 1.0, "cash_sharing": True, "group_by": True, "call_seq": "auto", "freq": "1D"}
    orders = to_orders(weights, DATES, SYMBOLS, rules.delay)
    theirs = vectorbt.Portfolio.from_orders(close, size=orders, size_type="targetpercent", fees=1e-3, **shared)
    ours = backtest(weights, price, DATES, rules)
    worst = float(np.max(np.abs(ours.equity / theirs.value().to_numpy() - 1.0)))
    if worst > 1e-9:
        raise AssertionError(f"equity differs by {worst:.1e}")
    sides = long_short_weights(prediction)
    signals = to_signals(sides, DATES, SYMBOLS)
    held = np.sign(vectorbt.Portfolio.from_signals(close, *signals, freq="1D").assets().to_numpy())
    if not np.array_equal(held, from_signals(signals)):
        raise AssertionError("what is held by signals differs")
    return f"equity of {len(DATES)} dates after costs within {worst:.0e}; sides by signals are equal"


def check_skfolio() -> str:
    """A panel there and back to the bit, its evaluation's IC, and expected returns in an optimiser."""
    from skfolio.alpha import BaseAlpha, alpha_forecast_evaluation
    from skfolio.containers import AssetPanel
    from skfolio.moments import BaseMu
    from skfolio.optimization import MeanRisk, ObjectiveFunction
    from skfolio.prior import EmpiricalPrior

    prediction, price = market()
    present = np.random.default_rng(1).random(prediction.shape) < 0.9
    returns = np.full(price.shape, np.nan)
    returns[1:] = price[1:] / price[:-1] - 1.0
    label = np.vstack([returns[1:], returns[:1]])
    forecast = ForecastMatrices(
        dates=DATES,
        symbols=pd.Index(SYMBOLS),
        prediction=np.where(present, prediction, np.nan),
        labels={"next_return": np.where(present, label, np.nan)},
        present=present,
    )
    with tempfile.TemporaryDirectory() as folder:
        to_skfolio(forecast).save(Path(folder) / "panel")
        again = from_skfolio(AssetPanel.load(Path(folder) / "panel"), labels=["next_return"])
    pairs = ((again.prediction, forecast.prediction), (again.labels["next_return"], forecast.labels["next_return"]))
    if not all(np.array_equal(one, other, equal_nan=True) for one, other in pairs):
        raise AssertionError("a panel that was saved and loaded differs")
    if not (again.dates.equals(DATES) and list(again.symbols) == list(SYMBOLS) and (again.present == present).all()):
        raise AssertionError("the axes or the universe of a panel differ")

    whole = ForecastMatrices(dates=DATES, symbols=pd.Index(SYMBOLS), prediction=prediction)

    class Stored(BaseAlpha):
        """The forecasts as they stand."""

        def fit(self, X, y=None, **_):  # noqa: ANN001, ANN003, ANN202
            """Take the forecasts of the panel."""
            self.alphas_ = X["prediction"]
            self.alpha_ = self.alphas_[-1]
            return self

        def fit_transform(self, X, y=None, **_):  # noqa: ANN001, ANN003, ANN202
            """Return the forecasts of the panel."""
            return self.fit(X).alphas_

    filled = np.nan_to_num(returns)
    found = alpha_forecast_evaluation(Stored(), to_skfolio(whole, {"returns": filled}), target="returns")
    theirs = pd.Series(found.spearman_ic, found.observations)
    ours = pd.Series(rank_ic(prediction, np.vstack([filled[1:], np.full((1, filled.shape[1]), np.nan)])), DATES)
    both = pd.concat([ours, theirs], axis=1).dropna().to_numpy()
    worst = float(np.abs(both[:, 0] - both[:, 1]).max())
    if len(both) < len(DATES) - 12 or worst > 1e-12:
        raise AssertionError(f"rank IC of {len(both)} dates differs by {worst:.1e}")

    class Forecast(BaseMu):
        """Expected returns that are known."""

        def __init__(self, values: np.ndarray) -> None:
            self.values = values

        def fit(self, X, y=None):  # noqa: ANN001, ANN202
            """Take them."""
            self.mu_ = self.values
            return self

    mu = expected_returns(prediction, np.full(prediction.shape, 0.02), 0.1)[-1]
    history = pd.DataFrame(returns[1:], index=DATES[1:], columns=SYMBOLS)
    model = MeanRisk(
        prior_estimator=EmpiricalPrior(mu_estimator=Forecast(mu)), objective_function=ObjectiveFunction.MAXIMIZE_UTILITY
    )
    tilt = np.corrcoef(model.fit(history).weights_, mu)[0, 1]
    if not tilt > 0.3:
        raise AssertionError(f"an optimiser that is told returns holds weights that correlate {tilt:+.2f} with them")
    return f"panel to the bit; rank IC of {len(both)} dates within {worst:.0e}; weights follow forecasts ({tilt:+.2f})"


def check_neuralforecast() -> str:
    """Returns to its long frame, a network cross-validated by it, and its forecasts as matrices."""
    import logging

    from neuralforecast import NeuralForecast
    from neuralforecast.models import MLP

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    _, price = market()
    returns = price[1:, :5] / price[:-1, :5] - 1.0
    frame = to_neuralforecast(returns, DATES[1:], SYMBOLS[:5])
    quiet = {
        "enable_progress_bar": False,
        "logger": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "accelerator": "cpu",
    }
    network = MLP(h=2, input_size=5, max_steps=2, hidden_size=8, num_layers=1, random_seed=1, **quiet)
    found = NeuralForecast([network], freq="B").cross_validation(frame, n_windows=20, step_size=1)
    one = from_neuralforecast(found, step=1)
    axis = {date: row for row, date in enumerate(DATES[1:])}
    for row, date in enumerate(one.dates):
        if not np.array_equal(one.labels["y"][row], returns[axis[date] + 1]):
            raise AssertionError(f"the label of {date} is not the return of the date after it")
    wide = found.assign(step=found.groupby(["unique_id", "cutoff"])["ds"].rank()).query("step == 1")
    wide = wide.pivot(index="cutoff", columns="unique_id", values="MLP").loc[one.dates, list(one.symbols)]
    if not np.array_equal(wide.to_numpy(dtype=np.float64), one.prediction):
        raise AssertionError("forecasts differ")
    return f"{one.prediction.shape[0]} cutoffs x {one.prediction.shape[1]} symbols, labels one date after each"


def check_qlib() -> str:
    """Bars written as qlib's `.bin` and read by qlib, and read again by ours."""
    import qlib
    from qlib.data import D

    _, price = market()
    long = pd.DataFrame(price, index=DATES, columns=SYMBOLS).rename_axis("timestamp")
    long = long.melt(ignore_index=False, var_name="symbol", value_name="close").reset_index()
    bars = long.assign(open=long["close"], high=long["close"] * 1.01, low=long["close"] * 0.99, volume=1e5)
    with tempfile.TemporaryDirectory() as folder:
        bars.to_parquet(Path(folder) / "bars.parquet")
        export_bars(Path(folder) / "bars.parquet", Path(folder) / "qlib", "qlib")
        qlib.init(provider_uri=str(Path(folder) / "qlib"), region="us", kernels=1, logging_level=40)
        theirs = D.features([name.upper() for name in SYMBOLS], ["$close"], freq="day")["$close"].unstack(0)
        again = read_bars(Path(folder) / "qlib")
    if not np.array_equal(theirs[list(SYMBOLS)].to_numpy(), price.astype(np.float32)):
        raise AssertionError("qlib reads other prices")
    if not np.array_equal(again.to_matrix(again.columns["close"]), price.astype(np.float32).astype(np.float64)):
        raise AssertionError("the prices of a qlib store come back otherwise")
    return f"{len(bars)} bars in float32, there and back"


CHECKS: dict[str, Callable[[], str]] = {
    "quantstats": check_quantstats,
    "empyrical-reloaded": check_empyrical,
    "vectorbt": check_vectorbt,
    "skfolio": check_skfolio,
    "neuralforecast": check_neuralforecast,
    "pyqlib": check_qlib,
}


def main() -> None:
    """Run every check, or those that are named, and print one row each; the first that fails ends it."""
    warnings.simplefilter("ignore")
    print("| library | version | what agrees |\n|---|---|---|")
    for name in sys.argv[1:] or CHECKS:
        print(f"| {name} | {version(name)} | {CHECKS[name]()} |", flush=True)


if __name__ == "__main__":
    main()
