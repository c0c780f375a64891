"""make news-effect: every model of the list trained and judged with news and without, and the paired difference.

Both runs have the same bars, folds, seeds and dates; tokenize.use_news alone differs. params.yaml and the results end
as params.yaml has them. What was run before is restored from DVC's run cache and not trained again.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from factor_data import read_parquet
from factor_data.whole_file import write_bytes
from factor_metrics import ICSummary, format_interval, paired_difference, to_json_safe
from stages.commands.preset import write
from stages.json_files import write_json
from stages.params.evaluate import EvaluateParams
from stages.params.reading import PARAMS_FILE, read_params
from stages.running.files import stored
from stages.running.rwlock import remove_broken_rwlock
from stages.running.stage import StageError, run

NEWS = Path("data") / "news"
OUT = Path(".live") / "news_effect.json"
KEPT = Path(".live") / "params.before_news_effect.yaml"
Series = Mapping[str, pd.DataFrame]
"""Model -> its rank IC per label and date."""


def main() -> None:
    """Run the DAG up to evaluate twice and print how far the rank ICs lie apart."""
    params = read_params()
    if not NEWS.is_dir():
        raise StageError(f"{NEWS}/ is not there: the data have no news whose effect could be measured")
    if KEPT.exists():
        raise StageError(
            f"{KEPT} is {PARAMS_FILE} before a news-effect that was killed: move it to {PARAMS_FILE}, or delete it if "
            "that is as you want it"
        )
    before, mine = PARAMS_FILE.read_bytes(), params.tokenize.use_news
    KEPT.parent.mkdir(exist_ok=True)
    write_bytes(KEPT, before)  # for whoever finds the command killed
    try:
        write({"tokenize": {"use_news": not mine}})
        other = judged(params.models)
    finally:
        write_bytes(PARAMS_FILE, before)
        KEPT.unlink()
    found = {mine: judged(params.models), not mine: other}
    rows = effects(found[True], found[False], params.evaluate)
    write_json(
        OUT, to_json_safe([{"label": label, "model": model, **vars(one)} for (label, model), one in rows.items()])
    )
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table(rows, found))
    print(verdict(rows, params.evaluate))
    print(f"Written to {OUT}")


def judged(models: tuple[str, ...]) -> Series:
    """Run what is left up to evaluate of every model; their series."""
    remove_broken_rwlock()
    done = subprocess.run(["dvc", "repro", *(f"evaluate@{model}" for model in models)], check=False)
    if done.returncode:
        raise StageError(f"dvc repro ended with {done.returncode}: its message is above; {PARAMS_FILE} is as it was")
    return {model: read_parquet(stored(f"evaluate/{model}", "ic.parquet")) for model in models}


def effects(with_news: Series, without: Series, config: EvaluateParams) -> dict[tuple[str, str], ICSummary]:
    """Return (label, model) -> summary of rank IC with news minus without, on the dates that both have."""
    rows = {}
    for model, frame in with_news.items():
        for label, one in frame.groupby("label", sort=False, observed=True):
            other = without[model][without[model]["label"] == label]
            both = one.merge(other, on="timestamp", suffixes=("", "_without"))
            overlap = int(one["overlap"].iloc[0])
            rows[str(label), model] = paired_difference(
                both["rank_ic"].to_numpy(),
                both["rank_ic_without"].to_numpy(),
                overlap,
                config.confidence,
                config.bootstrap,
                config.seed,
            )
    return dict(sorted(rows.items(), key=lambda row: list(with_news[row[0][1]]["label"].unique()).index(row[0][0])))


def table(rows: Mapping[tuple[str, str], ICSummary], found: Mapping[bool, Series]) -> Table:
    """Return mean rank IC of both runs and their difference, a row per label and model."""
    result = Table(title="Rank IC out of fold with news and without, and the paired difference")
    for name in ("label", "model", "with", "without", "with - without", "t", "dates"):
        result.add_column(name, justify="left" if name in ("label", "model") else "right")
    for (label, model), one in rows.items():
        means = [mean_of(found[news][model], label) for news in (True, False)]
        interval = f"{one.mean:+.3f} {format_interval(one.ci_low, one.ci_high, 3)}"
        result.add_row(label, model, *means, interval, f"{one.t_stat:+.1f}", str(one.num_dates))
    return result


def mean_of(frame: pd.DataFrame, label: str) -> str:
    """Return the mean rank IC of a label."""
    return f"{frame.loc[frame['label'] == label, 'rank_ic'].mean():+.3f}"


def verdict(rows: Mapping[tuple[str, str], ICSummary], config: EvaluateParams) -> str:
    """Return how many intervals lie on either side of 0, and how many would by chance."""
    better, worse = sum(one.ci_low > 0 for one in rows.values()), sum(one.ci_high < 0 for one in rows.values())
    chance = len(rows) * (1 - config.confidence) / 2
    return (
        f"News help in {better} and harm in {worse} of {len(rows)} comparisons by their intervals; without any effect "
        f"{chance:.1f} on either side are expected"
    )


if __name__ == "__main__":
    run("news-effect", main)
