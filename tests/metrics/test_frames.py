"""Long frame to matrix, JSON without NaN, and the package alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import factor_metrics
from factor_metrics import ICSummary, evaluate_predictions, summarize, to_json_safe, to_matrix


def test_rows_in_any_order_give_the_same_sorted_matrix() -> None:
    frame = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(["2024-01-03", "2024-01-02", "2024-01-03"]),
            "symbol": ["B", "A", "A"],
            "value": [3.0, 1.0, 2.0],
        }
    )
    for rows in (frame, frame[::-1]):
        matrix, dates, symbols = to_matrix(rows["timestamp"], rows["symbol"], rows["value"])
        np.testing.assert_array_equal(matrix, [[1.0, np.nan], [2.0, 3.0]])
        assert dates.dtype == np.dtype("datetime64[ns]")
        assert list(symbols) == ["A", "B"]


def test_equals_pandas_pivot() -> None:
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"t": pd.date_range("2024", periods=30).repeat(20), "s": [f"S{i:02}" for i in range(20)] * 30})
    frame["v"] = generator.normal(size=600)
    frame = frame.sample(400, random_state=1)
    matrix, _, _ = to_matrix(frame["t"], frame["s"], frame["v"])
    np.testing.assert_array_equal(matrix, frame.pivot(index="t", columns="s", values="v").to_numpy())


def test_given_axes_keep_their_order_and_fill_with_nan() -> None:
    matrix, _, symbols = to_matrix(["2024-01-02"], ["A"], [1.0], dates=["2024-01-03", "2024-01-02"], symbols=["Z", "A"])
    np.testing.assert_array_equal(matrix, [[np.nan, np.nan], [np.nan, 1.0]])
    assert list(symbols) == ["Z", "A"]


def test_rows_off_the_given_axes_are_refused_or_dropped_as_asked() -> None:
    rows = (["2024-01-02", "2024-01-05"], ["A", "B"], [1.0, 2.0])
    with pytest.raises(
        ValueError, match=r"1 row\(s\) refused, not on the given dates and symbols: row 1: \(2024-01-05"
    ):
        to_matrix(*rows, dates=["2024-01-02"])
    matrix, _, _ = to_matrix(*rows, dates=["2024-01-02"], outside="drop")
    np.testing.assert_array_equal(matrix, [[1.0, np.nan]])


def test_two_rows_off_the_axes_are_not_taken_for_duplicates() -> None:
    matrix, _, _ = to_matrix(["2024-01-05"] * 2, ["A"] * 2, [1.0, 2.0], dates=["2024-01-02"], outside="drop")
    assert np.isnan(matrix).all()


@pytest.mark.parametrize(
    ("timestamp", "symbol", "value", "message"),
    [
        (
            ["2024-01-02"] * 2,
            ["A", "A"],
            [1.0, 2.0],
            r"1 row\(s\) refused, .* occurs twice: row 1: \(2024-01-02 .*, A\)",
        ),
        (["2024-01-02", None], ["A", "A"], [1.0, 2.0], r"timestamp or symbol is missing: row 1"),
        (["2024-01-02"], ["A", "B"], [1.0], "must have the same length, got 1, 2 and 1"),
    ],
)
def test_bad_rows_are_refused_with_their_place(
    timestamp: list[str | None], symbol: list[str], value: list[float], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        to_matrix(timestamp, symbol, value)


def test_no_rows_give_an_empty_matrix() -> None:
    assert to_matrix([], [], [])[0].shape == (0, 0)


def test_json_never_holds_nan_or_numpy() -> None:
    value = {
        "a": np.float32(0.5),
        "b": [np.nan, float("inf"), np.int64(3), np.bool_(True)],
        "c": np.array([[1.0, np.nan]]),
        "d": np.datetime64("2024-01-02"),
        "e": pd.Timestamp("2024-01-02"),
        "f": summarize([]),
    }
    safe = json.loads(json.dumps(to_json_safe(value), allow_nan=False))
    assert safe["a"] == 0.5
    assert safe["b"] == [None, None, 3, True]
    assert safe["c"] == [[1.0, None]]
    assert safe["d"] == "2024-01-02"
    assert safe["e"] == "2024-01-02T00:00:00"
    assert safe["f"]["mean"] is None
    assert safe["f"]["num_dates"] == 0


def test_json_refuses_what_it_cannot_write() -> None:
    with pytest.raises(ValueError, match="cannot write a set as JSON"):
        to_json_safe({1, 2})


def test_evaluation_is_its_parts() -> None:
    generator = np.random.default_rng(0)
    prediction, label = generator.normal(size=(2, 60, 30))
    judged = evaluate_predictions(prediction, label, horizon=5, num_quantiles=3)
    assert judged.rank_ic_summary == summarize(factor_metrics.rank_ic(prediction, label), 5)
    assert isinstance(judged.ic_summary, ICSummary)
    np.testing.assert_array_equal(judged.spread, judged.quantile_returns[:, 2] - judged.quantile_returns[:, 0])


def test_every_public_name_exists_once() -> None:  # ruff keeps them sorted
    assert len(factor_metrics.__all__) == len(set(factor_metrics.__all__))
    assert all(hasattr(factor_metrics, name) for name in factor_metrics.__all__)


def test_import_brings_no_optional_package() -> None:
    optional = ("pandas", "psutil", "matplotlib", "torch")
    code = f"import sys, factor_metrics; print([m for m in {optional} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment()
    )
    assert result.stdout.strip() == "[]"


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(factor_metrics.__file__).parents[1])}


def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    readme = Path(__file__).parents[2] / "packages" / "metrics" / "README.md"
    example = readme.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    exec(compile(example, str(readme), "exec"), {})
    assert capsys.readouterr().out.startswith("rank IC 0.0")
