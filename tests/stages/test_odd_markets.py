"""Markets without volume, with an amount of 0 and with a constant volume: refused by rule and cure, or trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factor_data import FeatureStore, write_sums
from workplace import Workplace, make_workplace, smoke_document


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """The smoke market in one linear model, up to its data."""
    document = smoke_document()
    document["models"] = ["linear"]
    document["tokenize"] |= {"features": ["return_1", "volatility_20", "price_volume_corr_20"], "use_news": False}
    workplace = make_workplace(tmp_path_factory.mktemp("odd") / "factorcast", document)
    workplace.run("plan")
    workplace.made("sample")
    return workplace


def market(sampled: Workplace, path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Workplace:
    workplace = sampled.copy(path / "factorcast")
    for file in (workplace.path / "data" / "bars").iterdir():
        change(pd.read_parquet(file)).to_parquet(file, index=False)
    write_sums(workplace.path / "data")
    return workplace


def say(workplace: Workplace, **clean: object) -> None:
    workplace.change_params(lambda document: document["split"]["clean"].update(clean))
    workplace.run("plan")


def test_a_market_without_volume_is_refused_with_the_line_that_trains_it(sampled: Workplace, tmp_path: Path) -> None:
    workplace = market(sampled, tmp_path, lambda frame: frame.assign(volume=0.0))
    said = workplace.refused("split")
    assert "volume is 0 or less in all" in said
    assert "the rule 'suspended'" in said
    assert "split.clean.actions: {suspended: flag}" in said
    say(workplace, actions={"suspended": "flag"})
    for stage in ("split", "tokenize_features"):
        workplace.run(stage)
    workplace.run("train", "linear")
    assert len(pd.read_parquet(workplace.results / "train" / "linear" / "predictions.parquet"))


def test_a_rule_that_masks_everything_is_named_in_split_with_count_and_cure(sampled: Workplace, tmp_path: Path) -> None:
    workplace = market(sampled, tmp_path, lambda frame: frame.assign(in_universe=0.0))
    num_bars = sum(len(pd.read_parquet(file)) for file in (workplace.path / "data" / "bars").iterdir())
    said = workplace.refused("split")
    assert f"is left in the universe: outside_universe masks {num_bars:,} (in_universe of the data" in said
    assert "cure: split.clean.actions: {outside_universe: flag}" in said
    workplace = market(workplace, tmp_path / "gaps", on_a_third_of_the_dates)
    say(workplace, min_history=160, actions={"outside_universe": "flag"})
    said = workplace.refused("split")
    assert "short_history masks" in said
    assert "cure: a lower split.clean.min_history" in said


def on_a_third_of_the_dates(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave a symbol fewer bars than a fold has training dates, more than which plan refuses as a history."""
    return frame[(frame["timestamp"].dt.dayofyear + frame["symbol"].str[-1].astype(int)) % 3 == 0]


def test_a_fold_without_a_bar_in_its_universe_is_named_in_split(sampled: Workplace, tmp_path: Path) -> None:
    def halt_the_first_half(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(in_universe=(frame["timestamp"] > dates[len(dates) // 2]).astype(float))

    dates = np.sort(
        pd.concat([pd.read_parquet(f, columns=["timestamp"]) for f in (sampled.path / "data" / "bars").iterdir()])[
            "timestamp"
        ].unique()
    )
    said = market(sampled, tmp_path, halt_the_first_half).refused("split")
    assert "fold 0: no bar of its" in said
    assert "train dates" in said
    assert "outside_universe masks" in said


def test_an_amount_of_0_throughout_is_not_reported_and_suspends_nobody(
    sampled: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    workplace = market(sampled, tmp_path, lambda frame: frame.assign(amount=0.0))
    workplace.run("split")
    assert "amount is 0 or less in every bar: taken as not reported" in capsys.readouterr().err


def test_an_input_that_is_unknown_on_all_training_rows_is_left_out_and_named(
    sampled: Workplace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A constant volume has no correlation with anything; it used to end the run."""
    workplace = market(sampled, tmp_path, lambda frame: frame.assign(volume=1000.0, adj_close=frame["close"]))
    for stage in ("split", "tokenize_features"):
        workplace.run(stage)
    assert "warning: fold 0: price_volume_corr_20 has no known value on the training rows" in capsys.readouterr().err
    store = FeatureStore(workplace.results / "tokenize")
    assert store.left_out(0) == ("price_volume_corr_20",)
    assert np.isnan(store.inputs(0)[:, 2]).all()
    assert (store.tokens(0)[:, 2] == 0).all()
    assert np.isfinite(store.inputs(0)[:, 0]).any()
    for stage in ("train", "evaluate", "report"):
        workplace.run(stage, "linear")
    page = next((workplace.results / "report" / "linear").glob("*.html")).read_text()
    assert "Inputs left out" in page
    assert "fold 0: price_volume_corr_20" in page
    workplace.change_params(lambda document: document["tokenize"].update(strict=True))
    workplace.run("plan")
    said = workplace.refused("tokenize_features")
    assert "feature 'price_volume_corr_20' has no known value on the" in said
