"""`factor-serve due`: whether a log calls for an update of the models, why, and what to run."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from factor_metrics import to_json_safe
from factor_models import UpdateRule, update_due
from factor_serve.shadow.judge import Reference, log_ics, reference_of
from factor_serve.shadow.log import Log, read_log

RUN = (
    "Run make use-data SRC=<bars up to now>, make repro and make refit: with train.start: previous and train.replay "
    "that is an update with replay, else a training anew"
)


@dataclass(frozen=True, kw_only=True)
class Due:
    """What a label says about an update."""

    label: str
    state: Literal["due", "not due", "unknown"]
    why: str
    mean: float
    """Rank IC of the last dates of the rule that are known; NaN while there are fewer."""
    expected: float
    """Rank IC out of fold; NaN where it is not known to be above 0."""
    since: str | None
    """Date of the log since which an update is due."""
    chance: float
    """How often the mean of so many dates comes out below the rule's share while nothing has changed."""


def due_labels(log: Log, reference: Reference, rule: UpdateRule) -> list[Due]:
    """Return what each label of a log says, in the order of the bundle."""
    return [_due(log, label, reference, rule) for label in log.label_names]


def _due(log: Log, label: str, reference: Reference, rule: UpdateRule) -> Due:
    expected, ics = reference.expected.get(label), log_ics(log, label)
    known = ics[np.isfinite(ics)]
    nothing: dict[str, Any] = {"mean": math.nan, "since": None, "chance": math.nan}
    if expected is None or not expected.is_known:
        why = "not surely above 0 out of fold: there is nothing to lose"
        return Due(label=label, state="unknown", why=why, expected=math.nan, **nothing)
    if len(known) < rule.window:
        why = f"{len(known)} of {rule.window} dates have a label that is known"
        return Due(label=label, state="unknown", why=why, expected=expected.mean, **nothing)
    mean = float(known[-rule.window :].mean())
    due = update_due(ics, expected.mean, rule)
    chance = NormalDist().cdf((rule.fall_to - 1.0) * expected.mean / (expected.sigma / math.sqrt(rule.window)))
    why = (
        f"{mean:+.3f} over the last {rule.window} dates, {mean / expected.mean:.0%} of {expected.mean:+.3f} out of fold"
    )
    since = None
    if due[-1]:
        since = log.dates[int(np.flatnonzero(~due)[-1]) + 1]
        why += f"; it fell below {rule.fall_to:.0%} on {since[:10]} and was not at {rule.recover_to:.0%} since"
    why += f"; by chance below {rule.fall_to:.0%}: {chance:.1%} of such means"
    state: Literal["due", "not due"] = "due" if due[-1] else "not due"
    return Due(label=label, state=state, why=why, mean=mean, expected=expected.mean, since=since, chance=chance)


def add_due_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `due`."""
    parser.add_argument("bundle", metavar="BUNDLE", help="folder of the bundle")
    parser.add_argument("log", metavar="LOG", help="log of `factor-serve shadow` of this bundle")
    parser.add_argument("--sha256", metavar="HASH", help="refuse any bundle but the one whose manifest has this sha256")
    rule = UpdateRule()
    shares: Mapping[str, str] = {
        "window": "dates with a known label that the rank IC is averaged over",
        "fall_to": "an update is due from a mean below this share of the rank IC out of fold on",
        "recover_to": "until a mean at or above this share of it",
    }
    for name, text in shares.items():
        default = getattr(rule, name)
        option, kind = f"--{name.replace('_', '-')}", type(default)
        parser.add_argument(option, type=kind, default=default, metavar="N", help=f"{text} ({default:g})")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_due(options: argparse.Namespace) -> int:
    """Say of each label whether an update is due, and what to run; status 1 where one is."""
    from factor_serve.bundle import load_bundle

    rule = UpdateRule(window=options.window, fall_to=options.fall_to, recover_to=options.recover_to)
    bundle = load_bundle(options.bundle, options.sha256)
    log = read_log(Path(options.log))
    if not log.forecasts:
        raise ValueError(f"{options.log}: has no forecast: factor-serve shadow writes them")
    if log.bundle != bundle.identity:
        raise ValueError(f"{options.log}: is of the bundle {log.bundle}, this one is {bundle.identity}")
    found = due_labels(log, reference_of(bundle), rule)
    is_due = any(one.state == "due" for one in found)
    if options.json:
        document = {"due": is_due, "run": RUN if is_due else None, "labels": [asdict(one) for one in found]}
        print(json.dumps(to_json_safe(document), indent=2))
    else:
        print("\n".join(f"{one.label:<12}{one.state:<8}{one.why}" for one in found))
        print(f"An update is due. {RUN}" if is_due else "No update is due.")
    return 1 if is_due else 0
