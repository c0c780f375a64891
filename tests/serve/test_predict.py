"""Forecasts from a bundle are those of the DAG, bit for bit, however they are asked for."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from checkout import Checkout
from factor_data import Panel
from factor_models import load_model
from factor_models.kline import PathForecaster
from factor_serve import Bundle, follow, forecast
from factor_serve.cli import main
from factor_serve.sources import state_of
from factor_serve.writing import read_forecasts, write_forecasts
from serve.bundle_samples import assert_same_bits, dag_forecasts, last_test_dates
from warm import path_of_programs

pytestmark = [pytest.mark.end_to_end, pytest.mark.numeric]
MODELS = ("linear", "lightgbm", "lstm", "tcn_attention", "token_transformer", "kronos")


@pytest.fixture(scope="module")
def results(finished_run: Checkout) -> Path:
    return finished_run.path / "results"


@pytest.fixture(scope="module")
def forecasts(results: Path, bundle: Bundle, panel: Panel, news: pd.DataFrame) -> pd.DataFrame:
    return forecast(bundle, panel, news, last_test_dates(results, "linear"), "all")


@pytest.mark.parametrize("model", [*MODELS, "stack"])
def test_forecasts_of_many_dates_are_those_of_the_dag(forecasts: pd.DataFrame, results: Path, model: str) -> None:
    assert_same_bits(forecasts, results, model)


def test_every_member_and_nothing_else_has_forecasts(forecasts: pd.DataFrame, bundle: Bundle) -> None:
    assert tuple(bundle.members) == MODELS
    assert set(forecasts["model"]) == {*MODELS, "stack"}


def test_the_command_forecasts_one_date_alone_as_the_dag_did_among_many(
    finished_run: Checkout, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = last_test_dates(results, "linear")[-1]
    data, out = finished_run.path / "data", tmp_path / "out.parquet"
    arguments = [str(results / "stack" / "bundle"), str(data), "--news", str(data / "news"), "--out", str(out)]
    assert main(["predict", *arguments, "--at", str(last)[:10], "--model", "all", "--unpromoted"]) == 0
    said = pd.read_parquet(out)
    assert said["timestamp"].unique().tolist() == [pd.Timestamp(last)]
    for model in (*MODELS, "stack"):
        then = dag_forecasts(results, model)
        then = then[then["timestamp"] == last]
        mine = said[said["model"] == model].sort_values(["timestamp", "symbol", "label"])
        np.testing.assert_array_equal(mine["prediction"].to_numpy(), then["prediction"].to_numpy(), err_msg=model)
    assert "forecasts of 1 dates" in capsys.readouterr().out


def best_out_of_fold(results: Path, label: str) -> str:
    """The member whose forecasts of past test dates had the highest mean rank IC, by what the stage wrote of them."""
    known = json.loads((results / "stack" / "bundle" / "reference.json").read_text())["rank_ic"][label]
    return max(MODELS, key=lambda name: known[name]["mean"])


def test_the_ensemble_is_switched_on_label_by_label_by_the_command_or_the_environment(
    finished_run: Checkout,
    results: Path,
    bundle: Bundle,
    forecasts: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data, out = finished_run.path / "data", tmp_path / "one.parquet"
    command = ["predict", str(bundle.folder), str(data / "bars"), "--news", str(data / "news"), "--unpromoted"]
    command += ["--at", str(last_test_dates(results, "linear")[-1])[:10], "--out", str(out)]
    first, *others = bundle.labels
    off = {label: best_out_of_fold(results, label) for label in bundle.labels}

    def told(expected: dict[str, str]) -> None:
        said = pd.read_parquet(out)
        assert {(one.label, one.model) for one in said.itertuples()} == set(expected.items())
        wanted = forecasts[forecasts["model"] == forecasts["label"].map(expected)]
        both = said.merge(wanted, on=["timestamp", "symbol", "label", "model"])
        assert len(both) == len(said) == len(wanted[wanted["timestamp"] == said["timestamp"].max()])
        np.testing.assert_array_equal(both["prediction_x"], both["prediction_y"])

    assert main(command) == 0
    told(off)
    by = ", ".join(f"{label} by {model}" for label, model in off.items())
    assert f"note: the ensemble is off for {by}; --ensemble" in capsys.readouterr().err
    assert main([*command, "--ensemble", first]) == 0
    told(off | {first: "stack"})
    assert f"note: the ensemble is off for {others[0]} by" in capsys.readouterr().err
    assert main([*command, "--ensemble", "none"]) == 0
    told(off)
    monkeypatch.setenv("FACTOR_SERVE_ENSEMBLE", ",".join(others))
    assert main(command) == 0
    told(off | dict.fromkeys(others, "stack"))
    capsys.readouterr()
    for on in (["--ensemble", "all"], ["--model", "stack"]):
        assert main([*command, *on]) == 0
        told(dict.fromkeys(bundle.labels, "stack"))
        assert "ensemble" not in capsys.readouterr().err
    assert main([*command, "--ensemble", "h7"]) == 2
    assert "ensemble: 'h7' must be all, none, or labels of" in capsys.readouterr().err
    assert main([*command, "--ensemble", "all", "--model", "linear"]) == 2


def test_bars_of_another_layout_give_the_same_forecasts_and_by_default_of_the_last_date(
    finished_run: Checkout, bundle: Bundle, panel: Panel, tmp_path: Path
) -> None:
    (tmp_path / "symbols").mkdir()
    for symbol, bars in panel.to_pandas().groupby("symbol"):
        bars.drop(columns="symbol").to_csv(tmp_path / "symbols" / f"{symbol}.csv", index=False)
    outs = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for folder, out in zip((finished_run.path / "data" / "bars", tmp_path / "symbols"), outs, strict=True):
        arguments = [str(bundle.folder), str(folder), "--news", "none", "--out", str(out), "--unpromoted"]
        assert main(["predict", *arguments]) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    said = pd.read_csv(outs[0])
    assert said["timestamp"].unique().tolist() == [str(panel.dates[-1])[:10]]
    assert said.columns.tolist() == ["timestamp", "symbol", "label", "model", "prediction"]


def test_what_cannot_be_forecast_is_refused_in_one_line(
    finished_run: Checkout, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = finished_run.path / "data", str(tmp_path / "out.csv")
    start = ["predict", str(bundle.folder), str(data / "bars")]
    for more, rule in (
        (["--out", out], "is not promoted (out-of-fold rows"),
        (["--out", out, "--unpromoted"], "the bundle reads news: name them with --news"),
        (["--out", str(tmp_path / "out.txt"), "--unpromoted"], "must end in .parquet or .csv"),
        (["--out", out, "--unpromoted", "--news", "none", "--at", "1999-01-01"], "the bars have no date 1999-01-01"),
        (["--out", out, "--unpromoted", "--news", "none", "--at", "soon"], "--at 'soon': must be a date"),
        (["--out", out, "--unpromoted", "--news", "none", "--model", "gru"], "model 'gru' must be stack, all or one"),
        (["--out", out, "--unpromoted", "--since", "2016-01-01", "--at", "2016-01-02"], "give one of them"),
        (["--out", out, "--unpromoted", "--news", "none", "--since", "2099-01-01"], "the bars have no date from it on"),
    ):
        assert main([*start, *more]) == 2
        said = capsys.readouterr().err.strip().splitlines()
        assert rule in said[-1], said
        assert said[-1].startswith("factor-serve predict: ")
        assert not Path(out).exists()


def test_bars_that_lack_a_column_of_the_bundle_are_refused_and_others_are_left_out(
    results: Path, bundle: Bundle, panel: Panel, news: pd.DataFrame
) -> None:
    lacking = panel.with_columns()
    del lacking.columns["adj_close"]
    with pytest.raises(ValueError, match="no column 'adj_close', which the bundle was made from"):
        forecast(bundle, lacking, news)
    date = last_test_dates(results, "linear")[-1:]
    more = panel.with_columns(strange=np.full(panel.num_rows, np.inf))
    one, two = (forecast(bundle, bars, news, date) for bars in (panel, more))
    pd.testing.assert_frame_equal(one, two)


def test_load_model_reads_a_folder_of_a_k_line_model(bundle: Bundle, tmp_path: Path) -> None:
    model, metadata = load_model(bundle.folder / "models" / "kronos", expected={"name": "kronos"})
    assert isinstance(model, PathForecaster)
    assert (model.lookback, model.num_ahead) == (metadata["window"]["lookback"], metadata["window"]["num_ahead"])
    shutil.copytree(bundle.folder / "models" / "kronos", tmp_path / "kronos")
    changed = tmp_path / "kronos" / "metadata.json"
    changed.write_text(changed.read_text().replace('"temperature": 1.0', '"temperature": 2.0'))
    with pytest.raises(ValueError, match=r"metadata\.json: was changed after it was written"):
        load_model(tmp_path / "kronos")
    with pytest.raises(ValueError, match=r"metadata\['name'\] is 'kronos', expected 'lstm'"):
        load_model(bundle.folder / "models" / "kronos", expected={"name": "lstm"})


def test_follow_appends_each_date_that_comes_and_ends_when_it_is_told_to(
    finished_run: Checkout, bundle: Bundle, panel: Panel, results: Path, tmp_path: Path
) -> None:
    dates, bars, out = last_test_dates(results, "linear")[-3:], tmp_path / "bars.parquet", tmp_path / "out.parquet"

    def publish(last: np.datetime64) -> None:
        frame = panel.to_pandas()
        frame[frame["timestamp"] <= last].to_parquet(tmp_path / "new.parquet")
        (tmp_path / "new.parquet").rename(bars)

    publish(dates[0])
    news = finished_run.path / "data" / "news"
    command = ["python", "-m", "factor_serve", "predict", str(bundle.folder), str(bars), "--news", str(news)]
    options = ["--out", str(out), "--follow", "--every", "0.2", "--unpromoted", "--model", "all"]
    environment, pipe = os.environ | {"PATH": path_of_programs()}, subprocess.PIPE
    with subprocess.Popen([*command, *options], env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        for date in dates:
            publish(date)
            deadline = time.monotonic() + 120
            while not out.exists() or pd.read_parquet(out)["timestamp"].max() < date:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    said = pd.read_parquet(out)
    assert not said.duplicated(["timestamp", "symbol", "label", "model"]).any()
    for model in (*MODELS, "stack"):
        then = dag_forecasts(results, model)
        then = then[then["timestamp"].isin(dates)]
        mine = said[said["model"] == model].sort_values(["timestamp", "symbol", "label"])
        np.testing.assert_array_equal(mine["prediction"].to_numpy(), then["prediction"].to_numpy(), err_msg=model)


def test_follow_waits_for_a_date_that_has_come_in_part_and_passes_one_that_cleaning_empties(
    finished_run: Checkout,
    bundle: Bundle,
    panel: Panel,
    news: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, bars, out = panel.to_pandas(), tmp_path / "bars.parquet", tmp_path / "out.csv"
    first, broken, last = panel.dates[-3:]
    prices = ["open", "high", "low", "close", "adj_close"]
    whole.loc[whole["timestamp"] == broken, prices] = np.nan
    part = whole[(whole["timestamp"] < last) | whole["symbol"].isin(["S0003", "S0004"])]
    deliveries = iter([part[part["timestamp"] <= broken], part, whole])
    told: list[list[str]] = []

    def publish(seconds: float) -> None:
        if out.exists():
            told.append(sorted(read_forecasts(out)["timestamp"].astype(str).unique()))
        bars.unlink(missing_ok=True)
        if (delivery := next(deliveries, None)) is None:
            raise KeyboardInterrupt
        delivery.to_parquet(bars)

    monkeypatch.setattr(follow.time, "sleep", publish)
    monkeypatch.setattr(follow.signal, "signal", lambda number, handler: None)
    whole[whole["timestamp"] <= first].to_parquet(bars)
    documents = str(finished_run.path / "data" / "news")
    command = ["predict", str(bundle.folder), str(bars), "--news", documents, "--out", str(out), "--follow"]
    assert main([*command, "--unpromoted", "--ensemble", "all"]) == 130
    assert main([*command, "--unpromoted", "--model", "linear"]) == 2, "the file has those of the stack"
    days = [str(date)[:10] for date in (first, broken, last)]
    assert told == [days[:1], days[:1], days[:1], [days[0], days[2]]]
    said = read_forecasts(out)
    batch = forecast(bundle, Panel.from_frame(whole), news)
    now = said[said["timestamp"] == last]["prediction"].to_numpy()
    np.testing.assert_array_equal(now, batch["prediction"].to_numpy())


def test_a_change_is_seen_whatever_its_time_and_behind_an_address_always(
    tmp_path: Path,
) -> None:
    for name, content in (("a.csv", "1\n"), ("b.csv", "2\n")):
        (tmp_path / name).write_text(content)
    before = state_of(str(tmp_path))
    assert state_of(str(tmp_path)) == before
    os.utime(tmp_path / "a.csv", (1.0, 1.0))
    older = state_of(str(tmp_path))
    assert older != before, "the clock was set back: b.csv stays the newest"
    (tmp_path / "c.csv").write_text("1\n")
    os.utime(tmp_path / "c.csv", (1.0, 1.0))
    (tmp_path / "c.csv").replace(tmp_path / "a.csv")
    assert state_of(str(tmp_path)) != older, "another file of the same size and time"
    assert state_of("memory://bars") is None


def test_names_in_a_csv_that_is_appended_to_stay_text(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "timestamp": np.array(["2024-01-31"] * 3, dtype="datetime64[ns]"),
            "symbol": ["000001", "NA", "1e5"],
            "label": "h1",
            "model": "stack",
            "prediction": np.array([0.1, -1e-9, 3.0], dtype=np.float32),
        }
    )
    write_forecasts(frame, tmp_path / "out.csv")
    again = read_forecasts(tmp_path / "out.csv")
    assert again["symbol"].tolist() == frame["symbol"].tolist()
    np.testing.assert_array_equal(again["prediction"].to_numpy(), frame["prediction"].to_numpy())


def test_an_infinite_number_is_refused_by_its_place(bundle: Bundle, panel: Panel) -> None:
    bars = panel.to_pandas()
    bars.loc[len(bars) // 2, "close"] = np.inf
    with pytest.raises(ValueError, match=r"bars: close of S\d+ at \d{4}-\S+ is infinite"):
        forecast(bundle, Panel.from_frame(bars), dates=panel.dates[-1:])
