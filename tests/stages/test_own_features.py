"""Features that users bring, from params.yaml to the store: ready-made columns, expressions, functions of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from factor_data import (
    FeatureStore,
    MarketConfig,
    Panel,
    check_symbols_apart,
    compute_features,
    plan_features,
    simulate_market,
)
from factor_data.sums import write_sums
from stages import ROOT
from stages.params.reading import Params, parse_params
from stages.planning.prerequisites import check_prerequisites
from stages.planning.stages import make_plan
from stages.running.stage import StageError
from workplace import Workplace, make_workplace, smoke_document

NUM_FACTORS = 100
FUNCTIONS = '''
import numpy as np

LOUD = 2.0


def own_range(panel):
    """The bar's range."""
    return LOUD * (panel.columns["high"] - panel.columns["low"]) / panel.columns["close"]


def tomorrow(panel):
    return np.append(panel.columns["close"][1:], np.nan) / panel.columns["close"]


def whole_sample_scale(panel):
    """The scaling of the published RSR inputs."""
    close = panel.adjusted("close")
    return close / np.maximum.reduceat(close, panel.starts[:-1])[panel.symbol_code]


def past_scale(panel):
    pieces = np.split(panel.adjusted("close"), panel.starts[1:-1])
    return np.concatenate([piece / np.maximum.accumulate(piece) for piece in pieces])


def against_others(panel):
    close, date = panel.columns["close"], panel.date_code
    return close / np.bincount(date, close)[date]
'''
TEXT = "Mean($close, 20) / $close - 1"


def add_factors(workplace: Workplace) -> None:
    """Put 100 factors, a sector and a fundamental number that comes every 30 bars into the bars of the data."""
    for path in sorted((workplace.path / "data" / "bars").glob("*.parquet")):
        bars = pd.read_parquet(path)
        generator = np.random.default_rng(0)
        drawn = generator.standard_normal((len(bars), NUM_FACTORS))
        factors = pd.DataFrame(drawn, index=bars.index).add_prefix("f_")
        sector = bars["symbol"].rank(method="dense") % 3
        eps = np.where(np.arange(len(bars)) % 30 == 0, generator.standard_normal(len(bars)), np.nan)
        pd.concat([bars.assign(sector=sector, eps=eps), factors], axis=1).to_parquet(path, index=False)
    write_sums(workplace.path / "data")


@pytest.fixture(scope="module")
def factors(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """A market with ready-made factors, up to split; tests change params.yaml and run tokenize."""
    document = smoke_document()
    document |= {"models": ["linear"]}
    document["sample"] |= {"symbols": 30, "bars": 300}
    document["tokenize"] |= {"use_news": False, "columns": ["f_*"]}
    workplace = make_workplace(tmp_path_factory.mktemp("factors") / "factorcast", document)
    (workplace.path / "features").mkdir()
    (workplace.path / "features" / "mine.py").write_text(FUNCTIONS)
    for stage in ("plan", "sample"):
        workplace.run(stage)
    add_factors(workplace)
    workplace.run("split")
    return workplace


def tokenize(workplace: Workplace, **section: Any) -> FeatureStore:
    change(workplace, section)
    workplace.run("plan")
    workplace.run("tokenize_features")
    return FeatureStore(workplace.results / "tokenize")


def change(workplace: Workplace, section: dict[str, Any]) -> None:
    none: dict[str, Any] = {"features": [], "columns": [], "expressions": {}, "functions": {}, "normaliser": "rank"}
    workplace.change_params(lambda document: document["tokenize"].update(none | section))


def refused(workplace: Workplace, **section: Any) -> str:
    change(workplace, section)
    workplace.run("plan")
    return workplace.refused("tokenize_features")


def test_a_hundred_factors_are_the_features_by_one_line_and_a_model_learns_from_them(factors: Workplace) -> None:
    store = tokenize(factors, columns=["f_*"])
    assert store.feature_names == tuple(f"f_{number}" for number in range(NUM_FACTORS))
    panel = Panel.load(factors.results / "split" / "panel")
    np.testing.assert_array_equal(store.feature("f_42"), panel.columns["f_42"].astype(np.float32))
    factors.run("train", "linear")
    factors.run("evaluate", "linear")
    assert (factors.results / "evaluate" / "linear" / "metrics.json").exists()


def test_own_features_come_after_sets_and_equal_what_they_say(factors: Workplace) -> None:
    columns = [
        {"names": ["eps"], "missing": "last", "max_age": 10},
        {"names": ["sector"], "values": [0, 1, 2]},
        "f_7",
    ]
    store = tokenize(
        factors,
        features=["return_1", "close_mean@S0003"],
        columns=columns,
        expressions={"close_mean": TEXT},
        functions={"features/mine.py": ["own_range", "past_scale"]},
        normaliser="zscore",
    )
    assert store.feature_names == (
        *("return_1", "close_mean@S0003", "eps", "sector=0", "sector=1", "sector=2", "f_7", "close_mean", "own_range"),
        "past_scale",
    )
    assert np.nanmax(store.feature("past_scale")) == 1.0, "the causal form of what whole_sample_scale is refused for"
    panel = Panel.load(factors.results / "split" / "panel")
    expected = compute_features(panel, ["close_to_mean_20"]).values[:, 0]
    np.testing.assert_allclose(store.feature("close_mean"), 1 / (1 + expected) - 1, rtol=1e-4, atol=1e-6)
    own, leader = (panel.to_matrix(store.feature(name)) for name in ("close_mean", "close_mean@S0003"))
    has_bar = panel.to_matrix(panel.columns["close"])[:, 5] > 0
    np.testing.assert_array_equal(leader[has_bar, 5], own[has_bar, 3])
    high, low, close = (panel.columns[name] for name in ("high", "low", "close"))
    np.testing.assert_array_equal(store.feature("own_range"), (2 * (high - low) / close).astype(np.float32))
    one_hot = np.column_stack([store.feature(f"sector={value}") for value in range(3)])
    np.testing.assert_array_equal(one_hot.argmax(axis=1), panel.columns["sector"])
    known, filled = np.isfinite(panel.columns["eps"]).sum(), np.isfinite(store.feature("eps")).sum()
    assert 9 * known < filled <= 11 * known


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({"columns": ["g_*"]}, "columns: the bars have no column 'g_*'"),
        ({"columns": ["f_1", "f_?"]}, "features of your own repeat: ['f_1']"),
        ({"expressions": {"x": "$f_1000 + 1"}}, "expressions.x: the bars have no column 'f_1000'; did you mean $f_"),
        ({"functions": {"features/mine.py": ["tomorrow"]}}, "tokenize.features: a feature knows the future: "),
        (
            {"functions": {"features/mine.py": ["whole_sample_scale"]}},
            "tokenize.features: a feature knows the future: ",
        ),
        ({"functions": {"features/mine.py": ["against_others"]}}, "feature 'against_others' looks at other symbols"),
    ],
)
def test_what_cannot_be_a_feature_is_refused_before_anything_is_written(
    section: dict[str, Any], why: str, factors: Workplace
) -> None:
    assert why in refused(factors, **section)


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (
            {"columns": [{"names": ["f_1"], "mising": "last"}]},
            "tokenize.columns.0.mising: unknown key; did you mean 'missing'?",
        ),
        ({"columns": [{"names": ["f_1"], "missing": "last"}]}, "tokenize.columns.0.max_age: None goes with missing"),
        ({"expressions": {"x": "Ref($close, -1)"}}, "tokenize.expressions.x: Ref(x, window): window must be a whole"),
        ({"features": ["retrun_1"]}, "did you mean return_1"),
    ],
)
def test_a_wrong_section_is_refused_by_key(section: dict[str, Any], why: str) -> None:
    document = smoke_document()
    document["tokenize"] |= section
    with pytest.raises(StageError) as refusal:
        parse_params(document, "params.yaml")
    assert why in str(refusal.value)


def params_with(functions: dict[str, list[str]]) -> Params:
    document = smoke_document()
    document["models"] = ["linear"]
    document["tokenize"]["functions"] = functions
    return parse_params(document, "params.yaml")


def in_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (path / "data").mkdir()
    (path / "features").mkdir()
    monkeypatch.chdir(path)
    return path / "features" / "mine.py"


@pytest.mark.parametrize(
    ("functions", "text", "why"),
    [
        ({"mine.py": ["own_range"]}, FUNCTIONS, "mine.py: must be a Python file in features/"),
        ({"features/mine.py": ["own_rnage"]}, FUNCTIONS, "defines no function 'own_rnage'; it defines own_range,"),
        ({"features/other.py": ["own_range"]}, FUNCTIONS, "features/other.py does not exist"),
        ({"features/mine.py": ["own_range"]}, "def own_range(panel:\n", "features/mine.py line 1"),
        ({"features/mine.py": ["x"]}, "from features.shared import y\ndef x(panel): ...\n", "imports features, which"),
    ],
)
def test_plan_refuses_a_file_that_it_cannot_follow_without_running_it(
    functions: dict[str, list[str]], text: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_folder(tmp_path, monkeypatch).write_text("raise RuntimeError('was run')\n" * (text is FUNCTIONS) + text)
    with pytest.raises(StageError) as refusal:
        check_prerequisites(params_with(functions))
    assert why in str(refusal.value)


def test_the_plan_follows_the_code_of_the_file_and_what_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, params = in_folder(tmp_path, monkeypatch), params_with({"features/mine.py": ["own_range"]})

    def planned(text: str) -> dict[str, Any]:
        file.write_text(text)
        return make_plan("tokenize", "", params)

    before = planned(FUNCTIONS)
    assert planned("# A remark.\n" + FUNCTIONS) == before
    assert planned(FUNCTIONS.replace("LOUD = 2.0", "LOUD = 3.0")) != before
    more = planned("import scipy\nfrom factor_data.simulate import truth\n" + FUNCTIONS)
    assert {"scipy"} == set(more["distributions"]) - set(before["distributions"])
    assert {"factor_data.simulate.truth"} <= set(more["modules"]) - set(before["modules"])
    assert make_plan("split", "", params) == make_plan("split", "", params_with({}))


def test_the_example_of_the_repository_passes_plan_and_look_ahead_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    own = params_with({"features/example.py": ["momentum_250_20"]}).tokenize.own
    panel = Panel.from_frame(simulate_market(MarketConfig(symbols=10, bars=400, seed=1)).bars)
    plan = plan_features(None, panel.symbols, own, tuple(panel.columns))
    check_symbols_apart(plan, panel)
    for symbol in range(panel.num_symbols):
        close, values = (x[panel.symbol_code == symbol] for x in (panel.adjusted("close"), plan.values(panel)[:, 0]))
        np.testing.assert_allclose(values[250:], close[230:-20] / close[:-250] - 1, rtol=1e-5)
        assert np.isnan(values[:250]).all()
