"""A column of the bars says the sector: labels, rank IC and books neutral to it; one that is not there is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, Panel
from factor_metrics import rank_within_groups
from stages.json_files import read_json
from stages.judging.books import inside_sectors
from stages.judging.pages import ModelPage
from stages.params.reading import parse_params
from stages.predictions import OutOfFold
from stages.records import read_record
from workplace import Workplace, make_workplace, smoke_document


def test_books_and_labels_are_neutral_to_sectors_from_params_yaml_to_the_page(tmp_path: Path) -> None:
    document: dict[str, Any] = smoke_document()
    document["models"] = ["linear"]
    document["tokenize"]["labels"] = {"h1": {"horizon": 1}, "within5": {"horizon": 5, "neutral": "sectr"}}
    document["evaluate"] |= {"sector": "sectr", "bootstrap": 100}
    document["evaluate"]["portfolio"]["sector_neutral"] = True
    place = make_workplace(tmp_path / "factorcast", document)
    place.run("plan")
    place.made("sample")
    for path in (place.results / "sample" / "bars").iterdir():
        bars = pd.read_parquet(path)
        bars.assign(sector=bars["symbol"].str[-1].astype(float) % 3).to_parquet(path, index=False)
    (place.results / "sample" / "sums.json").unlink()
    assert "evaluate.sector: 'sectr' must be null or one of the columns of the bars" in place.refused("split")
    place.change_params(lambda changed: changed["evaluate"].update(sector="sector"))
    place.run("plan")
    assert "tokenize.labels.within5: the bars have no column 'sectr'" in place.refused("split")
    place.change_params(lambda changed: changed["tokenize"]["labels"]["within5"].update(neutral="sector"))
    for stage in ("plan", "split", "tokenize_features", "tokenize_kline", "inputs"):
        place.run(stage)
    place.run("train", "linear")
    place.run("evaluate", "linear")
    place.run("report", "linear")
    page = read_record(place.results / "evaluate" / "linear" / "page.json", ModelPage)
    for one in page.anatomies.values():
        assert one.neutral.names[-2:] == ("sector", "all")
        assert np.isfinite(one.neutral.mean).all()
    assert "ranked inside sectors" in (place.results / "report" / "linear" / "report.html").read_text()
    store, panel = FeatureStore(place.results / "tokenize"), Panel.load(place.results / "split" / "panel")
    oof = OutOfFold(place.results / "train" / "linear" / "predictions.parquet", store)
    forecast = oof.matrix("h1", "test")
    sectors = panel.to_matrix(panel.columns["sector"])[np.searchsorted(panel.dates, oof.dates("test"))]
    ranks = inside_sectors(forecast, sectors)
    for row in range(len(ranks)):
        for sector in range(3):
            inside = ranks[row, (sectors[row] == sector) & np.isfinite(forecast[row])]
            assert (inside > 0.8).sum() == (inside < 0.2).sum() > 0
    check_neutral_label(place, store, panel)


def check_neutral_label(place: Workplace, store: FeatureStore, panel: Panel) -> None:
    """Label, target and rank IC of `within5`, made again with pandas from the clean bars."""
    rows = pd.DataFrame({"date": panel.timestamp, "symbol": panel.symbol, "sector": panel.columns["sector"]})
    close = pd.DataFrame(panel.to_matrix(panel.adjusted("close")), index=panel.dates, columns=panel.symbols)
    ahead = (close.shift(-6) / close.shift(-1) - 1.0).stack().rename("raw")
    rows = rows[panel.in_universe].join(ahead, on=["date", "symbol"])
    rows["label"] = rows["raw"] - rows.groupby(["date", "sector"])["raw"].transform("mean")
    written = pd.Series(store.label("within5"))
    np.testing.assert_allclose(written[rows.index], rows["label"], rtol=1e-9, atol=1e-12)
    assert written.drop(rows.index).isna().all()
    target = pd.Series(store.targets("rank")[:, store.head("within5")])
    ranks = rows.groupby("date")["label"].rank()
    assert (ranks.groupby(rows["date"]).corr(target[rows.index].astype(float)).dropna() > 1.0 - 1e-6).all()

    said = pd.read_parquet(place.results / "train" / "linear" / "predictions.parquet")
    said = (
        said[(said["label"] == "within5") & (said["segment"] == "test")].astype({"symbol": str}).drop(columns="label")
    )
    both = said.merge(rows, left_on=["timestamp", "symbol"], right_on=["date", "symbol"]).dropna(subset="label")
    by_date = [one["prediction"].corr(one["label"], "spearman") for _, one in both.groupby("timestamp")]
    metrics = read_json(place.results / "evaluate" / "linear" / "metrics.json")
    assert metrics["within5"]["rank_ic"] == pytest.approx(np.mean(by_date), abs=1e-9)
    raw = [one["prediction"].corr(one["raw"], "spearman") for _, one in both.groupby("timestamp")]
    assert abs(np.mean(raw) - np.mean(by_date)) > 1e-4, "the label decides the score"
    page = (place.results / "report" / "linear" / "report.html").read_text()
    assert "less its mean over the same sector on the date" in page


def test_ranks_inside_groups_are_those_of_pandas_with_ties_and_gaps() -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 5, size=(30, 20)).astype(float)
    group = generator.integers(0, 3, size=values.shape).astype(float)
    values[generator.random(values.shape) < 0.1] = np.nan
    group[generator.random(values.shape) < 0.1] = np.nan
    found = rank_within_groups(values, group)
    for row in range(30):
        ranked = pd.Series(values[row]).groupby(group[row]).rank()
        count = pd.Series(values[row]).groupby(group[row]).transform("count")
        np.testing.assert_allclose(found[row], ((ranked - 0.5) / count).to_numpy())
    constant = inside_sectors(np.full((2, 6), 0.1, dtype=np.float32), np.array([[1.0, 1, 1, 2, 2, 2]] * 2))
    assert (constant == 0.5).all()


def test_without_a_column_of_sectors_no_book_is_neutral_to_them() -> None:
    document = smoke_document()
    document["evaluate"]["portfolio"]["sector_neutral"] = True
    with pytest.raises(ValueError, match=r"portfolio\.sector_neutral: needs sector"):
        parse_params(document, "params.yaml")
