"""Presets are overlays: what differs from the committed params.yaml, laid over it."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from factor_models import get_loss
from factor_models.losses.quantitative import RiskBounds
from stages import ROOT
from stages.commands import preset as command
from stages.params.__main__ import main as check
from stages.params.overlays import overlay
from stages.params.presets import PRESETS, preset_names, with_preset
from stages.params.reading import parse_params, read_document, read_params
from stages.running.stage import StageError

NAMES = sorted(path.stem for path in (ROOT / PRESETS).glob("*.yaml"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """params.yaml and the presets as committed, in a repository of their own."""
    (tmp_path / PRESETS).mkdir()
    for path in (ROOT / "params.yaml", *(ROOT / PRESETS).glob("*.yaml")):
        (tmp_path / path.relative_to(ROOT)).write_text(path.read_text())
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    git("add", ".")
    git(
        "-c",
        "user.name=tests",
        "-c",
        "user.email=tests@factorcast.invalid",
        "commit",
        "--quiet",
        "-m",
        "a copy",
    )
    return tmp_path


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def apply(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["preset", name])
    command.main()


def test_a_table_of_labels_is_replaced_and_other_mappings_merge() -> None:
    below = {"tokenize": {"clip": 3.0, "labels": {"h1": {"horizon": 1}, "h5": {"horizon": 5}}}}
    above = {"tokenize": {"labels": {"up": {"horizon": 2}}}}
    merged = {"tokenize": {"clip": 3.0, "labels": {"up": {"horizon": 2}}}}
    assert overlay(below, above) == merged
    command.lay_over(below, above)
    assert below == merged


def test_there_are_presets() -> None:
    assert "smoke" in NAMES
    assert len(NAMES) >= 4


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_gives_valid_params(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    below = read_document(ROOT / "params.yaml")
    assert with_preset(below, name) != below
    parse_params(with_preset(below, name), name)
    monkeypatch.setattr("sys.argv", ["params", "--preset", name])
    check()
    assert f"params.yaml with preset {name} is valid" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_is_short_and_says_what_it_is_for(name: str) -> None:
    lines = (ROOT / PRESETS / f"{name}.yaml").read_text().splitlines()
    assert len(lines) <= 45
    assert lines[0].startswith("# ")
    assert any(f"make preset NAME={name}" in line for line in lines[:5])


def test_mappings_merge_and_anything_else_is_replaced() -> None:
    below = {
        "a": {"b": 1, "c": {"d": 2, "e": 3}},
        "list": [1, 2, 3],
        "section": {"x": 1},
        "value": 5,
        "kept": 6,
    }
    above = {"a": {"c": {"d": 9}, "new": 4}, "list": [7], "section": None, "value": {"y": 2}}
    assert overlay(below, above) == {
        "a": {"b": 1, "c": {"d": 9, "e": 3}, "new": 4},
        "list": [7],
        "section": None,
        "value": {"y": 2},
        "kept": 6,
    }
    assert below["a"] == {"b": 1, "c": {"d": 2, "e": 3}}, "what lies below is not changed"
    assert overlay(below, {}) == below


def test_an_unknown_preset_is_refused_with_those_that_there_are(folder: Path) -> None:
    assert preset_names() == NAMES
    with pytest.raises(StageError, match=r"there is no preset 'smok': presets/ has .*smoke"):
        with_preset(read_document(Path("params.yaml")), "smok")


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_becomes_the_params_and_comments_stay(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "params.yaml").read_text()
    expected = with_preset(read_document(Path("params.yaml")), name)
    apply(name, monkeypatch)
    assert read_document(Path("params.yaml")) == expected
    assert read_params() == parse_params(expected, name)
    comments = [line for line in before.splitlines() if line.startswith("#")]
    assert [line for line in (folder / "params.yaml").read_text().splitlines() if line.startswith("#")] == comments
    assert "Back: git checkout params.yaml" in capsys.readouterr().out
    git("checkout", "params.yaml")
    assert (folder / "params.yaml").read_text() == before


def test_params_that_differ_from_the_last_commit_are_not_overwritten(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = (folder / "params.yaml").read_text() + "# mine\n"
    for staged in (False, True):
        (folder / "params.yaml").write_text(changed)
        if staged:
            git("add", "params.yaml")
        with pytest.raises(StageError, match=r"params\.yaml differs from the last commit and would be lost"):
            apply("smoke", monkeypatch)
        assert (folder / "params.yaml").read_text() == changed
    git(
        "-c",
        "user.name=tests",
        "-c",
        "user.email=tests@factorcast.invalid",
        "commit",
        "--quiet",
        "-m",
        "mine",
    )
    apply("smoke", monkeypatch)


def test_a_preset_takes_the_place_of_one_that_nobody_has_edited(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apply("smoke", monkeypatch)
    smoke = (folder / "params.yaml").read_text()
    git("checkout", "params.yaml")
    apply("kline", monkeypatch)
    (folder / PRESETS / "broken.yaml").write_text("[")
    apply("smoke", monkeypatch)
    assert (folder / "params.yaml").read_text() == smoke, "as from the last commit: nothing of kline is left"
    assert "is now the preset smoke, in the place of kline." in capsys.readouterr().out
    (folder / "params.yaml").write_text(edited := smoke.replace("epochs: 1", "epochs: 2", 1))
    with pytest.raises(StageError, match=r"params\.yaml differs from the last commit and would be lost"):
        apply("kline", monkeypatch)
    assert (folder / "params.yaml").read_text() == edited


def test_a_preset_that_does_not_fit_is_refused_and_nothing_is_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / PRESETS / "wrong.yaml").write_text("train: {epohcs: 3}\n")
    before = (folder / "params.yaml").read_text()
    with pytest.raises(StageError, match=r"params\.yaml with preset wrong: train\.epohcs: unknown key; did you mean"):
        apply("wrong", monkeypatch)
    assert (folder / "params.yaml").read_text() == before


@pytest.mark.parametrize("name", ["", "nothing"])
def test_the_command_names_the_presets(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StageError, match=r"say which preset: make preset NAME=<one of .*smoke>"):
        apply(name, monkeypatch)


def turned(loss: nn.Module, steps: int = 40, dates: int = 4, symbols: int = 200, inputs: int = 32) -> float:
    """How far a linear head that begins with the wrong sign has turned towards what its targets are made of."""
    generator = torch.Generator().manual_seed(0)
    draw = partial(torch.randn, generator=generator)
    head, groups = nn.Linear(inputs, 1), torch.arange(dates).repeat_interleave(symbols)
    with torch.no_grad():
        head.weight.copy_(draw(1, inputs) / inputs**0.5)
        head.bias.zero_()
    start = functional.normalize(head.weight[0].detach(), dim=0)
    true = functional.normalize(functional.normalize(draw(inputs), dim=0) - 0.6 * start, dim=0)
    optimiser = torch.optim.AdamW(head.parameters(), lr=0.003)
    for _ in range(steps):
        x_BF = draw(dates * symbols, inputs)
        order_DN = (0.1 * x_BF @ true + draw(dates * symbols)).reshape(dates, symbols).argsort(1).argsort(1)
        target_BH = ((order_DN + 0.5) / symbols - 0.5).reshape(-1, 1)
        optimiser.zero_grad()
        torch.stack(list(loss(head(x_BF), target_BH, groups, dates).values())).sum().backward()
        optimiser.step()
    return float(functional.normalize(head.weight[0].detach(), dim=0) @ true - start @ true)


def test_the_risk_of_factors_daily_lets_a_head_turn_that_begins_with_the_wrong_sign() -> None:
    """The default bound of leverage does not: a bell of forecasts lies above it, and its gradient above the IC's."""
    settings = read_document(ROOT / "presets" / "factors_daily.yaml")["train"]["loss_settings"]
    of_preset, default = (
        get_loss(
            "quantitative", ["ema1d"], target_ic=settings["target_ic"]["ema1d"], rho=settings["rho"]["ema1d"], **more
        )
        for more in ({"bounds": RiskBounds(**settings.get("bounds", {}))}, {})
    )
    assert turned(of_preset) > 0.15
    assert turned(default) < 0.08
