"""Shared by the tests of factor_serve: forecasts of the DAG beside those of a bundle, and bundles that were changed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from factor_data import Panel, write_sums
from factor_serve import Bundle, Forecaster
from stages.judging.bundle import HASH, MANIFEST, file_digest

KEYS = ["timestamp", "symbol", "label"]
ORDER = ["model", "label", "timestamp", "symbol"]
CUTOFF = np.timedelta64(960, "m")


def dag_forecasts(results: Path, model: str) -> pd.DataFrame:
    """The forecasts of the DAG for the test dates of its last fold, sorted by keys."""
    path = results / "stack" if model == "stack" else results / "train" / model
    frame = pd.read_parquet(path / "predictions.parquet")
    frame = frame[(frame["segment"] == "test") & (frame["fold"] == frame["fold"].max())]
    frame = frame.astype({"symbol": str, "label": str})[[*KEYS, "prediction"]]
    return frame.dropna().sort_values(KEYS, ignore_index=True)


def assert_same_bits(forecasts: pd.DataFrame, results: Path, model: str) -> None:
    """Every row of the DAG and no other, with the very same float32."""
    expected = dag_forecasts(results, model)
    mine = forecasts[forecasts["model"] == model].sort_values(KEYS, ignore_index=True)
    mine = mine[mine["timestamp"].isin(expected["timestamp"])].reset_index(drop=True)
    assert len(expected)
    for key in KEYS:
        assert mine[key].astype(str).tolist() == expected[key].astype(str).tolist(), (model, key)
    now, then = mine["prediction"].to_numpy(), expected["prediction"].to_numpy()
    assert now.dtype == then.dtype == np.float32
    np.testing.assert_array_equal(now.view(np.uint32), then.view(np.uint32), err_msg=model)


def assert_equal_bits(one: pd.DataFrame, two: pd.DataFrame) -> None:
    """The same forecasts, in whatever order they come."""
    one, two = (frame.sort_values(ORDER, ignore_index=True) for frame in (one, two))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


def last_test_dates(results: Path, model: str) -> np.ndarray:
    return np.unique(dag_forecasts(results, model)["timestamp"].to_numpy().astype("datetime64[ns]"))


def change_manifest(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a manifest and make every hash anew that belongs to its new content."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    change(manifest)
    manifest[HASH] = file_digest(manifest)
    (bundle / MANIFEST).write_text(json.dumps(manifest))
    write_sums(bundle)


def news_between(news: pd.DataFrame | None, after: np.datetime64 | None, upto: np.datetime64) -> pd.DataFrame | None:
    """Documents that are known after the cut-off of one date, up to that of another."""
    if news is None:
        return None
    known = news["timestamp"] <= upto + CUTOFF
    return news[known if after is None else known & (news["timestamp"] > after + CUTOFF)]


def update_date_by_date(bundle: Bundle, panel: Panel, news: pd.DataFrame | None, dates: np.ndarray) -> pd.DataFrame:
    """Forecasts of the dates: the first by the history up to it, the others by an update each; sorted by `ORDER`.

    Before the last one the forecaster is started again from its saved state.
    """
    forecaster, frame = Forecaster(bundle), panel.to_pandas()
    history = frame[frame["timestamp"] <= dates[0]]
    said = [forecaster.update(history, news_between(news, None, dates[0]), "all")]
    for before, date in pairwise(dates):
        bars = frame[frame["timestamp"] == date]
        if date == dates[-1]:
            with TemporaryDirectory() as folder:
                forecaster.save(Path(folder) / "state")
                forecaster = Forecaster.restore(bundle, Path(folder) / "state")
        said.append(forecaster.update(bars, news_between(news, before, date), "all"))
    return pd.concat(said).sort_values(ORDER, ignore_index=True)


def arrow_stream(*frames: pd.DataFrame) -> bytes:
    """Frames as streams of Arrow, one behind the other."""
    sink = io.BytesIO()
    for frame in frames:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def columns(frame: pd.DataFrame) -> dict[str, list[Any]]:
    """A frame as the JSON of a request has it."""
    told: dict[str, list[Any]] = {}
    for name, values in frame.items():
        if name == "timestamp":
            told[name] = [stamp.isoformat() for stamp in values]
        else:
            told[str(name)] = [None if value != value else value for value in values.tolist()]
    return told
