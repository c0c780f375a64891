"""docs/flows/news.md as a user follows it, at smoke size: CSMD files, models with news and without, one command."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from checkout import Checkout, preset_checkout

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

MODELS = ["linear", "lstm", "stocknet"]


def smaller(params: dict[str, Any]) -> None:
    """The sizes of a test; all else is the preset's."""
    params["models"] = MODELS
    params["split"]["folds"] |= {"train": 100, "valid": 30, "test": 40, "step": 40}
    params["tokenize"]["news"]["min_count"] = 5
    params["tokenize"]["news_vectors"]["dimensions"] = 3
    params["train"] |= {"epochs": 1, "live_ic": {"every_steps": None, "every_minutes": None}}
    params["zoo"]["lstm"] |= {"hidden": 8, "layers": 1, "dropout": 0.0}
    params["zoo"]["stocknet"] |= {"hidden": 8, "latent": 4}
    params["evaluate"]["min_symbols"] = 5


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The preset laid over params.yaml, and files as CSMD has them imported."""
    folder = tmp_path_factory.mktemp("news") / "factorcast"
    checkout, imported = preset_checkout(folder, "news", smaller, "--symbols", "12", "--days", "240")
    assert "layout 'csmd'" in imported
    assert re.search(r"\d+ news documents", imported)
    return checkout


def test_every_model_is_judged_with_news_and_without_by_one_command_and_the_run_ends_in_a_stack(flow: Checkout) -> None:
    params = (flow.path / "params.yaml").read_bytes()
    done = flow.run("python", "-m", "stages.commands.news_effect")
    assert (flow.path / "params.yaml").read_bytes() == params
    rows = json.loads((flow.path / ".live" / "news_effect.json").read_text())
    assert [(row["label"], row["model"]) for row in rows] == [("next", model) for model in MODELS]
    for row in rows:
        assert row["ci_low"] <= row["mean"] <= row["ci_high"]
        assert row["mean"] != 0.0, "a model that read the same in both runs"
        assert f"{row['mean']:+.3f} [{row['ci_low']:+.3f}, {row['ci_high']:+.3f}]" in done.stdout
    assert re.search(r"News help in \d and harm in \d of 3 comparisons", done.stdout)

    # By hand: the difference is that of the two series of rank IC, date by date.
    kept = {name: pd.read_parquet(flow.path / "results" / "evaluate" / name / "ic.parquet") for name in MODELS}
    flow.change_params(lambda document: document["tokenize"].update(use_news=False))
    flow.run("dvc", "repro", *(f"evaluate@{name}" for name in MODELS))
    for row in rows:
        without = pd.read_parquet(flow.path / "results" / "evaluate" / row["model"] / "ic.parquet")
        difference = kept[row["model"]]["rank_ic"] - without["rank_ic"]
        assert row["mean"] == pytest.approx(difference.mean())
        assert row["num_dates"] == difference.notna().sum()
    (flow.path / "params.yaml").write_bytes(params)

    ran = flow.run("dvc", "repro")
    assert "Running stage 'train@" not in ran.stdout, "with news all was there"
    assert (flow.path / "results" / "stack" / "bundle").is_dir()
    assert (flow.path / "results" / "report" / "stack" / "report.html").is_file()
    assert "stocknet" in flow.run("python", "-m", "stages.commands.show").stdout


def test_prices_alone_open_no_file_of_news(flow: Checkout, tmp_path: Path) -> None:
    """A file of news that is damaged, and one that is no table, stop a run with news and none without."""
    shutil.copytree(flow.path, tmp_path / "factorcast", symlinks=True)
    copy = Checkout(tmp_path / "factorcast")
    news = next((copy.path / "data" / "news").iterdir())
    news.chmod(0o644)
    news.unlink()
    news.write_bytes(b"no table")
    (copy.path / "data" / "news" / "other.parquet").write_bytes(b"no table either")
    refused = copy.stage("split")
    assert refused.returncode == 2
    assert "data/news/" in refused.stderr
    copy.change_params(lambda params: params["tokenize"].update(use_news=False))
    for stage in ("split", "tokenize_features"):
        done = copy.stage(stage)
        assert done.returncode == 0, done.stderr
    header = json.loads((copy.path / "results" / "tokenize" / "fold_00" / "normaliser.json").read_text())
    assert not [name for name in header["names"] if name.startswith("news")]


def test_models_that_would_read_no_texts_are_named(flow: Checkout) -> None:
    document = yaml.safe_load((flow.path / "params.yaml").read_text())
    assert "warning" not in flow.stage("plan").stderr
    for change, said in (({"documents_per_bar": 0}, "documents_per_bar: 0"), (None, "news_vectors: null")):
        vectors = None if change is None else document["tokenize"]["news_vectors"] | change
        flow.change_params(lambda params, vectors=vectors: params["tokenize"].update(news_vectors=vectors))
        warned = flow.stage("plan").stderr
        assert "warning: stocknet will read prices alone" in warned
        assert said in warned
    flow.change_params(lambda params: params["tokenize"].update(use_news=False))
    assert "warning" not in flow.stage("plan").stderr
