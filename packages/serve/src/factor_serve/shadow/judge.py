"""What a log comes to: coverage, members at work, forecasts as usual, drift of inputs, rank IC against out of fold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from factor_metrics import ICSummary, drift, newey_west_interval, paired_difference, rank_ic, summarize, to_json_safe
from factor_serve.bundle import Bundle
from factor_serve.check import LEAST_SPREAD, MOST_SPREAD
from factor_serve.forecasts import STACK
from factor_serve.shadow.log import Log
from factor_serve.shadow.watch import FALSE_ALARM_EVERY, Expected, Watch, watch

State = Literal["ok", "ALARM", "unknown"]
MIN_SYMBOLS = 10
CONSTANT = 1e-6
"""Spread of a date's forecasts, in the usual one, below which they are the same for all symbols."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """From where on the log alarms."""

    window: int = 20
    """Last dates that coverage, members, forecasts and drift are judged on."""
    least_coverage: float = 0.80
    """Share of the universe's symbols that have a forecast, at least."""
    least_active: float = 0.90
    """Share of members, over dates, that take part, at least."""
    least_normal: float = 0.95
    """Share of members' dates whose forecasts spread as usual, at least."""
    psi: float = 0.25
    """Population stability index from which on an input has drifted, if that is no chance."""
    level: float = 0.01
    """Probability that chance makes one of all inputs drift."""
    most_drifted: float = 0.10
    """Share of inputs that may have drifted."""
    every: int = FALSE_ALARM_EVERY
    """Dates without any change in which the IC of a label alarms once, on average."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a bundle knows of the time before."""

    deviations: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """Usual spread of a date's forecasts by member and label."""
    expected: Mapping[str, Expected] = field(default_factory=dict)
    """Rank IC of the stack out of fold by label; none where forecasts are compared over time."""
    train_dates: int = 0
    """Dates that the deciles of inputs are of."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One condition, what was found and what follows."""

    name: str
    state: State
    found: str
    rule: str


@dataclass(frozen=True, kw_only=True)
class InputDrift:
    """One input on the last dates beside training rows."""

    name: str
    psi: float
    p_value: float
    missing: float
    """Share of values that are missing."""
    drifted: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelJudged:
    """Rank ICs of a label since the log began."""

    label: str
    dates: Sequence[str]
    rank_ic: NDArray[np.float64]
    """(num_dates,) NaN where the label is not known yet."""
    summary: ICSummary
    newey_west: tuple[float, float]
    """Interval of the mean by Newey and West, beside the block bootstrap's of `summary`."""
    expected: Expected | None
    watch: Watch | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """All that a log comes to."""

    bundle: str
    dates: Sequence[str]
    findings: Sequence[Finding]
    labels: Sequence[LabelJudged]
    inputs: Sequence[InputDrift]

    @property
    def alarm(self) -> bool:
        """Return whether any condition is broken."""
        return any(one.state == "ALARM" for one in self.findings)

    def document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        labels = {
            one.label: {
                **asdict(one.summary),
                "newey_west": list(one.newey_west),
                "out_of_fold": None if one.expected is None else asdict(one.expected),
                "alarm": None if one.watch is None or one.watch.alarm is None else one.dates[one.watch.alarm],
            }
            for one in self.labels
        }
        document = {
            "bundle": self.bundle,
            "first": self.dates[0],
            "last": self.dates[-1],
            "num_dates": len(self.dates),
            "alarm": self.alarm,
            "findings": [asdict(one) for one in self.findings],
            "labels": labels,
            "drifted": [asdict(one) for one in self.inputs if one.drifted],
        }
        return to_json_safe(document)


def reference_of(bundle: Bundle) -> Reference:
    """Return what a bundle knows of the time before."""
    said, nothing = bundle.reference, math.nan
    deviations = {
        model: {label: nothing if one["deviation"] is None else one["deviation"] for label, one in labels.items()}
        for model, labels in said["forecasts"].items()
    }
    expected = {}
    for label, models in said.get("rank_ic", {}).items():
        one = {key: nothing if value is None else value for key, value in models[STACK].items()}
        expected[label] = Expected(
            mean=one["mean"], standard_error=one["standard_error"], num_dates=int(one["num_dates"]),
            low=one["ci_low"], high=one["ci_high"],
        )  # fmt: skip
    return Reference(deviations=deviations, expected=expected, train_dates=len(bundle.train_dates))


def judge(log: Log, reference: Reference, rules: Rules | None = None) -> Judged:
    """Return what a log comes to; ValueError for one without a date."""
    rules = rules or Rules()
    if not log.forecasts:
        raise ValueError("the log has no forecast yet")
    last = [log.forecasts[date] for date in log.dates[-rules.window :]]
    inputs = drifted_inputs(last, reference, rules)
    labels = [_judged(log, label, reference, rules) for label in log.label_names]
    findings = [
        _share("coverage", _coverage(last), rules.least_coverage, "of the universe has a forecast"),
        _share("activation", _active(last, reference), rules.least_active, "of members take part"),
        _share("normal output", _normal(last, reference), rules.least_normal, "of members spread as usual"),
        _drift(inputs, len(last), rules),
        *(_ic(one) for one in labels),
    ]
    return Judged(bundle=log.bundle or "", dates=log.dates, findings=findings, labels=labels, inputs=inputs)


def log_ics(log: Log, label: str) -> NDArray[np.float64]:
    """Rank IC of the stack by date of the log, (num_dates,); NaN where the label is not known, or symbols are few."""
    return rank_ic(*log.matrices(label), min_symbols=MIN_SYMBOLS)


def paired(champion: Log, challenger: Log, label: str, overlap: int) -> tuple[ICSummary, ICSummary, ICSummary]:
    """Return challenger less champion, and both, on the dates and symbols that both have forecast.

    Labels are those that either log knows; without a date in common the numbers are NaN, `num_dates` is 0.
    """
    dates = [date for date in champion.dates if date in challenger.forecasts]
    ics = np.full((2, len(dates)), np.nan)
    for place, date in enumerate(dates):
        came = champion.labels.get((label, date)) or challenger.labels.get((label, date)) or {}
        said = [
            dict(zip(log.forecasts[date]["symbols"], log.forecasts[date]["forecasts"][label], strict=True))
            for log in (champion, challenger)
        ]
        symbols = [one for one in came if all(side.get(one) is not None for side in said)]
        if symbols:
            values = np.array([[came[one] for one in symbols]])
            for side in (0, 1):
                forecast = np.array([[said[side][one] for one in symbols]], dtype=np.float64)
                ics[side, place] = rank_ic(forecast, values, min_symbols=MIN_SYMBOLS)[0]
    both = np.isfinite(ics).all(axis=0)
    ics[:, ~both] = np.nan
    return paired_difference(ics[1], ics[0], overlap), summarize(ics[0], overlap), summarize(ics[1], overlap)


def drifted_inputs(records: Sequence[Mapping[str, Any]], reference: Reference, rules: Rules) -> tuple[InputDrift, ...]:
    """Return the drift of every input over some dates, the one that moved most first.

    A date counts as one value, since its rows move together. An input has drifted whose index is above `psi` and whose
    p-value is below `level` over the number of inputs.
    """
    names = list(records[0]["inputs"]) if records else []
    found = []
    for name in names:
        counts = np.sum([record["inputs"][name] for record in records], axis=0)
        known, missing = counts[:-1], counts[-1]
        psi = p_value = math.nan
        if known.sum() > 0 and reference.train_dates:
            bins = np.arange(len(known), dtype=np.float64)
            sample = np.repeat(bins, np.round(1000.0 * known / known.sum()).astype(np.int64))
            moved = drift(
                np.repeat(bins, 100), sample, num_bins=len(bins),
                independent=(float(reference.train_dates), float(len(records))),
            )  # fmt: skip
            psi, p_value = moved.psi, moved.p_value
        drifted = psi > rules.psi and p_value < rules.level / len(names)
        share = float(missing / counts.sum()) if counts.sum() else math.nan
        found.append(InputDrift(name=name, psi=psi, p_value=p_value, missing=share, drifted=bool(drifted)))
    return tuple(sorted(found, key=lambda one: (not one.drifted, -np.nan_to_num(one.psi, nan=-1.0), one.name)))


def _coverage(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Share of the universe that has a forecast, by label."""
    shares: dict[str, list[float]] = {}
    for record in records:
        for label, values in record["forecasts"].items():
            shares.setdefault(label, []).append(sum(value is not None for value in values) / max(len(values), 1))
    return {label: float(np.mean(one)) for label, one in shares.items()}


def _active(records: Sequence[Mapping[str, Any]], reference: Reference) -> dict[str, float]:
    """Share of dates on which a member takes part, by member: it forecasts half the universe, not all the same."""
    shares: dict[str, list[float]] = {}
    for record in records:
        for model, labels in record["models"].items():
            if model == STACK:
                continue
            at_work = [
                num >= len(record["symbols"]) / 2 and deviation > CONSTANT * _usual(reference, model, label)
                for label, (num, deviation) in labels.items()
            ]
            shares.setdefault(model, []).append(float(np.mean(at_work)) if at_work else 0.0)
    return {"members": float(np.mean([np.mean(one) for one in shares.values()]))} if shares else {}


def _normal(records: Sequence[Mapping[str, Any]], reference: Reference) -> dict[str, float]:
    """Share of members' dates and labels whose spread is between the bounds of the usual one."""
    normal = []
    for record in records:
        for model, labels in record["models"].items():
            for label, (_, deviation) in labels.items():
                usual = _usual(reference, model, label)
                if model != STACK and usual > 0.0:
                    normal.append(LEAST_SPREAD * usual <= deviation <= MOST_SPREAD * usual)
    return {"members": float(np.mean(normal))} if normal else {}


def _usual(reference: Reference, model: str, label: str) -> float:
    usual = reference.deviations.get(model, {}).get(label, 0.0)
    return usual if math.isfinite(usual) else 0.0


def _share(name: str, shares: Mapping[str, float], least: float, what: str) -> Finding:
    rule = f"more than {least:.0%} {what}"
    if not shares:
        return Finding(name=name, state="unknown", found="nothing to judge by", rule=rule)
    worst = min(shares, key=lambda key: shares[key])
    return Finding(
        name=name,
        state="ok" if shares[worst] > least else "ALARM",
        found=f"{shares[worst]:.1%}" + (f" ({worst})" if len(shares) > 1 else ""),
        rule=rule,
    )


def _drift(inputs: Sequence[InputDrift], num_dates: int, rules: Rules) -> Finding:
    rule = f"at most {rules.most_drifted:.0%} of inputs have drifted: index above {rules.psi:g}, not by chance"
    if not inputs or all(math.isnan(one.psi) for one in inputs):
        return Finding(name="drift", state="unknown", found="no input is known", rule=rule)
    moved = [one.name for one in inputs if one.drifted]
    said = f"{len(moved)} of {len(inputs)} over {num_dates} dates" + (
        f", first {', '.join(moved[:3])}" if moved else ""
    )
    return Finding(
        name="drift", state="ALARM" if len(moved) > rules.most_drifted * len(inputs) else "ok", found=said, rule=rule
    )


def _judged(log: Log, label: str, reference: Reference, rules: Rules) -> LabelJudged:
    ics, overlap = log_ics(log, label), log.overlaps[label]
    expected = reference.expected.get(label)
    return LabelJudged(
        label=label,
        dates=log.dates,
        rank_ic=ics,
        summary=summarize(ics, overlap),
        newey_west=newey_west_interval(ics, overlap),
        expected=expected,
        watch=None if expected is None or not expected.is_known else watch(ics, expected, rules.every),
    )


def _ic(one: LabelJudged) -> Finding:
    name, rule = f"rank IC {one.label}", "no worse than out of fold, by a sum that is watched date by date"
    if one.watch is None:
        why = "not judged on dates" if one.expected is None else "not surely above 0 out of fold"
        return Finding(name=name, state="unknown", found=f"{why}: there is nothing to lose", rule=rule)
    if not one.summary.num_dates:
        return Finding(name=name, state="unknown", found="no label is known yet", rule=rule)
    assert one.expected is not None
    said = (
        f"{one.summary.mean:+.3f} over {one.summary.num_dates} dates, {one.expected.mean:+.3f} out of fold; sum "
        f"{np.nanmax(one.watch.sums):.1f} of {one.watch.threshold:.1f}"
    )
    if one.watch.alarm is None:
        return Finding(name=name, state="ok", found=said, rule=rule)
    return Finding(name=name, state="ALARM", found=f"{said}, passed on {one.dates[one.watch.alarm][:10]}", rule=rule)
