"""Every model of the zoo in one bundle: what it forecasts from raw bars has the bits of the code that trains it.

The networks have the weights of their seed, trees are fitted in a few rounds: what is compared is the way from bars to
forecast, in a batch and date by date, with news and texts, and without in a run of one fold.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import chdir
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Panel, SymbolVocabulary, read_bars, read_folds, read_news, training_targets
from factor_models import MODELS, build_model, input_kind, save_model
from factor_models.networks.blocks import symbol_tables
from factor_serve import Bundle, BundleError, forecast, load_bundle
from factor_serve.bundle import check_members
from factor_serve.forecasts import said_of_strangers
from factor_serve.writing import read_forecasts
from serve.bundle_samples import assert_equal_bits, update_date_by_date
from stages.fitting.contract import Conditions
from stages.fitting.inputs import FoldInputs
from stages.fitting.network import NetworkFold, network_loss
from stages.fitting.tabular import TabularFold
from stages.judging.bundle import HASH, MANIFEST, write_manifest
from stages.params.reading import Params
from stages.scoring import Scoring
from workplace import Workplace, make_workplace, smoke_document

pytestmark = [pytest.mark.slow, pytest.mark.numeric]
TABULAR = sorted(name for name in MODELS if input_kind(name) == "last_bar")
NUM_DATES = 2


class Case(NamedTuple):
    """A bundle of all models, where it comes from, and what training says: model -> (dates, symbols, heads)."""

    bundle: Bundle
    workplace: Workplace
    dates: NDArray[np.datetime64]
    expected: dict[str, NDArray[np.float32]]


def with_news(document: dict[str, Any]) -> None:
    """With texts, and with a vector per symbol where a model can have one."""
    for name in ("tft", "tcn_attention"):
        document["zoo"][name]["symbol_embedding"] = True
    document["tokenize"]["news_vectors"] = {"dimensions": 4, "cutoff_minutes": 960, "documents_per_bar": 3}
    document["train"] |= {"loss": "quantile", "loss_settings": {"levels": [0.1, 0.5, 0.9]}}


def one_fold_without_news(document: dict[str, Any]) -> None:
    document["tokenize"]["use_news"] = False
    document["split"]["folds"] |= {"step": 200}
    document["train"] |= {"windows": {"missing_mask": True, "max_gap": 5}}


@pytest.fixture(scope="module", params=[with_news, one_fold_without_news])
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    document = smoke_document()
    document["models"] = ["linear"]
    request.param(document)
    for name in TABULAR:
        if name != "linear":
            document["zoo"][name] = {"rounds": 3, "patience": 3, "leaves": 5, "num_threads": 1}
    workplace = make_workplace(tmp_path_factory.mktemp("zoo") / "factorcast", document)
    for command in ("plan", "sample", "split", "tokenize_features", "tokenize_kline", "inputs", "train linear",
                    "evaluate linear", "stack"):  # fmt: skip
        workplace.run(*command.split())
    with chdir(workplace.path):
        store, params = FeatureStore(Path("results/tokenize")), workplace.params()
        folds = read_folds("results/split/folds.json")
        assert len(folds) == (1 if request.param is one_fold_without_news else 2)
        dates = folds[-1].test[-NUM_DATES:]
        fold = replace(folds[-1], test=dates)
        folder = workplace.path / "all"
        shutil.copytree("results/stack/bundle", folder)
        shutil.rmtree(folder / "models")
        expected = {name: written(name, folder / "models" / name, params, store, fold) for name in MODELS}
    with_members(folder)
    return Case(load_bundle(folder), workplace, dates, expected)


def written(name: str, folder: Path, params: Params, store: FeatureStore, fold: Fold) -> NDArray[np.float32]:
    """Write a model as its stage does, and return what its stage forecasts."""
    train, settings, panel = params.train_of(name), params.zoo[name].settings, Path("results/split/panel")
    targets, scoring = training_targets(store, train.target), Scoring.of(vars(params.evaluate))
    torch.set_num_threads(1)
    if name in TABULAR:
        inputs = FoldInputs(name, settings, store, targets, fold, None, panel, scoring)
        conditions = Conditions(progress=MagicMock(), live=None, watch=None, earlier=())
        fitted = TabularFold(inputs, train).fit(conditions)  # type: ignore[arg-type]
        model: Any = fitted.model
        rows, values = fitted.predict_rows("test")
    else:
        outputs = network_loss(train, store.heads, taught=False).outputs_per_target
        inputs = FoldInputs(name, settings, store, targets, fold, None, panel, scoring, outputs, train.windows)
        torch.manual_seed(train.seed)
        model = build_model(**inputs.model_config).eval()
        rows, values = NetworkFold(inputs, train, "").predict_rows(model, "test")
    metadata = {
        "loss": train.loss,
        "loss_settings": asdict(train.loss_settings),
        **inputs.metadata(train.target, train.seed, dict.fromkeys(store.heads, 0.0)),
        "threads": 1,
    }
    save_model(folder, model, inputs.model_config, metadata)
    place = np.searchsorted(fold.test, store.dates[store.date_code[rows]])
    said = np.full((len(fold.test), len(store.symbols), len(store.heads)), np.nan, dtype=np.float32)
    said[place, store.symbol_code[rows]] = values
    return said


def with_members(folder: Path) -> None:
    """A manifest whose stack is the equal mean of all models."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["members"] = {name: input_kind(name) for name in MODELS}
    manifest["weights"] = {head: dict.fromkeys(MODELS, 1 / len(MODELS)) for head in manifest["heads"]}
    (folder / MANIFEST).unlink()
    write_manifest(folder, {key: value for key, value in manifest.items() if key not in (HASH, "files")})


def test_forecasts_of_every_model_are_those_of_its_stage_in_a_batch_and_date_by_date(case: Case) -> None:
    bundle, workplace = case.bundle, case.workplace
    panel = read_bars(workplace.path / "data" / "bars")
    news = read_news(workplace.path / "data" / "news", calendar=panel.dates) if bundle.reads_news else None
    batch = forecast(bundle, panel, news, case.dates, "all")
    assert set(batch["model"]) == {*MODELS, "stack"}
    for name, expected in case.expected.items():
        assert np.isfinite(expected).any(), name
        mine = batch[batch["model"] == name]
        for head, label in enumerate(bundle.labels):
            now = mine[mine["label"] == label].pivot(index="timestamp", columns="symbol", values="prediction")
            told = now.reindex(index=case.dates, columns=read_symbols(workplace)).to_numpy()
            np.testing.assert_array_equal(told, expected[:, :, head], err_msg=f"{name} {label}")
    assert_equal_bits(update_date_by_date(bundle, panel, news, case.dates), batch)


def test_a_symbol_keeps_its_vector_whatever_comes_beside_it_and_a_stranger_has_none(case: Case, tmp_path: Path) -> None:
    """In another process, from bars in another order with another first symbol, by which all have other places."""
    bundle, workplace = case.bundle, case.workplace
    told = [name for name, member in bundle.members.items() if member.knows_symbols]
    assert told == (["tcn_attention", "tft"] if bundle.reads_news else [])
    if not told:
        return
    panel, last = read_bars(workplace.path / "data" / "bars"), case.dates[-1:]
    nothing = pd.DataFrame({"timestamp": last[:0], "symbol": [], "text": []}).astype({"symbol": str, "text": str})
    one, bars = str(panel.symbols[7]), panel.to_pandas()
    renamed = bars.assign(symbol=bars["symbol"].replace(one, "A"))
    renamed = renamed.sort_values(["timestamp", "symbol"], ascending=[True, False])
    renamed.to_parquet(tmp_path / "bars.parquet", index=False)
    command = [sys.executable, "-m", "factor_serve", "predict", str(bundle.folder), str(tmp_path / "bars.parquet")]
    options = ["--news", "none", "--at", str(last[0])[:10], "--model", "tft", "--unpromoted"]
    done = subprocess.run(
        [*command, *options, "--out", str(tmp_path / "out.parquet")], capture_output=True, text=True, check=True
    )
    assert "note: 1 of the symbols were not trained on, A: tcn_attention, tft forecast them by their" in done.stderr
    own = forecast(bundle, panel, nothing, last, "tft")
    assert said_of_strangers(bundle, own) is None
    now, then = (
        table.pivot(index="symbol", columns="label", values="prediction")
        for table in (read_forecasts(tmp_path / "out.parquet"), own)
    )
    pd.testing.assert_frame_equal(now.drop("A"), then.drop(one), rtol=0.0, atol=1e-6)
    assert np.abs(now.loc["A"] - then.loc[one]).min() > 1e-5, "it has a vector where it is known"
    without = forecast_without_vector(bundle, "tft", one, panel, nothing, last)
    np.testing.assert_allclose(now.loc["A"], without, rtol=0.0, atol=1e-6)
    check_members(bundle)
    with pytest.raises(BundleError, match=r"models/\w+: vocabulary_sha256 is .* fitted on other inputs"):
        check_members(replace(bundle, vocabulary=SymbolVocabulary.fit(["A", *bundle.vocabulary.symbols])))


def read_symbols(workplace: Workplace) -> list[str]:
    return [str(one) for one in FeatureStore(workplace.results / "tokenize").symbols]


def forecast_without_vector(
    bundle: Bundle, name: str, symbol: str, panel: Panel, news: pd.DataFrame, dates: NDArray[np.datetime64]
) -> NDArray[np.float32]:
    """Forecasts of a symbol by a member whose vector of it is zero for the while, by label."""
    model = bundle.members[name].model
    assert isinstance(model, torch.nn.Module)
    (table,) = (model.get_parameter(one) for one in symbol_tables(model))
    place = int(bundle.vocabulary.encode([symbol])[0])
    with torch.no_grad():
        vector = table[place].clone()
        table[place] = 0.0
        said = forecast(bundle, panel, news, dates, name)
        table[place] = vector
    mine = said[said["symbol"] == symbol].sort_values("label")
    return mine["prediction"].to_numpy()
