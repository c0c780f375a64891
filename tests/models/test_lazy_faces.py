"""A name of the package loads its own module: no other model, no other loss, nothing of the parts it does not use."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import factor_models
from factor_models import KLINE_MODELS, LOSSES, MODELS, input_kind

FACES = ("factor_models", *(f"factor_models.{part}" for part in ("estimators", "kline", "losses", "tabular")))
# One step after another in a fresh process each would cost seconds of torch; forks of one that has torch do not.
PROBE = """
import json, os, sys, time
started = time.process_time()
import factor_models
seconds = time.process_time() - started
first = {"seconds": seconds, "modules": sorted(sys.modules)}
factor_models.available_models(), factor_models.input_kind("lstm"), factor_models.is_classification("bce")
first["after_names"] = sorted(sys.modules)
import torch
found = {"first": first}
for name, code in json.loads(sys.argv[1]).items():
    read, write = os.pipe()
    if os.fork() == 0:
        exec(code)
        loaded = [name for name in sys.modules if name.split(".")[0] in json.loads(sys.argv[2])]
        os.write(write, json.dumps(sorted(loaded)).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        found[name] = json.loads(pipe.read())
print(json.dumps(found))
"""
CODE = {
    "lstm": "factor_models.build_model('lstm', num_features=3, num_horizons=2)",
    "linear": "factor_models.build_model('linear', num_features=3, num_horizons=2)",
    "gated_news": "factor_models.build_model('gated_news', num_features=3, num_horizons=2, text_dim=4, base='mlp')",
    "mse": "factor_models.get_loss('mse')",
    "quantile": "factor_models.get_loss('quantile', ['h1'], target_weights='learned')",
    "kronos": "from factor_models import Kronos, KronosTokenizer",
    "config": "factor_models.EngineConfig()",
    "estimators": "factor_models.FactorRegressor",
    "entries": "factor_models.MODELS, factor_models.LOSSES, factor_models.KLINE_MODELS",
}

EXTRAS = ("deepspeed", "lightgbm", "sklearn", "xgboost")
"""Libraries that only what needs them loads."""

LOSS_NAMES = {"named", "table", "entry", "settings"}
"""What `is_classification`, which the probe asks first, needs of the losses; free of torch."""


@pytest.fixture(scope="module")
def loaded() -> dict:
    probe = [sys.executable, "-c", PROBE, json.dumps(CODE), json.dumps(["factor_models", *EXTRAS])]
    return json.loads(subprocess.run(probe, capture_output=True, text=True, check=True).stdout)


def test_the_face_and_the_names_of_models_and_losses_load_no_torch(loaded: dict) -> None:
    assert not {"torch", "numpy", "pandas", *EXTRAS} & set(loaded["first"]["modules"])
    assert [name for name in loaded["first"]["modules"] if name.startswith("factor_models")] == ["factor_models"]
    assert "torch" not in loaded["first"]["after_names"]
    assert loaded["first"]["seconds"] < 0.1


@pytest.mark.parametrize(
    ("name", "part", "expected"),
    [
        (
            "lstm",
            "networks",
            {"lstm", "recurrence", "recurrent_layers", "lstm_pass", "gru_pass", "blocks", "pretrained"},
        ),
        ("lstm", "losses", LOSS_NAMES),
        ("lstm", "tabular", set()),
        ("linear", "tabular", {"linear", "base"}),
        ("linear", "networks", set()),
        ("gated_news", "networks", {"gated_news", "documents", "mlp", "pretrained"}),
        (
            "mse",
            "losses",
            {"errors", "base", "cross_section", "tasks", *LOSS_NAMES},
        ),
        (
            "quantile",
            "losses",
            {"quantile", "base", "cross_section", "tasks", *LOSS_NAMES},
        ),
        ("mse", "networks", set()),
        ("kronos", "networks", set()),
        ("config", "training", {"engine_config", "schedules"}),
        ("entries", "networks", set()),
    ],
)
def test_what_a_name_loads_of_a_part(loaded: dict, name: str, part: str, expected: set[str]) -> None:
    prefix = f"factor_models.{part}."
    found = {module.removeprefix(prefix) for module in loaded[name] if module.startswith(prefix)}
    assert found == expected


@pytest.mark.parametrize("name", [name for name in CODE if name != "estimators"])
def test_nothing_else_comes_with_it(loaded: dict, name: str) -> None:
    others = {"card", "checkpoints", "stacking", "uncertainty", "estimators"}
    others |= set() if name == "kronos" else {"kline"}
    assert not {f"factor_models.{other}" for other in others} & set(loaded[name])
    assert not {"deepspeed", "sklearn"} & {module.split(".")[0] for module in loaded[name]}


def test_an_estimator_brings_scikit_learn_and_no_deepspeed(loaded: dict) -> None:
    assert "sklearn" in loaded["estimators"]
    assert "deepspeed" not in loaded["estimators"]


@pytest.mark.parametrize("face", FACES)
def test_every_name_of_a_face_is_found(face: str) -> None:
    module = __import__(face, fromlist=["__all__"])
    assert module.__all__ == sorted(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError):
        getattr(module, f"{face}_has_not")


@pytest.mark.parametrize(("file", "table"), [("zoo_table.py", "MODELS"), ("losses/table.py", "LOSSES")])
def test_tables_are_literals_that_name_modules(file: str, table: str) -> None:
    path = Path(factor_models.__file__).parent / file
    tables = {
        node.target.id: node.value
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    literal = tables[table]
    assert isinstance(literal, ast.Dict)
    for key, entry in zip(literal.keys, literal.values, strict=True):
        assert isinstance(key, ast.Constant)
        assert isinstance(entry, ast.Call)
        arguments = [ast.literal_eval(value) for value in entry.args]
        assert arguments[0].startswith("factor_models.")


def test_every_entry_names_what_exists() -> None:
    for name, entry in MODELS.items():
        assert entry.config.__module__ == entry.module
        assert entry.build.__module__ == entry.module
        assert entry.input_kind == input_kind(name)
    for loss in LOSSES.values():
        assert bool(loss.term) != bool(loss.build)
        assert loss.function().__module__ == loss.module
        assert loss.config.__module__ in (loss.module, "factor_models.losses.settings")
    for kline in KLINE_MODELS.values():
        assert kline.config.__module__ == kline.module
