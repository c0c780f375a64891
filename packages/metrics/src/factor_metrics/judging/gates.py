"""Gates: the conditions under which a stack may be promoted. One that cannot be measured is not passed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from numpy.typing import ArrayLike

from factor_metrics.checks import as_series, check_at_least
from factor_metrics.floors.comparison import best_floor
from factor_metrics.inline import inline_html, inline_table
from factor_metrics.judging.config import GateConfig
from factor_metrics.labels import same_labels
from factor_metrics.scores.diversity import num_distinct_models
from factor_metrics.significance.mean_test import mean_test
from factor_metrics.significance.summary import paired_difference, summarize

_NUM_BOOTSTRAP = 20_000  # far tails: a Bonferroni level leaves few draws outside


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One condition and what was measured."""

    name: str
    """Short name, stable."""
    passed: bool
    """True if the condition holds; False where `value` is NaN."""
    value: float
    """Measured value."""
    threshold: float
    """Threshold of the condition."""
    rule: str
    """The condition in words."""
    label: str = ""
    """Label that it was measured of; "" where only one is held against gates."""
    is_maximum: bool = False
    """Whether the threshold is the most that is allowed, not the least."""

    def _repr_html_(self) -> str:
        bound = "at most" if self.is_maximum else "at least"
        facts = {"measured": self.value, bound: self.threshold, "verdict": "passed" if self.passed else "failed"}
        named = {"label": self.label} if self.label else {}
        return inline_html(f"Gate {self.name}", facts | named, inline_table(["rule"], [[self.rule]]))

    @property
    def full_name(self) -> str:
        """Name with the label before it, where it has one."""
        return f"{self.label}: {self.name}" if self.label else self.name

    @property
    def shortfall(self) -> str:
        """How far the value is from passing, in words; "" for a gate that has passed."""
        if self.passed:
            return ""
        if math.isnan(self.value):
            return "not measured"
        distance = self.value - self.threshold if self.is_maximum else self.threshold - self.value
        return f"{distance:.4g} too high" if self.is_maximum else f"short by {distance:.4g}"


@same_labels("stack_ic", "floor_ics")
def evaluate_gates(  # noqa: PLR0913 -- a measurement per gate, all by keyword
    config: GateConfig,
    *,
    num_oof_rows: int,
    stack_ic: ArrayLike,
    floor_ics: Mapping[str, ArrayLike],
    overfit_gaps: Mapping[str, float],
    constant_shares: Mapping[str, float],
    correlation: ArrayLike,
    model_names: Sequence[str],
    label: str,
    horizon: int,
    num_looks: int,
    oof_gaps: Mapping[str, float] | None = None,
    rank_ics: Mapping[str, float] | None = None,
    attained: Mapping[str, float] | None = None,
    equal_ic: ArrayLike | None = None,
    absent_shares: Mapping[str, float] | None = None,
    calibration_errors: Mapping[str, float] | None = None,
) -> tuple[Gate, ...]:
    """Return every gate with its measurement; the stack is promoted if `promoted(gates)`.

    Parameters
    ----------
    config
        Thresholds.
    num_oof_rows
        Number of rows with an out-of-fold prediction of the stack for the primary label.
    stack_ic
        (num_dates,) rank IC of the stack for the primary label, NaN where undefined.
    floor_ics
        Per floor (num_dates,) rank IC over the same dates.
    overfit_gaps
        Per model, by how much valid is above test rank IC for the primary label: the mean (`overfit_gap`), or the
        lower end of its interval (`surely_lost`).
    constant_shares
        Per model and stack, from `constant_share`.
    correlation, model_names
        (num_models, num_models) from `prediction_correlation` and its names.
    label
        Name of the primary label, the one that the measurements are of.
    horizon
        Dates over which its values overlap.
    num_looks
        Models x labels that were looked at: the level of the interval is Bonferroni's,
        1 - (1 - confidence) / num_looks.
    oof_gaps
        Per model, mean valid minus mean out-of-fold rank IC, where out-of-fold and test dates are not the same
        dates; held against `max_overfit_gap` as well. None: the test dates are the out-of-fold ones.
    rank_ics
        Mean rank IC of whatever was judged, by name: stack and models at every horizon. None: `stack_ic` alone.
    attained
        The same names where the true expectation is known: their rank IC over that of the expectation. It takes the
        place of the rank IC, since it says how good an honest forecast can be.
    equal_ic
        (num_dates,) rank IC of the same models with equal weights: the stack may not be below it beyond the noise of
        the paired difference. None: not held against it.
    absent_shares
        Per model, the share of the stack's rows on which it takes no part: a gate for each. None: no such gates.
    calibration_errors
        Per model that is fitted to directions, its expected calibration error (`DirectionScores`). None or empty: no
        such gate.
    """
    check_at_least("num_looks", num_looks, 1)
    gaps = [("overfit_gap", overfit_gaps, "valid minus test rank IC of every model")]
    if oof_gaps is not None:
        gaps.append(("oof_gap", oof_gaps, "valid minus out-of-fold rank IC of every model"))
    tested = mean_test(as_series("stack_ic", stack_ic), horizon)
    return (
        _at_least("oof_rows", num_oof_rows, config.min_oof_rows, "out-of-fold rows of the stack"),
        interval_gate(config, stack_ic, label=label, horizon=horizon, num_looks=num_looks),
        _at_least("stack_t_stat", tested.t_stat, config.min_t_stat, "t of the stack's rank IC"),
        _floor_gate(config, stack_ic, floor_ics, horizon),
        *([] if equal_ic is None else [_equal_gate(config, stack_ic, equal_ic, horizon)]),
        *(_worst_gate(name, values, config.max_overfit_gap, what) for name, values, what in gaps),
        _worst_gate(
            "constant_output",
            constant_shares,
            config.max_constant_share,
            "share of dates with a constant output",
        ),
        *(_member_gate(name, share, config.max_absent_share) for name, share in (absent_shares or {}).items()),
        *_calibration_gate(config, calibration_errors or {}),
        _diversity_gate(config, correlation, model_names),
        _too_good_gate(
            config, {f"stack at horizon {horizon}": tested.mean} if rank_ics is None else rank_ics, attained
        ),
    )


def interval_gate(config: GateConfig, stack_ic: ArrayLike, *, label: str, horizon: int, num_looks: int) -> Gate:
    """Return the gate on the lower end of the stack's interval, at the level that `num_looks` leaves; see above."""
    check_at_least("num_looks", num_looks, 1)
    familywise = 1.0 - (1.0 - config.confidence) / num_looks
    stack = summarize(stack_ic, horizon, familywise, _NUM_BOOTSTRAP)
    what = (
        f"lower end of the stack's {familywise:.2%} rank-IC interval for {label}"
        f" ({config.confidence:.0%} over {num_looks} looks)"
    )
    return _above("stack_interval", stack.ci_low, 0.0, what)


def promoted(gates: Sequence[Gate]) -> bool:
    """Return whether every gate passed (and there is one)."""
    return len(gates) > 0 and all(gate.passed for gate in gates)


def overfit_gap(metrics: Mapping[str, float]) -> float:
    """Return mean valid minus mean test rank IC of one model for one label: an entry of `overfit_gaps`.

    `metrics` holds them as valid_rank_ic and rank_ic, as a model's metrics file does.
    """
    return metrics["valid_rank_ic"] - metrics["rank_ic"]


def _at_least(name: str, value: float, threshold: float, what: str) -> Gate:
    rule = f"{what} must be at least {threshold:,g}"
    return Gate(name=name, passed=bool(value >= threshold), value=float(value), threshold=float(threshold), rule=rule)


def _above(name: str, value: float, threshold: float, what: str) -> Gate:
    rule = f"{what} must be above {threshold:g}"
    return Gate(name=name, passed=bool(value > threshold), value=float(value), threshold=threshold, rule=rule)


def _floor_gate(config: GateConfig, stack_ic: ArrayLike, floor_ics: Mapping[str, ArrayLike], horizon: int) -> Gate:
    if not floor_ics:
        return _above("beats_floor", math.nan, 0.0, "difference to the best floor (none was given)")
    name = best_floor(floor_ics)
    difference = paired_difference(stack_ic, floor_ics[name], horizon, config.confidence, _NUM_BOOTSTRAP)
    what = f"lower end of the {config.confidence:.0%} interval of stack minus best floor ({name})"
    return _above("beats_floor", difference.ci_low, 0.0, what)


def _worst_gate(name: str, values: Mapping[str, float], threshold: float, what: str) -> Gate:
    """Hold the worst of the named values against a maximum; an unmeasured (NaN) one is the worst of all."""
    worst = max(values, key=lambda key: math.inf if math.isnan(values[key]) else values[key], default=None)
    value = math.nan if worst is None else float(values[worst])
    rule = f"{what} must be at most {threshold:g} (worst: {worst or 'none measured'})"
    return Gate(
        name=name, passed=bool(value <= threshold), value=value, threshold=threshold, rule=rule, is_maximum=True
    )


def _equal_gate(config: GateConfig, stack_ic: ArrayLike, equal_ic: ArrayLike, horizon: int) -> Gate:
    """Hold the stack against equal weights: what it has learned may not make it surely worse; equal is no loss."""
    difference = paired_difference(stack_ic, equal_ic, horizon, config.confidence, _NUM_BOOTSTRAP)
    high = difference.mean if math.isnan(difference.ci_high) else difference.ci_high
    what = f"upper end of the {config.confidence:.0%} interval of stack minus equal weights"
    return _at_least("equal_weight", high, 0.0, what)


def _member_gate(name: str, share: float, threshold: float) -> Gate:
    rule = (
        f"share of the stack's rows without a forecast of {name} that tells symbols apart must be at most {threshold:g}"
        f": above it, take {name} from the models or mend it"
    )
    passed = bool(share <= threshold)
    return Gate(name=f"member {name}", passed=passed, value=share, threshold=threshold, rule=rule, is_maximum=True)


def _calibration_gate(config: GateConfig, errors: Mapping[str, float]) -> list[Gate]:
    if not errors:
        return []
    what = "expected calibration error of every model of a direction"
    return [_worst_gate("calibration", errors, config.max_calibration_error, what)]


def _too_good_gate(config: GateConfig, rank_ics: Mapping[str, float], attained: Mapping[str, float] | None) -> Gate:
    """Hold the best forecast against the best that an honest one can be; an undefined one is no sign of a leak."""
    known = {name: value for name, value in (attained or {}).items() if not math.isnan(value)}
    others = {name: value for name, value in rank_ics.items() if name not in known and not math.isnan(value)}
    shares = _worst_gate("too_good", known, config.max_attained, "share attained of the attainable rank IC")
    plain = _worst_gate("too_good", others, config.max_rank_ic, "rank IC of stack and models at any horizon")
    gate = shares if known and (plain.passed or not others or not shares.passed) else plain
    return replace(gate, rule=f"{gate.rule}: above it, look for a leak")


def _diversity_gate(config: GateConfig, correlation: ArrayLike, model_names: Sequence[str]) -> Gate:
    num_distinct = num_distinct_models(correlation, model_names, config.max_correlation)
    wanted = min(2, max(len(model_names), 1))
    what = f"models that differ (correlation up to {config.max_correlation:g})"
    return _at_least("diversity", num_distinct, wanted, what)
