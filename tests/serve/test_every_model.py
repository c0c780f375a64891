"""Every model of the zoo in one bundle: what it forecasts from raw bars has the bits of the code that trains it.

The networks have the weights of their seed, trees are fitted in a few rounds: what is compared is the way from bars to
forecast, in a batch and date by date, with news and texts, and without in a run of one fold.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import chdir
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from factor_data import FeatureStore, Fold, Panel, SymbolVocabulary, read_bars, read_folds, read_news, training_targets
from factor_models import MODELS, build_model, input_kind, save_model
from factor_models.networks.blocks import symbol_tables
from factor_serve import Bundle, BundleError, forecast, load_bundle
from factor_serve.arrivals import panel_of
from factor_serve.bundle import check_members
from factor_serve.export import bundle as export
from factor_serve.export.bundle import export_bundle
from factor_serve.forecasts import forecast_with_rows, strangers_of
from factor_serve.http import service
from factor_serve.http.app import make_app
from factor_serve.http.bodies import ARROW
from factor_serve.http.service import Service
from factor_serve.http.settings import HttpSettings
from factor_serve.writing import read_forecasts
from serve.bundle_samples import ORDER, arrow_stream, assert_equal_bits, columns, update_date_by_date
from stages.fitting.contract import Conditions
from stages.fitting.inputs import FoldInputs
from stages.fitting.network import NetworkFold, network_loss
from stages.fitting.tabular import TabularFold
from stages.judging.bundle import HASH, MANIFEST, write_manifest
from stages.params.reading import Params
from stages.scoring import Scoring
from warm import path_of_programs
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
    workplace.run("plan")
    for stage in ("sample", "split", "tokenize_features", "tokenize_kline", "inputs"):
        workplace.made(stage)
    for command in ("train linear", "evaluate linear", "stack"):
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


def raw(case: Case) -> tuple[Panel, pd.DataFrame | None]:
    """The bars that a case comes from up to the last test date, and the news where its bundle reads news."""
    panel = read_bars(case.workplace.path / "data" / "bars")
    frame = panel.to_pandas()
    panel = panel_of(frame[frame["timestamp"] <= case.dates[-1]])
    news = case.workplace.path / "data" / "news"
    return panel, read_news(news, calendar=panel.dates) if case.bundle.reads_news else None


def test_http_answers_with_the_bits_of_every_model(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "compare_canary", lambda bundle: ())  # it is of the bundle that all models were put in
    panel, news = raw(case)
    expected = forecast(case.bundle, panel, news, model="all").sort_values(ORDER, ignore_index=True)
    app = make_app(Service(case.bundle.folder, unpromoted=True), HttpSettings(unpromoted=True))
    with TestClient(app) as client:
        document = {"bars": columns(panel.to_pandas()), "model": "all"}
        said = client.post("/predict", json=document if news is None else document | {"news": columns(news)})
        assert said.status_code == 200, said.text
        told = pd.DataFrame(said.json()["forecasts"]).sort_values(ORDER, ignore_index=True)
        assert (told[["model", "label", "symbol"]] == expected[["model", "label", "symbol"]].astype(str)).all(axis=None)
        np.testing.assert_array_equal(told["prediction"].to_numpy(np.float32), expected["prediction"])
        tables = [panel.to_pandas()] if news is None else [panel.to_pandas(), news]
        stream = arrow_stream(*tables)
        said = client.post("/predict", content=stream, headers={"Content-Type": ARROW}, params={"model": "all"})
        assert said.status_code == 200, said.text
        assert_equal_bits(
            pa.ipc.open_stream(said.content).read_all().to_pandas().astype({"timestamp": "datetime64[ns]"}), expected
        )


def test_graphs_of_every_model_and_of_the_stack_forecast_as_they_do(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On random inputs and on those of the last date, a tenth missing, then from raw bars as an export is served."""
    pytest.importorskip("onnx", reason="onnx is not installed (factor-serve[onnx])")
    panel, news = raw(case)
    said, rows, _ = forecast_with_rows(case.bundle, panel, news, None, "all")
    monkeypatch.setattr(export, "canary_rows", lambda bundle: rows)
    done = export_bundle(case.bundle, tmp_path / "onnx")
    assert not done.left_out, done.left_out
    assert {one.name for one in done.members} == set(MODELS)
    assert done.stack is not None, done.without_stack
    assert max(value for one in (*done.members, done.stack) for value in one.difference.values()) < 1e-5
    served = load_bundle(tmp_path / "onnx")
    now = forecast(served, panel, news, model="all").sort_values(ORDER, ignore_index=True)
    then = said.sort_values(ORDER, ignore_index=True)
    assert (now[ORDER].astype(str) == then[ORDER].astype(str)).all(axis=None)
    np.testing.assert_allclose(now["prediction"], then["prediction"], atol=1e-4)
    told = [name for name, member in case.bundle.members.items() if member.knows_symbols]
    assert [name for name, member in served.members.items() if member.knows_symbols] == told


def test_a_symbol_keeps_its_vector_whatever_comes_beside_it_and_a_stranger_has_none(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another process, from bars in another order with another first symbol, by which all have other places."""
    bundle, workplace = case.bundle, case.workplace
    monkeypatch.setattr(service, "compare_canary", lambda bundle: ())  # it is of the bundle that all models were put in
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
    command = ["python", "-m", "factor_serve", "predict", str(bundle.folder), str(tmp_path / "bars.parquet")]
    options = ["--news", "none", "--at", str(last[0])[:10], "--model", "tft", "--unpromoted"]
    done = subprocess.run(
        [*command, *options, "--out", str(tmp_path / "out.parquet")],
        env=os.environ | {"PATH": path_of_programs()}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "note: 1 of the symbols were not trained on, A: tcn_attention, tft forecast them by their" in done.stderr
    with TestClient(make_app(Service(bundle.folder, unpromoted=True), HttpSettings(unpromoted=True))) as client:
        document = {"bars": columns(renamed), "news": columns(nothing), "model": "tft", "at": str(last[0])[:10]}
        strangers = {"symbols": ["A"], "members": told}
        said = client.post("/predict", json=document)
        assert said.json()["not_trained_on"] == strangers
        said = client.post("/predict", json=document, headers={"Accept": ARROW})
        assert json.loads(pa.ipc.open_stream(said.content).schema.metadata[b"not_trained_on"]) == strangers
        known = client.post("/predict", json=document | {"bars": columns(bars)}).json()
        assert known.keys() == {"bundle", "forecasts"}
    own = forecast(bundle, panel, nothing, last, "tft")
    assert strangers_of(bundle, own) is None
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
