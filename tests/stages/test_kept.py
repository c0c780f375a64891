"""What models have in common is judged once, and is the same to the bit whether it was read or computed."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from factor_data import Label
from factor_metrics import Evaluation, EvaluationConfig, OrderedMatrix
from stages.judging import kept as room
from stages.judging.floors import floors_beside, packed, unpacked
from stages.judging.kept import Kept
from stages.judging.time_series import BY_DATE
from stages.params.reading import Params
from stages.planning.stages import SHARED, make_plan

CONFIG = EvaluationConfig(bootstrap=50, min_symbols=5)


class Market:
    """Made-up forecasts, outcomes and floors, and how often the floors were asked for."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.forecast, self.outcome, floor = generator.standard_normal((3, 40, 12))
        self.forecast[generator.random((40, 12)) < 0.1] = np.nan
        self.outcome[-2:] = np.nan
        self.floors = {"plain": OrderedMatrix(floor), "constant": OrderedMatrix(np.ones((40, 12)))}
        self.asked = 0

    def signals(self) -> dict[str, OrderedMatrix]:
        self.asked += 1
        return self.floors

    def beside(self, kept: Kept | None, config: EvaluationConfig = CONFIG, overlap: int = 2) -> dict[str, Evaluation]:
        forecast, outcome = OrderedMatrix(self.forecast), OrderedMatrix(self.outcome)
        return floors_beside(self.signals, forecast, outcome, Label(horizon=1), overlap, config, BY_DATE, kept)


def assert_same(one: dict[str, Evaluation], other: dict[str, Evaluation]) -> None:
    assert list(one) == list(other)
    for name, judged in one.items():
        for field in fields(judged):
            expected, found = (getattr(side, field.name) for side in (judged, other[name]))
            if isinstance(expected, np.ndarray):
                assert found.dtype == expected.dtype
                np.testing.assert_array_equal(found, expected)
            else:
                assert repr(found) == repr(expected)  # NaN is not equal to itself


def test_floors_are_judged_once_for_all_that_forecast_the_same_symbols(tmp_path: Path) -> None:
    market = Market()
    expected = market.beside(None)
    assert np.isnan(expected["constant"].rank_ic_summary.mean)
    assert_same(unpacked(packed(expected)), expected)
    for _ in range(3):
        assert_same(market.beside(Kept(b"code", folder=tmp_path)), expected)
    assert market.asked == 2, "once without a place to keep them, once with"


@pytest.mark.parametrize("what", ["code", "symbols", "outcome", "config", "overlap"])
def test_floors_are_judged_again_when_anything_that_decides_them_is_another(what: str, tmp_path: Path) -> None:
    market = Market()
    market.beside(Kept(b"code", folder=tmp_path))
    config, overlap = replace(CONFIG, seed=int(what == "config")), 3 if what == "overlap" else 2
    if what == "symbols":
        market.forecast[0, 0] = np.nan if np.isfinite(market.forecast[0, 0]) else 0.5
    if what == "outcome":
        market.outcome[3, 4] = np.nextafter(market.outcome[3, 4], 9.0)
    kept = Kept(b"other code" if what == "code" else b"code", folder=tmp_path)
    found = market.beside(kept, config, overlap)
    assert market.asked == 2
    assert_same(found, market.beside(None, config, overlap))


def test_a_damaged_file_is_reported_and_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    market = Market()
    expected = market.beside(Kept(b"code", folder=tmp_path))
    (path,) = tmp_path.glob("*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert_same(market.beside(Kept(b"code", folder=tmp_path)), expected)
    assert f"{path} is damaged" in capsys.readouterr().err
    market.beside(Kept(b"code", folder=tmp_path))
    assert market.asked == 2


def test_a_pipe_in_the_place_of_a_file_is_not_waited_on(tmp_path: Path) -> None:
    kept, found = Kept(b"code", folder=tmp_path), {"one": np.ones(3)}
    kept.arrays([b"settings"], lambda: found)
    (path,) = tmp_path.glob("*.npz")
    path.unlink()
    os.mkfifo(path)
    np.testing.assert_array_equal(kept.arrays([b"settings"], lambda: found)["one"], found["one"])
    assert path.is_file()


def test_old_files_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "MOST_FILES", 3)
    for number in range(5):
        Kept(folder=tmp_path).arrays([bytes([number])], lambda number=number: {"x": np.array(number)})
    assert len(list(tmp_path.glob("*.npz"))) == 3


def test_parts_do_not_run_into_each_other() -> None:
    assert room.digest([b"ab", b"c"]) != room.digest([b"a", b"bc"])


def test_plans_of_all_models_and_of_the_stack_share_the_code_of_what_is_kept(smoke: Params) -> None:
    plans = [make_plan("evaluate", name, smoke) for name in smoke.models] + [make_plan("stack", "", smoke)]
    assert [list(plan["shared"]) for plan in plans] == [list(SHARED)] * len(plans)
    assert len({tuple(plan["shared"].values()) for plan in plans}) == 1
