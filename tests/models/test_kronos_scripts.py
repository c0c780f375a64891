"""Scripts in the shape of the official Kronos examples, their import changed and nothing else; frames of any library.

The examples (prediction_example.py, prediction_wo_vol_example.py, prediction_batch_example.py of the published
repository) read a CSV, cut lookback and future out of it, and call `predict` or `predict_batch`. Their import is
`from model import Kronos, KronosTokenizer, KronosPredictor`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factor_models import Kronos, KronosPredictor, KronosTokenizer
from models.kline_samples import make_predictor, make_tokenizer

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "kronos" / "case1"
HEAD = """
import pandas as pd
from factor_models import Kronos, KronosTokenizer, KronosPredictor

tokenizer = KronosTokenizer.from_pretrained(TOKENIZER)
model = Kronos.from_pretrained(MODEL)
predictor = KronosPredictor(model, tokenizer, device="cpu", max_context=512)

df = pd.read_csv(DATA)
df['timestamps'] = pd.to_datetime(df['timestamps'])
lookback, pred_len = 24, 4
"""
ONE = (
    HEAD
    + """
x_df = df.loc[:lookback-1, COLUMNS]
x_timestamp = df.loc[:lookback-1, 'timestamps']
y_timestamp = df.loc[lookback:lookback+pred_len-1, 'timestamps']

pred_df = predictor.predict(
    df=x_df,
    x_timestamp=x_timestamp,
    y_timestamp=y_timestamp,
    pred_len=pred_len,
    T=1.0,
    top_p=0.9,
    sample_count=1,
    verbose=True
)
print("Forecasted Data Head:")
print(pred_df.head())

kline_df = df.loc[:lookback+pred_len-1]
pred_df.index = kline_df.index[-pred_df.shape[0]:]
sr_close = kline_df['close']
sr_pred_close = pred_df['close']
close_df = pd.concat([sr_close.rename('Ground Truth'), sr_pred_close.rename('Prediction')], axis=1)
"""
)
BATCH = (
    HEAD
    + """
dfs, xtsp, ytsp = [], [], []
for i in range(3):
    idf = df.loc[(i*10):(i*10+lookback-1), ['open', 'high', 'low', 'close', 'volume', 'amount']]
    i_x_timestamp = df.loc[i*10:i*10+lookback-1, 'timestamps']
    i_y_timestamp = df.loc[i*10+lookback:i*10+lookback+pred_len-1, 'timestamps']
    dfs.append(idf)
    xtsp.append(i_x_timestamp)
    ytsp.append(i_y_timestamp)

pred_df = predictor.predict_batch(
    df_list=dfs,
    x_timestamp_list=xtsp,
    y_timestamp_list=ytsp,
    pred_len=pred_len,
)
"""
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published ones of random weights where they are beside the checkout, else tiny ones of our own."""
    if GOLDEN.is_dir():
        return GOLDEN
    folder = tmp_path_factory.mktemp("kronos")
    make_tokenizer().save_pretrained(folder / "tokenizer")
    make_predictor().save_pretrained(folder / "predictor")
    return folder


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    close = 10 * np.exp(np.cumsum(0.01 * generator.standard_normal(60)))
    stamps = pd.date_range("2024-06-03 09:35", periods=60, freq="5min")
    frame = pd.DataFrame({"timestamps": stamps, "open": close, "high": close + 0.1, "low": close - 0.1, "close": close})
    return frame.assign(volume=generator.uniform(1, 5, 60), amount=generator.uniform(10, 50, 60))


@pytest.mark.parametrize(
    ("script", "columns"),
    [
        (ONE, ["open", "high", "low", "close", "volume", "amount"]),
        (ONE, ["open", "high", "low", "close"]),
        (BATCH, []),
    ],
    ids=["example", "without volume", "batch"],
)
def test_an_official_script_runs_with_another_import(
    script: str, columns: list[str], checkpoint: Path, bars: pd.DataFrame, tmp_path: Path
) -> None:
    bars.to_csv(tmp_path / "data.csv", index=False)
    names: dict[str, Any] = {
        "TOKENIZER": str(checkpoint / "tokenizer"),
        "MODEL": str(checkpoint / "predictor"),
        "DATA": tmp_path / "data.csv",
        "COLUMNS": columns,
    }
    exec(script, names)
    found = names["pred_df"] if isinstance(names["pred_df"], list) else [names["pred_df"]]
    for frame in found:
        assert list(frame.columns) == ["open", "high", "low", "close", "volume", "amount"]
        assert frame.shape == (4, 6)
        assert np.isfinite(frame.to_numpy()).all()
    if script is ONE:
        assert names["close_df"]["Prediction"].notna().sum() == 4


@pytest.fixture(scope="module")
def predictor(checkpoint: Path) -> KronosPredictor:
    tokenizer = KronosTokenizer.from_pretrained(checkpoint / "tokenizer")
    return KronosPredictor(Kronos.from_pretrained(checkpoint / "predictor"), tokenizer, device="cpu")


def greedy(predictor: KronosPredictor, frame: Any, past: Any, ahead: Any) -> Any:
    return predictor.predict(frame, past, ahead, 4, top_k=1, verbose=False)


@pytest.mark.parametrize("zone", [None, "Asia/Shanghai"])
def test_frames_of_other_libraries_go_in_and_come_out(
    zone: str | None, predictor: KronosPredictor, bars: pd.DataFrame
) -> None:
    stamps = bars["timestamps"].dt.tz_localize(zone)
    prices = bars[["open", "high", "low", "close"]]
    expected = greedy(predictor, prices[:24], stamps[:24], stamps[24:28])
    table, times = pa.Table.from_pandas(prices), pa.Array.from_pandas(stamps)
    out = greedy(predictor, table[:24], times[:24], times[24:28])
    assert isinstance(out, pa.Table)
    assert out.column_names == ["timestamp", *expected.columns]
    assert out["timestamp"].to_pandas().tolist() == expected.index.tolist()
    np.testing.assert_array_equal(out.drop(["timestamp"]).to_pandas().to_numpy(), expected.to_numpy())
    polars = pytest.importorskip("polars")
    frame, clock = polars.from_pandas(prices), polars.from_pandas(stamps)
    out = greedy(predictor, frame[:24], clock[:24], clock[24:28])
    assert isinstance(out, polars.DataFrame)
    assert out.columns == ["timestamp", *expected.columns]
    assert out["timestamp"].to_list() == [stamp.to_pydatetime() for stamp in expected.index]
    np.testing.assert_array_equal(out.drop("timestamp").to_numpy(), expected.to_numpy())


def test_what_does_not_fit_is_named(predictor: KronosPredictor, bars: pd.DataFrame) -> None:
    stamps = bars["timestamps"]
    with pytest.raises(ValueError, match=r"series 0: column 'open' is missing; it has .*; perhaps rename 'Open' to"):
        greedy(predictor, bars[:24].rename(columns=str.capitalize), stamps[:24], stamps[24:28])
    with pytest.raises(TypeError, match=r"bars must be a frame of pandas, polars or pyarrow, got numpy\.ndarray"):
        greedy(predictor, bars.to_numpy(), stamps[:24], stamps[24:28])
    polars = pytest.importorskip("polars")
    frame = polars.from_pandas(bars[:24]).with_columns(polars.lit(None).cast(polars.Float64).alias("close"))
    with pytest.raises(ValueError, match="column 'close' is missing or infinite in 24 rows, first row 1"):
        greedy(predictor, frame, stamps[:24], stamps[24:28])
    with pytest.raises(TypeError, match=r"LazyFrame; collect\(\) it first"):
        greedy(predictor, frame.lazy(), stamps[:24], stamps[24:28])
