"""Members as ONNX graphs give the forecasts of the members, on missing inputs too and for batches of any size."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from checkout import Checkout
from factor_data import Label
from factor_models import Table, build_model, get_loss, input_kind, model_sizes
from factor_models.kline import KlineTokenizerConfig, Kronos, KronosConfig, KronosTokenizer, PathForecaster
from factor_models.kline.draws import uniform_numbers
from factor_serve import Bundle
from factor_serve.cli import main
from factor_serve.export import bundle as export
from factor_serve.export import member as of_member
from factor_serve.export.graphs import NotExportable, floor32, graph_of_table
from factor_serve.export.kline import random_windows
from factor_serve.export.member import TOLERANCE, largest_difference, network_graph, paths_graph, random_feeds
from factor_serve.export.names import INPUT
from factor_serve.export.networks import Served
from factor_serve.export.paths import Prompt
from factor_serve.members import Member
from stages.commands.checks import before
from stages.commands.checks.asked import NotYet

pytest.importorskip("onnx", reason="onnx is not installed (factor-serve[onnx])")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (factor-serve[onnx])")

NUM_INPUTS, SIZES = 6, {"num_tokens": 8, "num_symbols": 5, "text_dim": 4}


def member_of(name: str, mask: bool = False, **settings: Any) -> Member:
    sizes = {size: SIZES[size] for size in model_sizes(name)}
    torch.manual_seed(0)
    config = {"num_features": NUM_INPUTS * (1 + mask), "num_horizons": 2, **sizes, **settings}
    model = build_model(name, **config)
    config["name"] = name
    if hasattr(model, "config"):
        config.setdefault("lookback", getattr(model.config, "lookback", 1))
    metadata = {"window_rules": {"missing_mask": mask}, "loss": "mse", "loss_settings": {}}
    return Member(name=name, kind=input_kind(name), model=model, config=config, metadata=metadata)


@pytest.mark.parametrize(
    ("name", "mask", "settings"),
    [
        ("lstm", True, {}),
        ("tcn_attention", False, {"symbol_embedding": True}),
        ("tft", False, {"symbol_embedding": True}),
        ("han", False, {}),
        ("scinet", False, {"levels": 1, "kernel": 4}),
        ("dtml", True, {"market_features": 2}),
        ("dtml", False, {"beta": 0.0}),
        ("stockmixer", False, {"patches": (1, 3)}),
        ("master", False, {"market_features": 2, "gate_bar": "last"}),
    ],
)
def test_a_network_is_its_graph(name: str, mask: bool, settings: dict[str, Any]) -> None:
    """With settings that a run of all models with their defaults does not have (tests/serve/test_every_model.py)."""
    member = member_of(name, mask, lookback=8, **settings)
    assert isinstance(member.model, torch.nn.Module)
    served = Served(member.model, get_loss("mse", ["h1", "h5"]), mask).eval()
    feeds = random_feeds(member, NUM_INPUTS, documents=3)
    found = network_graph(member, served, {"random": feeds})
    assert found.is_equal, found.difference
    assert found.inputs["windows"] == ("tensor(float)", ["batch", 8, NUM_INPUTS])
    assert np.isnan(feeds[-1]["windows"]).any()


def kline_member(blocks: int, top_p: float, samples: int) -> Member:
    """A K-line model with the weights of its seed."""
    torch.manual_seed(0)
    sizes = KlineTokenizerConfig(d_model=8, n_heads=2, ff_dim=8, n_dec_layers=blocks, s1_bits=3, s2_bits=2)
    tokenizer = KronosTokenizer(**sizes.arguments()).eval()
    model = Kronos(**KronosConfig(d_model=8, n_layers=blocks).arguments(sizes.s1_bits, sizes.s2_bits)).eval()
    pair = PathForecaster(
        model=model, tokenizer=tokenizer, lookback=6, num_ahead=4, clip=5.0, max_context=10, temperature=0.8,
        top_p=top_p, samples=samples, seed=17,
    )  # fmt: skip
    return Member(name="kronos", kind="kline", model=pair, config={"name": "kronos"}, metadata={})


PATH_LABELS = (
    Label(horizon=1),
    Label(horizon=3, delay=0),
    Label(horizon=2, price="open"),
    Label(horizon=3, measure="volatility"),
)


@pytest.mark.numeric
@pytest.mark.parametrize(("blocks", "top_p", "samples"), [(2, 1.0, 3), (1, 0.7, 1)])
def test_a_model_of_paths_is_its_graph_path_by_path(blocks: int, top_p: float, samples: int) -> None:
    member = kline_member(blocks, top_p, samples)
    assert isinstance(member.model, PathForecaster)
    windows = random_windows(member.model)
    assert (windows[-1].bars[:, :, 4] == 0.0).all(axis=1).any(), "nothing was traded in some"
    found = paths_graph(member, PATH_LABELS, {"random": windows})
    assert found.drawn_otherwise == {"random": 0.0}
    assert found.difference["random"] < 1e-5
    assert found.outputs["forecasts"] == ("tensor(float)", ["batch", 4])
    assert found.outputs["drawn"] == ("tensor(int64)", ["batch", samples, 4, 2])
    session = onnxruntime.InferenceSession(found.content)
    feed = windows[-1].feed(member.model)
    other = feed | {"uniform": uniform_numbers(1, 4, samples)}
    assert (session.run(["drawn"], feed)[0] != session.run(["drawn"], other)[0]).any(), "the draws are what is given"


def test_a_graph_that_draws_other_paths_is_not_equal_and_a_window_that_slides_has_none() -> None:
    graph = of_member.Exported(name="kronos", content=b"", inputs={}, outputs={}, opsets={}, difference={"random": 0.0})
    assert graph.is_equal
    assert replace(graph, drawn_otherwise={"random": 0.01}).is_equal
    assert not replace(graph, drawn_otherwise={"random": 0.011}).is_equal
    pair = kline_member(1, 1.0, 1).model
    assert isinstance(pair, PathForecaster)
    with pytest.raises(NotExportable, match="its windows slide: 6 bars and 4 ahead exceed max_context = 9"):
        Prompt(replace(pair, max_context=9))


def test_small_forecasts_are_compared_beside_their_spread() -> None:
    said = 1e-4 * np.random.default_rng(0).standard_normal((200, 2))
    assert largest_difference([np.zeros((200, 2))], [said]) > TOLERANCE, "nothing of it is a forecast"
    assert largest_difference([said.astype(np.float32)], [said]) < TOLERANCE
    assert largest_difference([said + 5e-5], [1e4 * said]) > TOLERANCE
    same = np.full((3, 2), 0.5)
    assert largest_difference([same[:1], same[1:]], [same[:1], same[1:]]) == 0.0
    holes = np.where(np.arange(200)[:, None] == 3, np.nan, said)
    assert largest_difference([holes], [holes]) == 0.0
    assert largest_difference([said], [holes]) == np.inf


class Unknown(torch.nn.Module):
    """A network with an operator that no graph has."""

    def forward(self, x_BLF: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(x_BLF)[:, :2]


def test_what_torch_cannot_make_a_graph_of_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    member = replace(member_of("lstm", lookback=8), model=Unknown())
    served = Served(member.model, get_loss("mse", ["h1", "h5"]), False).eval()
    with pytest.raises(NotExportable, match=r"torch cannot make a graph of it: .*svdvals"):
        network_graph(member, served, {"random": random_feeds(member, NUM_INPUTS)})
    assert capfd.readouterr().out == "", "the graph that torch prints would be pages"


@pytest.mark.numeric
@pytest.mark.parametrize("kind", ["returns", "directions"])
@pytest.mark.parametrize("name", ["linear", "lightgbm", "xgboost"])
def test_a_tabular_model_is_its_graph_at_its_thresholds_too(name: str, kind: str) -> None:
    generator = np.random.default_rng(0)
    x = np.round(generator.standard_normal((1500, NUM_INPUTS)), 1).astype(np.float32)  # many values, and ties
    x[generator.random(x.shape) < 0.1] = np.nan
    y = np.nan_to_num(x[:, :2]) + np.isnan(x[:, 2:4]) + 0.3 * generator.standard_normal((1500, 2))
    y = (y > 0.0).astype(np.float32) if kind == "directions" else y.astype(np.float32)
    small = {} if name == "linear" else {"rounds": 10, "num_threads": 1}
    model: Any = build_model(name, num_features=NUM_INPUTS, num_horizons=2, **small)
    model.fit(Table(features=x, targets=y, groups=np.arange(1500) // 30))
    session = onnxruntime.InferenceSession(graph_of_table(model).SerializeToString())
    beyond = np.nextafter(x, np.float32(np.inf))
    for inputs in (x, beyond, np.float32(100.0) * x, x[:1]):
        said = model.predict(Table(features=inputs, groups=np.zeros(len(inputs), np.int64)))
        np.testing.assert_allclose(session.run(None, {INPUT: inputs})[0], said, atol=1e-4, rtol=1e-4)


@pytest.mark.numeric
@pytest.mark.parametrize("leaders", [2, 0])
def test_trees_that_see_the_other_assets_are_their_graph_on_each_date(leaders: int) -> None:
    """The mean of ranks is 0 but for rounding, by which trees split too: the graph has the same bits of it."""
    generator, num_dates, num_symbols = np.random.default_rng(0), 60, 25
    rows = [
        (date, symbol) for date in range(num_dates) for symbol in generator.permutation(num_symbols)[: 18 + date % 5]
    ]
    dates, symbols = np.array(rows).T
    x = generator.standard_normal((len(rows), 4)).astype(np.float32)
    for date in range(num_dates):
        own = x[dates == date, :2].argsort(axis=0).argsort(axis=0)
        x[dates == date, :2] = ((own + 0.5) / len(own) - 0.5) * np.sqrt(12.0)
    x[generator.random(x.shape) < 0.1] = np.nan
    y = np.nan_to_num(x[:, :2]) + (dates % 5)[:, None] + 0.1 * generator.standard_normal((len(rows), 2))
    table = Table(features=x, targets=y.astype(np.float32), groups=dates, symbols=symbols + 1)
    sizes = {"rounds": 20, "min_rows_in_leaf": 5, "leaders": leaders, "num_threads": 1}
    model: Any = build_model("cross_asset_lightgbm", num_features=4, num_horizons=2, num_symbols=26, **sizes)
    model.fit(table)
    split = np.flatnonzero(model.boosters[0].feature_importance("split"))
    assert np.isin(np.arange(4, 12), split).sum() > 4, "trees look at the state of the market"
    assert len(model.leaders) == leaders
    session = onnxruntime.InferenceSession(graph_of_table(model).SerializeToString())
    assert {one.name for one in session.get_inputs()} == {INPUT, *(["symbols"] if leaders else [])}
    without = 0
    for date in range(num_dates):
        on = dates == date
        said = model.predict(Table(features=x[on], groups=dates[on], symbols=symbols[on] + 1))
        feed = {INPUT: x[on], "symbols": symbols[on] + 1}
        found = session.run(None, {one.name: feed[one.name] for one in session.get_inputs()})[0]
        np.testing.assert_allclose(found, said, atol=1e-6)
        without += not np.isin(model.leaders, symbols[on] + 1).all()
    assert without or not leaders, "a leader is missing on some date"


def test_thresholds_go_down_and_a_model_that_is_not_known_is_named() -> None:
    assert floor32(0.1) <= 0.1 < float(np.nextafter(np.float32(floor32(0.1)), np.float32(1.0)))
    assert floor32(0.5) == 0.5
    with pytest.raises(NotExportable, match="dict reads other columns besides its inputs"):
        graph_of_table({})


def test_whether_graphs_can_be_made_is_known_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Any = SimpleNamespace(params=SimpleNamespace(models=["linear", "lstm", "master", "kronos"]))
    assert before.onnx(asked) == "graphs can be made of all 4 models and of their stack"
    monkeypatch.setattr(before, "find_spec", lambda name: None)
    with pytest.raises(NotYet, match=r"onnx and onnxruntime not installed \(factor-serve\[onnx\]\)"):
        before.onnx(asked)


@pytest.mark.end_to_end
def test_a_bundle_is_exported_whole(
    finished_run: Checkout, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, out = str(finished_run.path / "results" / "stack" / "bundle"), tmp_path / "onnx"
    command = ["export", bundle, "--onnx", "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "left out" not in said
    assert f"6 of 6 members in {out}" in said
    document = json.loads((out / "onnx.json").read_text())
    assert set(document["members"]) == {"linear", "lightgbm", "lstm", "tcn_attention", "token_transformer", "kronos"}
    assert document["members"]["kronos"]["drawn_otherwise"].keys() == {"random", "canary"}
    for name, one in document["members"].items():
        content = (out / one["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == one["sha256"]
        assert max(one["largest_difference"].values()) < 1e-5, name
        assert one["outputs"]["forecasts"] == {"type": "tensor(float)", "shape": ["batch", 3]}
        assert one["opsets"]["ai.onnx"] == 18
    assert main(command) == 2, "the folder is there"
    monkeypatch.setattr(export, "missing_packages", lambda: ["onnxruntime"])
    assert main([*command[:-1], str(tmp_path / "other")]) == 0
    assert "skipped: onnxruntime not installed: pip install 'factor-serve[onnx]'" in capsys.readouterr().out
    assert not (tmp_path / "other").exists()


@pytest.mark.end_to_end
def test_the_status_tells_of_a_graph_that_forecasts_otherwise_and_of_no_other(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unequal(member: Member, *arguments: Any) -> of_member.Exported:
        return of_member.Exported(
            name=member.name, content=b"", inputs={}, outputs={}, opsets={}, difference={"random": 1.0}
        )

    def refused(*arguments: Any) -> of_member.Exported:
        raise NotExportable("torch cannot make a graph of it: the size is known, otherwise it is not")

    for number, (found, status) in enumerate([(unequal, 1), (refused, 0)]):
        monkeypatch.setattr(export, "export_member", found)
        command = ["export", str(bundle.folder), "--onnx", "--out", str(tmp_path / str(number))]
        assert main(command) == status
