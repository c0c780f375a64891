"""Every gate passes and fails for its own reason; noise is not promoted."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from factor_metrics import (
    Gate,
    GateConfig,
    best_floor,
    compare_with_floors,
    evaluate_gates,
    promoted,
    random_ranking,
    rank_ic,
    surely_lost,
)


def good_case() -> dict[str, Any]:
    generator = np.random.default_rng(0)
    common = generator.normal(0.0, 0.05, size=400)
    return {
        "num_oof_rows": 40_000,
        "stack_ic": 0.05 + common,
        "floor_ics": {"reversal": 0.02 + common, "random": generator.normal(0.0, 0.05, size=400)},
        "overfit_gaps": {"linear": 0.01, "lstm": 0.02},
        "constant_shares": {"linear": 0.0, "lstm": 0.0, "stack": 0.0},
        "correlation": np.array([[1.0, 0.5], [0.5, 1.0]]),
        "model_names": ("linear", "lstm"),
        "label": "h1",
        "horizon": 1,
        "num_looks": 6,
    }


def failed(gates: tuple[Gate, ...]) -> list[str]:
    return [gate.name for gate in gates if not gate.passed]


def test_a_good_stack_passes_every_gate() -> None:
    gates = evaluate_gates(GateConfig(), **good_case())
    assert failed(gates) == []
    assert promoted(gates)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"num_oof_rows": 9_999}, ["oof_rows"]),
        ({"overfit_gaps": {"linear": 0.01, "lstm": 0.06}}, ["overfit_gap"]),
        ({"overfit_gaps": {"linear": 0.01, "lstm": math.nan}}, ["overfit_gap"]),
        ({"overfit_gaps": {}}, ["overfit_gap"]),
        ({"oof_gaps": {"linear": 0.051, "lstm": 0.0}}, ["oof_gap"]),
        ({"oof_gaps": {"linear": 0.05, "lstm": math.nan}}, ["oof_gap"]),
        ({"oof_gaps": {"linear": 0.05}, "overfit_gaps": {"linear": 0.051}}, ["overfit_gap"]),
        ({"constant_shares": {"linear": 0.001, "stack": 0.0}}, ["constant_output"]),
        ({"correlation": np.array([[1.0, 0.95], [0.95, 1.0]])}, ["diversity"]),
        ({"floor_ics": {}}, ["beats_floor"]),
        ({"calibration_errors": {"linear": 0.02, "lstm": 0.1}}, []),
        ({"calibration_errors": {"linear": 0.02, "lstm": 0.11}}, ["calibration"]),
        ({"calibration_errors": {"linear": 0.02, "lstm": math.nan}}, ["calibration"]),
        ({"stack_ic": np.full(400, np.nan)}, ["stack_interval", "stack_t_stat", "beats_floor", "too_good"]),
        ({"rank_ics": {"stack at horizon 1": 0.05, "lstm at horizon 5": 0.251}}, ["too_good"]),
        ({"rank_ics": {"stack at horizon 1": 0.05, "lstm at horizon 5": 0.25}}, []),
        ({"rank_ics": {"stack at horizon 1": 0.05, "lstm at horizon 5": math.nan}}, []),
        ({"rank_ics": {"stack": 0.3, "lstm": 0.31}, "attained": {"stack": 0.9, "lstm": 1.1}}, []),
        ({"rank_ics": {"stack": 0.05, "lstm": 0.04}, "attained": {"stack": 1.11, "lstm": 0.8}}, ["too_good"]),
        ({"rank_ics": {"stack": 0.05, "lstm": 0.3}, "attained": {"stack": 1.0, "lstm": math.nan}}, ["too_good"]),
    ],
)
def test_each_gate_fails_for_its_own_reason(change: dict[str, Any], names: list[str]) -> None:
    gates = evaluate_gates(GateConfig(), **(good_case() | change))
    assert failed(gates) == names
    assert promoted(gates) == (not names)


def test_a_floor_as_good_as_the_stack_blocks_promotion_and_is_named() -> None:
    case = good_case()
    case["floor_ics"] = case["floor_ics"] | {"momentum": case["stack_ic"] + 0.001}
    gates = evaluate_gates(GateConfig(), **case)
    assert failed(gates) == ["beats_floor"]
    assert "momentum" in next(gate.rule for gate in gates if gate.name == "beats_floor")


@pytest.mark.parametrize(("loss", "passes"), [(0.0, True), (0.001, False), (-0.001, True)])
def test_a_stack_may_be_equal_weights_but_not_surely_below_them(loss: float, passes: bool) -> None:
    case = good_case()
    gates = evaluate_gates(GateConfig(), **case, equal_ic=case["stack_ic"] + loss)
    assert failed(gates) == ([] if passes else ["equal_weight"])
    noisy = case["stack_ic"] + loss + np.random.default_rng(1).normal(0.0, 0.1, size=400)
    assert failed(evaluate_gates(GateConfig(), **case, equal_ic=noisy)) == []


def test_every_member_has_a_gate_with_what_to_do() -> None:
    shares = {"linear": 0.0, "lstm": 0.51, "gru": 0.5}
    gates = evaluate_gates(GateConfig(), **good_case(), absent_shares=shares)
    assert failed(gates) == ["member lstm"]
    gate = next(gate for gate in gates if gate.name == "member lstm")
    assert gate.rule.endswith("must be at most 0.5: above it, take lstm from the models or mend it")
    assert gate.shortfall == "0.01 too high"
    assert failed(evaluate_gates(GateConfig(max_absent_share=0.6), **good_case(), absent_shares=shares)) == []


def test_a_shortfall_says_how_far_and_in_which_direction() -> None:
    case = good_case() | {"num_oof_rows": 9_000, "overfit_gaps": {"linear": math.nan}}
    told = {gate.name: gate.shortfall for gate in evaluate_gates(GateConfig(), **case)}
    assert told.pop("oof_rows") == "short by 1000"
    assert told.pop("overfit_gap") == "not measured"
    assert set(told.values()) == {""}


def test_what_is_surely_lost_is_exceeded_by_the_true_gap_as_often_as_stated() -> None:
    """Two-sided at 95 %: the lower end is above the true gap in one of forty samples."""
    generator = np.random.default_rng(0)
    above = [
        surely_lost(generator.normal(0.06, 0.1, 100), generator.normal(0.02, 0.1, 300), 1) > 0.04 for _ in range(800)
    ]
    assert 0.01 < np.mean(above) < 0.045
    valid, test = generator.normal(0.06, 0.1, 100), generator.normal(0.02, 0.1, 300)
    low, middle = (surely_lost(valid, test, 1, confidence) for confidence in (0.95, 0.5))
    assert low < middle < valid.mean() - test.mean()
    assert surely_lost([0.1, 0.2], [0.05], 5) == pytest.approx(0.1), "too few dates for an error: the mean itself"
    assert math.isnan(surely_lost([np.nan], test, 1))


def test_more_looks_make_the_interval_gate_harder() -> None:
    case = good_case()
    low = [evaluate_gates(GateConfig(), **(case | {"num_looks": looks}))[1].value for looks in (1, 6, 60)]
    assert low[0] > low[1] > low[2]


def test_a_single_model_need_not_differ_from_itself() -> None:
    case = good_case() | {"correlation": [[1.0]], "model_names": ("linear",)}
    assert failed(evaluate_gates(GateConfig(), **case)) == []


def test_noise_is_refused_in_many_markets() -> None:
    num_promoted = 0
    for seed in range(30):
        generator = np.random.default_rng(seed)
        label, prediction = generator.normal(size=(2, 150, 40))
        case = good_case() | {
            "stack_ic": rank_ic(prediction, label),
            "floor_ics": {"random": rank_ic(random_ranking((150, 40), seed), label)},
        }
        num_promoted += promoted(evaluate_gates(GateConfig(), **case))
    assert num_promoted == 0


def test_nothing_is_promoted_without_gates() -> None:
    assert not promoted(())


def test_gates_are_plain_data_and_the_same_every_time() -> None:
    first, second = (evaluate_gates(GateConfig(), **good_case()) for _ in range(2))
    assert [asdict(gate) for gate in first] == [asdict(gate) for gate in second]
    assert all(type(gate.passed) is bool and type(gate.value) is float for gate in first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_oof_rows": -1}, "min_oof_rows must be at least 0, got -1"),
        ({"confidence": 95.0}, "confidence must lie strictly between 0 and 1, got 95.0"),
        ({"max_correlation": 1.0}, "max_correlation must lie strictly between 0 and 1"),
        ({"max_overfit_gap": math.nan}, "max_overfit_gap must be finite and at least 0, got nan"),
        ({"min_t_stat": -1.0}, "min_t_stat must be finite and at least 0"),
        ({"max_constant_share": 2.0}, "max_constant_share must be from 0 to 1, got 2.0"),
    ],
)
def test_impossible_thresholds_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GateConfig(**options)


def test_the_best_floor_has_the_highest_mean_and_an_undefined_one_comes_last() -> None:
    assert best_floor({"b": [0.1, 0.3], "a": [0.3, 0.1], "c": [0.1, 0.1], "z": [np.nan, np.nan]}) == "a"
    assert best_floor({"z": [np.nan], "a": [-0.5]}) == "a"
    with pytest.raises(ValueError, match="at least one floor"):
        best_floor({})


def test_comparison_with_floors_is_paired() -> None:
    case = good_case()
    comparison = compare_with_floors(case["stack_ic"], case["floor_ics"])
    assert comparison["reversal"].mean == pytest.approx(0.03)
    assert comparison["reversal"].std == pytest.approx(0.0, abs=1e-12)


def test_a_random_ranking_is_the_same_for_a_seed_and_has_no_ic() -> None:
    np.testing.assert_array_equal(random_ranking((3, 4), seed=1), random_ranking((3, 4), seed=1))
    label = np.random.default_rng(9).normal(size=(500, 100))
    assert np.mean(rank_ic(random_ranking((500, 100)), label)) == pytest.approx(0.0, abs=0.015)


def test_what_is_too_good_to_be_true_is_named_with_the_advice_to_look_for_a_leak() -> None:
    case = good_case() | {"stack_ic": 0.398 + good_case()["stack_ic"] - 0.05}
    gate = next(gate for gate in evaluate_gates(GateConfig(), **case) if gate.name == "too_good")
    assert (gate.passed, gate.threshold) == (False, 0.25)
    assert gate.value == pytest.approx(float(np.mean(case["stack_ic"])))
    assert gate.rule.endswith("must be at most 0.25 (worst: stack at horizon 1): above it, look for a leak")
    assert not promoted(evaluate_gates(GateConfig(), **case))
    assert promoted(evaluate_gates(GateConfig(max_rank_ic=0.45), **case))


@pytest.mark.parametrize(
    ("name", "value"), [("max_rank_ic", 0.0), ("max_rank_ic", 1.1), ("max_attained", 0.0), ("max_attained", math.inf)]
)
def test_a_bound_that_nothing_or_everything_passes_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be"):
        GateConfig(**{name: value})
