"""ACL18: the page and the table of the study, from the logits of its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from factor_metrics import classification_scores
from factor_metrics.scores.classification import ClassificationScores
from studies.acl18_data import INPUTS, PUBLISHED_COUNTS, SEGMENTS, raw_inputs
from studies.acl18_runs import Outcome, Runner, Setting

PUBLISHED = {
    "lstm": (0.5318, 0.0674),
    "alstm": (0.5490, 0.1043),
    "adv_alstm": (0.5720, 0.1483),
    "dtml": (0.5744, 0.1910),
    "stocknet_prices": (0.5496, 0.0165),
    "stocknet_tweets": (0.5823, 0.0808),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """A run of the table."""

    variant: str
    setting: Setting
    seed: int
    outcome: Outcome


def scores_of(logit: NDArray[np.float64], label: NDArray[np.float64]) -> ClassificationScores:
    """Pooled scores of logits against 1 and 0."""
    return classification_scores((1.0 / (1.0 + np.exp(-logit)))[None], label[None])


def write_page(
    folder: Path, runner: Runner, rows: Sequence[Row], tried: Sequence[Setting], missing: Sequence[str]
) -> None:
    """acl18.csv with one line per run, and acl18.md, which names the lines that have not been run."""
    label = {segment: runner.outcome_of(segment) for segment in ("valid", "test")}
    days = runner.protocol.panel.date_code[runner.protocol.dataset("test").rows]
    runs = pd.DataFrame([run_line(row, label, days) for row in rows])
    runs.to_csv(folder / "acl18.csv", index=False, float_format="%.4f")
    parts = [
        HEAD.format(train=PUBLISHED_COUNTS["train"], valid=PUBLISHED_COUNTS["valid"], test=PUBLISHED_COUNTS["test"]),
        *floor_lines(runner, label["test"], days),
        *[variant_line(name, rows, label, days) for name in dict.fromkeys(row.variant for row in rows)],
        *([f"\nNot run yet: {', '.join(missing)}."] if missing else []),
        verdict(rows, label["test"], days),
        NOTES,
        *grid_lines(rows, tried),
        *tweet_lines(runner, rows),
    ]  # fmt: skip
    (folder / "acl18.md").write_text("\n".join(parts) + "\n", encoding="utf-8")


def run_line(row: Row, label: dict[str, NDArray[np.float64]], days: NDArray[np.integer]) -> dict[str, object]:
    valid, test = (scores_of(getattr(row.outcome, name), label[name]) for name in ("valid", "test"))
    return {
        "variant": row.variant,
        "seed": row.seed,
        "setting": row.setting.describe(),
        "valid_accuracy": valid.accuracy,
        "valid_mcc": valid.mcc,
        "test_accuracy": test.accuracy,
        "test_mcc": test.mcc,
        "test_auc": test.auc,
        "test_auc_within_days": scores_of(within_days(row.outcome.test, days), label["test"]).auc,
        **row.outcome.facts,
    }


def floor_lines(runner: Runner, label: NDArray[np.float64], days: NDArray[np.integer]) -> list[str]:
    """Forecasts that need no model."""
    move = raw_inputs(runner.protocol.panel)[runner.protocol.dataset("test").rows, INPUTS.index("close_move")]
    opposite = np.where(move > 0, -1.0, 1.0)
    draws = [scores_of(np.random.default_rng(s).choice([-1.0, 1.0], len(label)), label) for s in range(1000)]
    accuracy, mcc = (np.array([getattr(draw, name) for draw in draws]) for name in ("accuracy", "mcc"))
    return [
        table_line("majority class of test", "", "", max(label.mean(), 1 - label.mean()), None, 0.0, None, "51.29 / 0"),
        table_line("opposite of the last move", "", "", scores_of(opposite, label).accuracy, None,
                   scores_of(opposite, label).mcc, None, "49.14 / -.0167", clustered_error(opposite, label, days)),
        table_line("coin, 1,000 times", "", "", accuracy.mean(), accuracy.std(), mcc.mean(), mcc.std(), ""),
    ]  # fmt: skip


def variant_line(
    name: str, rows: Sequence[Row], label: dict[str, NDArray[np.float64]], days: NDArray[np.integer]
) -> str:
    """Mean and deviation over seeds, the error of the mean over days, and the seeds' mean logit as one forecast."""
    runs = [row.outcome for row in rows if row.variant == name]
    valid = np.array([scores_of(run.valid, label["valid"]).mcc for run in runs])
    scores = [scores_of(run.test, label["test"]) for run in runs]
    accuracy, mcc = (np.array([getattr(score, key) for score in scores]) for key in ("accuracy", "mcc"))
    auc = np.mean([score.auc for score in scores])
    within = np.mean([scores_of(within_days(run.test, days), label["test"]).auc for run in runs])
    together = scores_of(np.mean([run.test for run in runs], axis=0), label["test"])
    right = np.mean([(run.test > 0) == (label["test"] > 0.5) for run in runs], axis=0)
    published = PUBLISHED.get(name)
    said = f"{100 * published[0]:.2f} / {number(published[1])}" if published else ""
    spread = (accuracy.std(ddof=1), mcc.std(ddof=1)) if len(runs) > 1 else (None, None)
    return table_line(
        name, str(len(runs)), number(valid.mean()), accuracy.mean(), spread[0], mcc.mean(), spread[1], said,
        error_by_day(right, days), f"{100 * together.accuracy:.2f} / {number(together.mcc)}",
        f"{number(float(auc))} / {number(float(within))}",
    )  # fmt: skip


def verdict(rows: Sequence[Row], label: NDArray[np.float64], days: NDArray[np.integer]) -> str:
    """Which models reach the published accuracy, and how many errors by day the others are below it."""
    reached, below = [], []
    for name, (published, _) in PUBLISHED.items():
        right = [(row.outcome.test > 0) == (label > 0.5) for row in rows if row.variant == name]
        if not right:
            continue
        mean = np.mean(right, axis=0)
        errors = (published - mean.mean()) / error_by_day(mean, days)
        if errors <= 0:
            reached.append(name)
        else:
            below.append(f"{name} {errors:.1f}")
    text = f"Mean accuracy at or above the published one: {', '.join(reached) or 'no model'}."
    return f"\n{text} Errors by day below it: {', '.join(below)}." if below else f"\n{text}"


def table_line(  # noqa: PLR0913 -- the columns of the table in their order
    name: str,
    seeds: str,
    valid_mcc: str,
    accuracy: float,
    accuracy_spread: float | None,
    mcc: float,
    mcc_spread: float | None,
    published: str,
    error: float | None = None,
    together: str = "",
    auc: str = "",
) -> str:
    spread = "" if accuracy_spread is None else f" ± {100 * accuracy_spread:.2f}"
    mcc_text = number(mcc) + ("" if mcc_spread is None else f" ± {number(mcc_spread)}")
    error_text = "" if error is None else f"{100 * error:.2f}"
    cells = (
        name,
        seeds,
        valid_mcc,
        f"{100 * accuracy:.2f}{spread}",
        error_text,
        mcc_text,
        together,
        auc,
        published,
    )
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """Four digits, without the 0 before the point."""
    return f"{round(value, 4) + 0.0:.4f}".replace("0.", ".", 1)  # + 0.0: no minus before a zero


def clustered_error(logit: NDArray[np.float64], label: NDArray[np.float64], days: NDArray[np.integer]) -> float:
    return error_by_day(((logit > 0) == (label > 0.5)).astype(np.float64), days)


def within_days(logit: NDArray[np.float64], days: NDArray[np.integer]) -> NDArray[np.float64]:
    """Logits minus the mean of their day: what is left tells stocks apart, not days."""
    number_of_day = np.unique(days, return_inverse=True)[1]
    return logit - (np.bincount(number_of_day, weights=logit) / np.bincount(number_of_day))[number_of_day]


def error_by_day(right: NDArray[np.float64], days: NDArray[np.integer]) -> float:
    """Standard error of the mean of `right` if days, not samples, are independent.

    The root of the sum over days of (sum of the deviations of a day)^2, over the number of samples.
    """
    number_of_day = np.unique(days, return_inverse=True)[1]
    totals = np.bincount(number_of_day, weights=right - right.mean())
    return float(np.sqrt(np.square(totals).sum()) / len(right))


def grid_lines(rows: Sequence[Row], tried: Sequence[Setting]) -> list[str]:
    chosen = {row.variant: row.setting for row in rows}
    parameters = {row.variant: row.outcome.facts["parameters"] for row in rows}
    lines = ["## Hyper-parameters", "", "| model | chosen on valid | weights |", "|---|---|---|"]
    lines += [f"| {name} | {setting.describe()} | {parameters[name]:,.0f} |" for name, setting in chosen.items()]
    lines += ["", f"Tried for each model, with seed 0: {'; '.join(setting.describe() for setting in tried)}."]
    return lines


def tweet_lines(runner: Runner, rows: Sequence[Row]) -> list[str]:
    lines = []
    for clock, tweets in runner.tweets.items():
        counts = ", ".join(f"{key.replace('_', ' ')} {value:,}" for key, value in tweets.counts.items())
        lines.append(f"- tweets to the {clock}: {counts}")
    ratios = [row.outcome.facts["top_text_ratio"] for row in rows if "top_text_ratio" in row.outcome.facts]
    if ratios:
        lines.append(
            f"- PEN's RTT: of the days with three tweets or more, {100 * np.mean(ratios):.0f} % have over 95 % of the "
            "salience on two"
        )
    return ["", "## Tweets", "", *lines] if lines else []


SPANS = ", ".join(f"{name} {first} to {end} (excluded)" for name, (first, end) in SEGMENTS.items())
HEAD = f"""# ACL18: does the next day rise or fall?

87 US stocks, {SPANS}; samples {{train:,}} / {{valid:,}} / {{test:,}}, the published counts (others are refused). A
sample's label is 1 if the adjusted close of the next day is at least 0.55 % higher, 0 if at least 0.5 % lower. Days in
between have no label: 33 % of the test's stock-days are not predicted, so an accuracy is conditional on a move, which
nobody knows beforehand. 11 inputs per day (Feng et al. 2019), standardised on training samples, windows of 5 days.
Trained through the engine (DeepSpeed ZeRO 0, fp32, one process), cross-entropy. Epoch and hyper-parameters are chosen
by the MCC on valid alone. Made by `make study-acl18`; one line per run in [acl18.csv](acl18.csv).

| model | seeds | valid MCC | test accuracy | error by day | test MCC | seeds together | AUC all / in days | published |
|---|---|---|---|---|---|---|---|---|"""

NOTES = """
Mean ± standard deviation over the seeds. "Seeds together" is the forecast by the mean logit. The error of a test
accuracy is 0.82 points if the 3,720 samples were independent. They are not: 87 stocks share 64 test days and the
market's move. "Error by day" counts days as independent instead and is the one to compare with; differences between
models, and to published numbers, that are smaller than two of it say nothing. The AUC in days is that of logits minus
the mean of their day: where it is .50, a model knows at most where the whole market goes, and there are 64 days to
judge that by. Published numbers are single test results of their authors; choosing the epoch alone moves ALSTM's test
accuracy by 3 standard errors.

No pretrained word vectors can be downloaded here, so a tweet is a vector of TF-IDF and truncated SVD, fitted on
training tweets; the papers use GloVe or BERT. As in the papers, the tweets of a day count until midnight UTC, hours
after the close at which a position would be taken: the lines `_close` are the same models and hyper-parameters with
what was known then.
"""
