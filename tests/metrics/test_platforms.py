"""skfolio's panels and NeuralForecast's frames in and out; held against the libraries in `make interop`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_metrics import ForecastMatrices, from_neuralforecast, from_skfolio, to_neuralforecast, to_skfolio

DATES = pd.bdate_range("2024-01-02", periods=12)
SYMBOLS = pd.Index(["A", "B", "C"])


@dataclass
class PanelDouble:
    """What of `skfolio.containers.AssetPanel` is used; the real one is used in benchmarks/agreement_platforms.py."""

    fields: dict[str, np.ndarray]
    observations: np.ndarray
    asset_names: np.ndarray
    active_mask: np.ndarray | None

    def __getitem__(self, name: str) -> Any:
        return self.fields[name]


@pytest.fixture
def _skfolio(monkeypatch: pytest.MonkeyPatch) -> None:
    containers = ModuleType("skfolio.containers")
    containers.AssetPanel = PanelDouble  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "skfolio", ModuleType("skfolio"))
    monkeypatch.setitem(sys.modules, "skfolio.containers", containers)


def forecast(seed: int = 0) -> ForecastMatrices:
    generator = np.random.default_rng(seed)
    prediction, label = generator.normal(size=(2, len(DATES), len(SYMBOLS)))
    present = generator.random(prediction.shape) < 0.8
    label[4, 1] = np.nan
    prediction, label = np.where(present, prediction, np.nan), np.where(present, label, np.nan)
    return ForecastMatrices(dates=DATES, symbols=SYMBOLS, prediction=prediction, labels={"1D": label}, present=present)


@pytest.mark.usefixtures("_skfolio")
def test_a_panel_of_skfolio_comes_back_as_it_was() -> None:
    one = forecast()
    again = from_skfolio(to_skfolio(one, {"volume": np.ones(one.prediction.shape)}), labels=["1D"])
    assert again.dates.equals(one.dates)
    assert again.symbols.equals(one.symbols)
    np.testing.assert_array_equal(again.prediction, one.prediction)
    np.testing.assert_array_equal(again.labels["1D"], one.labels["1D"])
    np.testing.assert_array_equal(again.present, one.present)


@pytest.mark.usefixtures("_skfolio")
def test_fields_of_skfolio_that_are_taken_or_missing_are_refused() -> None:
    panel = to_skfolio(forecast())
    with pytest.raises(ValueError, match="field '1D' is the forecast's own"):
        to_skfolio(forecast(), {"1D": np.ones((len(DATES), len(SYMBOLS)))})
    with pytest.raises(ValueError, match="has no field 'alpha', it has"):
        from_skfolio(panel, "alpha")


def test_skfolio_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skfolio", None)
    with pytest.raises(ModuleNotFoundError, match="pip install skfolio"):
        to_skfolio(forecast())


def test_the_long_frame_of_neuralforecast_has_a_row_per_known_value() -> None:
    values = forecast().prediction
    frame = to_neuralforecast(values, DATES, SYMBOLS)
    assert list(frame.columns) == ["unique_id", "ds", "y"]
    assert len(frame) == np.count_nonzero(~np.isnan(values))
    assert frame.equals(frame.sort_values(["unique_id", "ds"], ignore_index=True))
    wide = frame.pivot(index="ds", columns="unique_id", values="y").reindex(index=DATES, columns=SYMBOLS)
    np.testing.assert_array_equal(wide.to_numpy(), values)
    with pytest.raises(ValueError, match=r"shape \(dates, symbols\) = \(12, 2\)"):
        to_neuralforecast(values, DATES, ["A", "B"])


def cross_validation(shuffled: bool = False) -> pd.DataFrame:
    """Two steps after each of four cutoffs: y counts dates, a model says y + .5, another y - .5."""
    rows = [
        (symbol, DATES[cutoff + step], DATES[cutoff], 100.0 * number + cutoff + step)
        for number, symbol in enumerate(SYMBOLS)
        for cutoff in (2, 4, 6, 8)
        for step in (1, 2)
    ]
    frame = pd.DataFrame(rows, columns=["unique_id", "ds", "cutoff", "y"])
    frame = frame.assign(MLP=frame["y"] + 0.5, LSTM=frame["y"] - 0.5)
    return frame.sample(frac=1.0, random_state=0) if shuffled else frame


@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("step", [1, 2])
def test_forecasts_of_neuralforecast_stand_on_the_date_that_they_were_known(step: int, shuffled: bool) -> None:
    found = from_neuralforecast(cross_validation(shuffled), "MLP", step)
    assert list(found.dates) == [DATES[cutoff] for cutoff in (2, 4, 6, 8)]
    expected = 100.0 * np.arange(3) + np.array([2, 4, 6, 8])[:, None] + step
    np.testing.assert_array_equal(found.labels["y"], expected)
    np.testing.assert_array_equal(found.prediction, expected + 0.5)


def test_frames_of_neuralforecast_that_leave_a_choice_are_refused() -> None:
    frame = cross_validation()
    with pytest.raises(ValueError, match="column 'cutoff' is missing"):
        from_neuralforecast(frame.drop(columns="cutoff"))
    with pytest.raises(ValueError, match=r"model must name one of \['MLP', 'LSTM'\]"):
        from_neuralforecast(frame)
    with pytest.raises(ValueError, match="got 'NHITS'"):
        from_neuralforecast(frame, "NHITS")
    with pytest.raises(ValueError, match="step must be from 1 to 2, got 3"):
        from_neuralforecast(frame, "MLP", 3)
    with pytest.raises(ValueError, match="occurs twice"):
        from_neuralforecast(pd.concat([frame, frame[frame["cutoff"] == DATES[2]]]), "MLP")
    assert from_neuralforecast(frame.drop(columns="LSTM")).prediction.shape == (4, 3)
