"""`factor-serve shadow` logs forecasts and judges them when labels are known; `compare` sets two logs side by side."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factor_data.whole_file import write_bytes
from factor_metrics import ICSummary, format_interval, to_json_safe
from factor_serve.bundle import Bundle
from factor_serve.forecasts import STACK, members_for
from factor_serve.shadow.log import Log, append, held, read_log
from factor_serve.stamps import without_zone


def add_shadow_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `shadow`."""
    parser.add_argument("--news", metavar="PATH", help="news documents, where the bundle reads news; none: no news")
    parser.add_argument("--log", metavar="FILE", required=True, help="a .jsonl file: made, or gone on with")
    parser.add_argument("--since", metavar="DATE", help="a new log begins with this date (default: the last one)")
    parser.add_argument("--page", metavar="FILE", help="write an HTML page that opens offline")
    parser.add_argument("--window", type=int, metavar="DATES", help="last dates that all but the IC are judged on (20)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--unpromoted", action="store_true", help="also if the stack has not passed its gates")


def run_shadow(options: argparse.Namespace) -> int:
    """Log the dates that have come since, and labels that are known now, and judge; status 1 on an alarm."""
    from factor_serve.cli import served

    if options.window is not None and options.window < 1:
        raise ValueError(f"--window {options.window}: must be >= 1")
    path = _log_path(options.log)
    bundle = served(options.bundle, options.unpromoted, options.sha256)
    members_for(bundle, STACK)  # which an export may have no graph of
    with held(path):
        return _run_shadow(options, bundle, path)


def _run_shadow(options: argparse.Namespace, bundle: Bundle, path: Path) -> int:
    from factor_serve.arrivals import panel_of
    from factor_serve.shadow.judge import Rules, judge, reference_of
    from factor_serve.shadow.observe import forecast_records, label_records, observe, unknowable
    from factor_serve.shadow.page import shadow_page
    from factor_serve.sources import bars_of, news_of

    log = read_log(path)
    if log.bundle not in (None, bundle.identity):
        raise ValueError(f"--log {path}: is of the bundle {log.bundle}, this one is {bundle.identity}: name another")
    panel = panel_of(bars_of(options.bars, options.layout, options.map))
    seen = observe(bundle, panel, news_of(options.news, bundle, panel))
    records = forecast_records(seen, _new_dates(panel.dates, log, options.since))
    for record in records:
        log.add(record)
    labels = label_records(seen, log)
    for record in labels:
        log.add(record)
    if records or labels:
        append(path, [*records, *labels])
    if not log.forecasts:
        raise ValueError("there is no date to log: cleaning has left no bar of the dates that were asked for")
    judged = judge(log, reference_of(bundle), Rules(**({} if options.window is None else {"window": options.window})))
    if options.page:
        write_bytes(options.page, shadow_page(judged, f"Shadow of {bundle.identity[:12]}").encode())
    for name in unknowable(seen):
        print(f"note: {name} is made of a column that these bars have not: its IC stays unknown", file=sys.stderr)
    if options.json:
        print(json.dumps(judged.document(), indent=2))
    else:
        print(f"{len(records)} dates and {len(labels)} labels added to {path}")
        print("\n".join(f"{one.state:<8}{one.name:<16}{one.found}" for one in judged.findings))
    return 1 if judged.alarm else 0


def _new_dates(dates: NDArray[np.datetime64], log: Log, since: str | None) -> NDArray[np.datetime64]:
    """Dates that are to be logged: those after the log's last, else from `since` on, else the last one."""
    if log.dates:
        return dates[dates > np.datetime64(log.dates[-1], "ns")]
    return dates[-1:] if since is None else dates[dates >= without_zone(since, "--since")]


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `compare`."""
    parser.add_argument("champion", metavar="CHAMPION", help="log of `factor-serve shadow`")
    parser.add_argument("challenger", metavar="CHALLENGER", help="log of another bundle on the same bars")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run_compare(options: argparse.Namespace) -> int:
    """Print challenger less champion for each label, on the same dates and symbols, with the paired interval."""
    from factor_serve.shadow.judge import paired

    logs = [read_log(_log_path(one)) for one in (options.champion, options.challenger)]
    for log, name in zip(logs, (options.champion, options.challenger), strict=True):
        if not log.forecasts:
            raise ValueError(f"{name}: has no forecast")
    labels = [label for label in logs[0].label_names if label in logs[1].label_names]
    if not labels:
        raise ValueError(f"the logs have no label in common: {logs[0].label_names} and {logs[1].label_names}")
    found = {label: paired(logs[0], logs[1], label, logs[0].overlaps[label]) for label in labels}
    if not any(difference.num_dates for difference, _, _ in found.values()):
        raise ValueError("the two logs have no date in common whose label is known")
    if options.json:
        document = {label: _document(*one) for label, one in found.items()}
        print(json.dumps(to_json_safe(document), indent=2))
        return 0
    for label, (difference, champion, challenger) in found.items():
        print(
            f"{label:<8}champion {champion.mean:+.4f}, challenger {challenger.mean:+.4f}: difference "
            f"{difference.mean:+.4f} {format_interval(difference.ci_low, difference.ci_high)} over "
            f"{difference.num_dates} dates: {verdict(difference)}"
        )
    return 0


def verdict(difference: ICSummary) -> str:
    """Return in words which of two is better, if that is more than chance."""
    if difference.ci_low > 0.0:
        return "the challenger is better"
    return "the champion is better" if difference.ci_high < 0.0 else "not told apart"


def _document(difference: ICSummary, champion: ICSummary, challenger: ICSummary) -> dict[str, Any]:
    return {
        "difference": asdict(difference),
        "champion": champion.mean,
        "challenger": challenger.mean,
        "verdict": verdict(difference),
    }


def _log_path(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".jsonl":
        raise ValueError(f"{path}: must end in .jsonl")
    if not path.parent.is_dir():
        raise ValueError(f"{path}: the folder {path.parent} does not exist")
    return path
