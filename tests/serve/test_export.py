"""Members as ONNX graphs give the forecasts of the members, on missing inputs too and for batches of any size."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from checkout import Checkout
from factor_models import MODELS, Table, build_model, get_loss, input_kind, model_sizes
from factor_serve import Bundle
from factor_serve.cli import main
from factor_serve.export import bundle as export
from factor_serve.export import member as of_member
from factor_serve.export.graphs import NotExportable, floor32, graph_of_table
from factor_serve.export.member import TOLERANCE, largest_difference, network_graph, random_feeds
from factor_serve.export.names import INPUT
from factor_serve.export.networks import Served, traced
from factor_serve.members import Member
from stages.commands.checks import before
from stages.commands.checks.asked import NotYet

pytest.importorskip("onnx", reason="onnx is not installed (factor-serve[onnx])")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (factor-serve[onnx])")

EXPORTED = ("tft", "stocknet", "pen")
"""Networks whose graph torch.export makes (docs/serving.md)."""
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


@pytest.mark.parametrize(("name", "mask"), [("lstm", True), ("tcn_attention", False), ("han", False)])
def test_a_network_is_its_graph(name: str, mask: bool) -> None:
    member = member_of(name, mask, lookback=8)
    assert isinstance(member.model, torch.nn.Module)
    served = Served(member.model, get_loss("mse", ["h1", "h5"]), mask).eval()
    feeds = random_feeds(member, NUM_INPUTS)
    found = network_graph(member, served, {"random": feeds})
    assert found.is_equal, found.difference
    assert found.inputs["windows"] == ("tensor(float)", ["batch", 8, NUM_INPUTS])
    assert np.isnan(feeds[-1]["windows"]).any()


def graph_of(name: str, *ways: Any) -> of_member.Exported | None:
    """The graph of a network of the zoo by the first of the ways that gives an equal one, or none."""
    member = member_of(name, lookback=8)
    assert isinstance(member.model, torch.nn.Module)
    served = Served(member.model, get_loss("mse", ["h1", "h5"]), False).eval()
    try:
        found = network_graph(member, served, {"random": random_feeds(member, NUM_INPUTS)}, ways)
    except NotExportable:
        return None
    return found if found.is_equal else None


@pytest.mark.parametrize("name", [name for name in MODELS if input_kind(name) != "last_bar"])
def test_the_check_before_training_knows_which_networks_have_a_graph(name: str) -> None:
    """By tracing, which takes no second; three more have one by torch.export, which takes minutes."""
    assert (graph_of(name, traced) is not None) == (name not in (*before.WITHOUT_GRAPH, *EXPORTED))


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


def test_what_torch_cannot_make_a_graph_of_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(of_member, "find_spec", lambda name: None)  # the longer way needs onnxscript
    member = member_of("master", lookback=8)
    assert isinstance(member.model, torch.nn.Module)
    served = Served(member.model, get_loss("mse", ["h1", "h5"]), False).eval()
    with pytest.raises(NotExportable, match=r"torch cannot make a graph of it: .*Sort"):
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


def test_thresholds_go_down_and_what_has_columns_of_its_own_is_named() -> None:
    assert floor32(0.1) <= 0.1 < float(np.nextafter(np.float32(floor32(0.1)), np.float32(1.0)))
    assert floor32(0.5) == 0.5
    model = build_model("cross_asset_lightgbm", num_features=NUM_INPUTS, num_horizons=2, num_symbols=3)
    with pytest.raises(NotExportable, match="CrossAssetTrees reads other columns besides its inputs"):
        graph_of_table(model)


def test_what_has_no_graph_is_known_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Any = SimpleNamespace(params=SimpleNamespace(models=["linear", "lstm", "master", "kronos"]))
    assert before.onnx(asked) == "graphs can be made of 2 of 4 models, none of master, kronos"
    monkeypatch.setattr(before, "find_spec", lambda name: None)
    with pytest.raises(NotYet, match=r"onnx and onnxruntime not installed \(factor-serve\[onnx\]\)"):
        before.onnx(asked)


@pytest.mark.end_to_end
def test_a_bundle_is_exported_whole_and_what_a_graph_cannot_be_is_named(
    finished_run: Checkout, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, out = str(finished_run.path / "results" / "stack" / "bundle"), tmp_path / "onnx"
    command = ["export", bundle, "--onnx", "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "kronos: left out: its forecast is the mean of paths" in said
    assert "stack: left out: the stack is made of kronos too" in said
    assert f"5 of 6 members in {out}" in said
    document = json.loads((out / "onnx.json").read_text())
    assert set(document["members"]) == {"linear", "lightgbm", "lstm", "tcn_attention", "token_transformer"}
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
