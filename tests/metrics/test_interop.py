"""alphalens and qlib frames in and out: round trips to the bit, and what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factor_metrics import (
    ForecastMatrices,
    from_alphalens,
    from_qlib,
    grouped_ic,
    ic,
    quantile_of,
    rank_ic,
    rank_ic_by_horizon,
    to_alphalens,
    to_qlib,
)


def factor_data(
    seed: int = 0,
    num_dates: int = 8,
    num_assets: int = 30,
    timezone: str | None = "UTC",
    dtype: type[np.floating] = np.float64,
) -> pd.DataFrame:
    """A frame as alphalens' get_clean_factor_and_forward_returns leaves it: complete rows, not a full grid."""
    generator = np.random.default_rng(seed)
    dates = pd.bdate_range("2024-01-02", periods=num_dates, tz=timezone)
    assets = [f"A{number:03d}" for number in range(num_assets)]
    index = pd.MultiIndex.from_product([dates, assets], names=["date", "asset"])
    frame = pd.DataFrame(generator.normal(size=(len(index), 3)).astype(dtype), index, ["1D", "5D", "factor"])
    frame["group"] = pd.Categorical(generator.choice(["energy", "tech"], size=len(index)))
    frame = frame[generator.random(len(frame)) < 0.9]
    quantile = frame["factor"].groupby("date").transform(lambda x: pd.qcut(x, 5, labels=False) + 1)
    return frame.assign(factor_quantile=quantile.astype(np.int64))


def qlib_frame(seed: int = 1) -> pd.DataFrame:
    frame = factor_data(seed, timezone=None)[["factor", "1D"]].set_axis(["score", "label"], axis=1)
    frame.iloc[[3, 17], 1] = np.nan  # qlib keeps rows without a label
    frame.iloc[5] = np.nan
    return frame.rename_axis(["datetime", "instrument"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("timezone", [None, "UTC", "Asia/Shanghai"])
def test_alphalens_frames_come_back_as_they_were(dtype: type[np.floating], timezone: str | None) -> None:
    frame = factor_data(timezone=timezone, dtype=dtype)
    pd.testing.assert_frame_equal(to_alphalens(from_alphalens(frame)), frame)


def test_columns_of_two_levels_as_qlib_prepares_them_are_the_same_as_flat_ones() -> None:
    index = pd.MultiIndex.from_product(
        [pd.bdate_range("2024-01-02", periods=5), [f"S{i}" for i in range(12)]], names=["datetime", "instrument"]
    )
    score, label, feature = np.random.default_rng(0).normal(size=(3, len(index)))
    flat = from_qlib(pd.DataFrame({"score": score}, index=index), pd.DataFrame({"LABEL0": label}, index=index))
    deep = pd.DataFrame({("label", "LABEL0"): label}, index=index)
    for prediction, given in (
        (pd.DataFrame({"score": score}, index=index), deep),
        (pd.DataFrame({("pred", "score"): score}, index=index), deep.sample(frac=1.0, random_state=0)),
        (pd.DataFrame({("pred", "x"): score}, index=index), deep["label"]),
        (pd.DataFrame({("p", "score"): score, ("feature", "KMID"): feature, ("label", "L"): label}, index=index), None),
    ):
        found = from_qlib(prediction, given)
        np.testing.assert_array_equal(found.labels["label"], flat.labels["label"])
        np.testing.assert_array_equal(found.prediction, flat.prediction)
    two = pd.DataFrame({"LABEL0": label, "LABEL1": label}, index=index)
    two.columns = pd.MultiIndex.from_product([["label"], two.columns])
    with pytest.raises(ValueError, match=r"label must have one column 'label', got .*LABEL1.*: give one of them"):
        from_qlib(pd.DataFrame({"score": score}, index=index), two)


def test_qlib_frames_come_back_as_they_were() -> None:
    frame = qlib_frame()
    pd.testing.assert_frame_equal(to_qlib(from_qlib(frame)), frame)
    pd.testing.assert_frame_equal(to_qlib(from_qlib(frame["score"])), frame[["score"]])


def test_rows_in_any_order_and_swapped_levels_mean_the_same() -> None:
    frame = factor_data()
    shuffled = frame.sample(frac=1.0, random_state=0).swaplevel()
    pd.testing.assert_frame_equal(to_alphalens(from_alphalens(shuffled)), frame)
    pd.testing.assert_frame_equal(to_qlib(from_qlib(qlib_frame().swaplevel()[::-1])), qlib_frame())


def test_values_lie_at_their_date_and_asset() -> None:
    frame = factor_data()
    forecast = from_alphalens(frame)
    assert list(forecast.labels) == ["1D", "5D"]
    date, asset = frame.index[41]
    cell = forecast.dates.get_loc(date), forecast.symbols.get_loc(asset)
    assert forecast.prediction[cell] == frame["factor"].iloc[41]
    assert forecast.labels["5D"][cell] == frame["5D"].iloc[41]
    assert forecast.group[cell] == frame["group"].iloc[41]
    assert forecast.quantile[cell] == frame["factor_quantile"].iloc[41]
    assert np.isnan(forecast.prediction).sum() == forecast.prediction.size - len(frame)


def test_the_ic_of_a_frame_is_that_of_pandas_group_by_group() -> None:
    frame = factor_data(num_assets=40)
    forecast = from_alphalens(frame)
    by_date = frame.groupby("date")
    expected = by_date[["factor", "5D"]].apply(lambda x: x["factor"].corr(x["5D"], method="spearman"))
    np.testing.assert_allclose(rank_ic(forecast.prediction, forecast.labels["5D"]), expected, atol=1e-13)
    expected = by_date[["factor", "1D"]].apply(lambda x: x["factor"].corr(x["1D"]))
    np.testing.assert_allclose(ic(forecast.prediction, forecast.labels["1D"]), expected, atol=1e-13)
    labels = np.stack(list(forecast.labels.values()))
    assert rank_ic_by_horizon(forecast.prediction, labels).shape == (2, 8)
    judged = grouped_ic(forecast.prediction, forecast.labels["1D"], forecast.group, min_symbols=5)
    sizes = frame.groupby(["group", "date"], observed=True).size().to_numpy().reshape(2, 8)
    np.testing.assert_array_equal(judged.num_symbols, sizes)


def test_matrices_of_ones_own_become_frames_of_complete_rows_with_quantiles() -> None:
    generator = np.random.default_rng(2)
    prediction, label = generator.normal(size=(2, 4, 10))
    prediction[0, 0] = label[1, 1] = np.nan
    prediction[3] = 1.0  # constant: no quantiles, so no rows
    dates, symbols = pd.bdate_range("2024-01-02", periods=4), pd.Index(list("abcdefghij"))
    forecast = ForecastMatrices(dates=dates, symbols=symbols, prediction=prediction, labels={"1D": label})
    frame = to_alphalens(forecast, num_quantiles=3)
    assert list(frame.columns) == ["1D", "factor", "factor_quantile"]
    assert len(frame) == 28
    assert frame.index.is_monotonic_increasing
    expected = quantile_of(prediction[2:3], 3)[0] + 1
    np.testing.assert_array_equal(frame.loc[dates[2], "factor_quantile"], expected)
    assert to_qlib(forecast).shape == (38, 2)


def test_a_label_may_have_an_index_of_its_own() -> None:
    frame = qlib_frame()
    score, label = frame["score"].iloc[:-20], frame["label"].iloc[10:].rename("LABEL0").to_frame().swaplevel()
    forecast = from_qlib(score, label)
    pd.testing.assert_frame_equal(to_qlib(forecast), pd.concat([score, frame["label"].iloc[10:]], axis=1).sort_index())


def test_several_labels_need_a_choice() -> None:
    forecast = from_alphalens(factor_data())
    assert to_qlib(forecast, "5D")["label"].tolist() == factor_data()["5D"].tolist()
    with pytest.raises(ValueError, match=r"label must name one of \['1D', '5D'\]"):
        to_qlib(forecast)
    with pytest.raises(ValueError, match=r"label must be one of \['1D', '5D'\], got '2D'"):
        to_qlib(forecast, "2D")


def test_rows_that_occur_twice_are_refused_with_their_keys() -> None:
    frame = factor_data(timezone=None)
    doubled = pd.concat([frame, frame.iloc[[0, 1]]])
    message = r"2 row\(s\) refused, the same row occurs twice: row \d+: \(2024-01-02 00:00:00, A00\d\); row"
    with pytest.raises(ValueError, match=message):
        from_alphalens(doubled)
    with pytest.raises(ValueError, match="the same row occurs twice"):
        from_qlib(qlib_frame()["score"], pd.concat([qlib_frame()["label"]] * 2))


def test_infinite_values_and_missing_keys_are_refused_with_their_rows() -> None:
    frame = factor_data(timezone=None)
    frame.iloc[7, 1] = np.inf
    with pytest.raises(ValueError, match=r"1 row\(s\) refused, 5D must not be infinite: row 7: \(2024-01-02"):
        from_alphalens(frame)
    index = pd.MultiIndex.from_tuples(
        [(pd.NaT, "a"), (pd.Timestamp("2024-01-02"), "b")], names=["datetime", "instrument"]
    )
    with pytest.raises(ValueError, match=r"1 row\(s\) refused, datetime or instrument is missing: row 0"):
        from_qlib(pd.Series([1.0, 2.0], index=index))


def test_frames_of_another_kind_are_refused() -> None:
    frame = factor_data()
    with pytest.raises(ValueError, match=r"index must be a MultiIndex \(date, asset\), got \[None\]"):
        from_alphalens(frame.reset_index(drop=True))
    with pytest.raises(ValueError, match=r"MultiIndex \(datetime, instrument\), got \['date', 'asset'\]"):
        from_qlib(frame["factor"])
    with pytest.raises(ValueError, match="factor_data must have a column 'factor' and columns of forward returns"):
        from_alphalens(frame.drop(columns=["1D", "5D"]))
    with pytest.raises(ValueError, match=r"prediction must be a Series or have a column 'score'"):
        from_qlib(frame[["1D", "5D"]])
    with pytest.raises(ValueError, match="label must be given once"):
        from_qlib(qlib_frame(), qlib_frame()["label"])
    with pytest.raises(ValueError, match="level datetime must hold timestamps"):
        from_qlib(pd.Series([1.0], pd.MultiIndex.from_tuples([(1, "a")], names=["datetime", "instrument"])))
    with pytest.raises(ValueError, match=r"labels must be named like '1D' or '12h', got \['label'\]"):
        to_alphalens(from_qlib(qlib_frame()))


def test_matrices_that_do_not_fit_the_axes_are_refused() -> None:
    dates, symbols = pd.bdate_range("2024-01-02", periods=2), pd.Index(["a", "b"])
    with pytest.raises(ValueError, match=r"1D must have shape \(dates, symbols\) = \(2, 2\), got \(2, 3\)"):
        ForecastMatrices(dates=dates, symbols=symbols, prediction=np.ones((2, 2)), labels={"1D": np.ones((2, 3))})
