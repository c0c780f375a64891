"""Tomorrow's forecasts of 1,000 symbols: a new date given to a Forecaster, against pyqlib's way of getting the same.

Ours are `Forecaster.update` of the default stack's shape (the models of params.yaml, news, three labels), and of
LightGBM on Alpha158 alone, which is what the peer does: its handler is made anew over the bars up to the new date, the
processors run, and the fitted model predicts that date. The handler is made over all bars, and over the last 80 dates,
the least that its longest window needs. Its bars lie in its store beforehand, so that writing them costs it nothing.

The default stack is measured a second time with its members as ONNX graphs, which need no torch. Of both it is told
which part of an update takes how much, the members one by one.

Members are trained on a small simulated market: their sizes decide the time, their weights do not. The two sides are
processes that run one after the other, one thread each; CPU seconds, and wall seconds beside them.

    python benchmarks/bench_serve.py --peer PYTHON       the interpreter that has pyqlib; default: this one
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from instruction_set import print_instruction_set

ROOT = Path(__file__).resolve().parents[1]
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
SYMBOLS, BARS, NEW_DATES, PEER_DATES = 1000, 300, 60, 3
SHORT = 80  # dates: Alpha158 looks 60 bars back


def default_models() -> list[str]:
    """The models that params.yaml lists."""
    from stages.params.reading import read_document

    models: list[str] = read_document(ROOT / "params.yaml")["models"]
    return models


def write_bundle(folder: Path, changes: dict[str, Any], models: list[str]) -> Path:
    """Run the stages on a small market with the default sizes of the models; return the bundle."""
    import yaml

    from stages.params.overlays import overlay
    from stages.params.reading import read_document

    document = read_document(ROOT / "params.yaml")
    small = {
        "sample": {"symbols": 60, "bars": 400},
        "split": {"folds": {"train": 220, "valid": 40, "test": 40, "step": 40, "embargo": 2}},
        "evaluate": {"min_symbols": 10, "bootstrap": 200},
        "train": {"epochs": 1, "threads": 1},
        "zoo": {"kronos": {"train": {"epochs": 1, "batch_dates": 20}}, "lru": {"train": {"epochs": 1}}},
        "tokenize_kline": {"epochs": 1, "threads": 1},
        "models": models,
    }
    bundle = folder / "results" / "stack" / "bundle"
    if bundle.exists():
        return bundle
    (folder / "results" / "sample").mkdir(parents=True)
    (folder / "data").symlink_to(Path("results") / "sample")
    text = yaml.safe_dump(overlay(overlay(document, small), changes), sort_keys=False)
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    for stage in ("plan", "sample", "split", "tokenize_features", "tokenize_kline", "inputs"):
        run(folder, stage)
    for stage in ("train", "evaluate"):
        for model in models:
            run(folder, stage, model)
    run(folder, "stack")
    return bundle


def write_export(bundle: Path, folder: Path) -> Path:
    """The bundle's members as graphs; ours of it shows ONNX Runtime beside torch."""
    if not folder.exists():
        command = [sys.executable, "-m", "factor_serve", "export", str(bundle), "--onnx", "--out", str(folder)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def run(folder: Path, stage: str, *arguments: str) -> None:
    """Run a stage in a folder; its message where it fails."""
    command = [sys.executable, "-m", f"stages.{stage}", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")


def write_bars(folder: Path) -> None:
    """The market that is forecast: bars and news of 1,000 symbols."""
    from factor_data import MarketConfig, simulate_market

    market = simulate_market(MarketConfig(symbols=SYMBOLS, bars=BARS, seed=11))
    market.bars.to_parquet(folder / "bars.parquet")
    market.news.to_parquet(folder / "news.parquet")


class Parts:
    """CPU seconds of the parts of an update, by timers around the functions that are one each."""

    def __init__(self, bundle: Any) -> None:
        from factor_serve import forecaster, forecasts
        from factor_serve.averages import Averages
        from factor_serve.forecaster import Forecaster

        self.seconds: dict[str, float] = {}
        self.updates: list[dict[str, float]] = []
        for part, owner, names in (
            ("arrival: frame to checked panel", forecaster, ("panel_of", "check_dates", "check_share", "with_zones")),
            ("cleaning", Forecaster, ("_cleaned",)),
            ("features", forecaster, ("on_calendar", "newest_values")),
            ("features: long averages", Averages, ("with_newest", "newest")),
            ("tone of news", Forecaster, ("_tone_of", "_with_news", "_trimmed")),
            ("normalising", forecaster, ("normalised",)),
            ("rows that members read", Forecaster, ("_last_rows",)),
            ("stacking", forecasts, ("_stacked",)),
            ("frame of the answer", forecasts, ("_frame",)),
        ):
            for name in names:
                setattr(owner, name, self.timed(getattr(owner, name), part))
        for name, member in bundle.members.items():
            object.__setattr__(member, "forecast", self.timed(member.forecast, f"member {name}"))

    def timed(self, function: Any, part: str) -> Any:
        def around(*arguments: Any, **named: Any) -> Any:
            started = time.process_time()
            try:
                return function(*arguments, **named)
            finally:
                self.seconds[part] = self.seconds.get(part, 0.0) + time.process_time() - started

        return around

    def end(self, whole: float) -> None:
        """End one update, which took `whole` seconds."""
        self.updates.append({**self.seconds, "the rest": whole - sum(self.seconds.values())})
        self.seconds = {}

    def medians(self) -> dict[str, float]:
        """Seconds of each part, the median of the updates; those without compiling."""
        kept = self.updates[3:]
        return {part: statistics.median(one.get(part, 0.0) for one in kept) for part in kept[-1]}


def ours(folder: Path, bundle: Path) -> dict[str, Any]:
    """Seconds of each update after the history, those of a start from a saved state, and the memory of the process."""
    started = time.perf_counter()
    from factor_serve import Forecaster, load_bundle

    forecaster = Forecaster(load_bundle(bundle))
    imported = time.perf_counter() - started
    bars, news = pd.read_parquet(folder / "bars.parquet"), pd.read_parquet(folder / "news.parquet")
    dates = np.sort(bars["timestamp"].unique())
    new = dates[-NEW_DATES:]
    state = folder / f"state-{'-'.join(bundle.relative_to(folder).parts)}"
    if state.exists():  # a restart: what counts is how soon the first new date is forecast
        started = time.perf_counter()
        forecaster = Forecaster.restore(forecaster.bundle, state)
        restored = time.perf_counter() - started
        started = time.perf_counter()
        forecaster.update(bars[bars["timestamp"] == new[-1]])
        first = time.perf_counter() - started
        return {"start": imported, "restore": restored, "first": first, "memory_mb": peak_memory()}
    cutoff = np.timedelta64(960, "m")
    started = time.perf_counter()
    known = news[news["timestamp"] <= new[0] - np.timedelta64(1, "D") + cutoff]
    forecaster.update(bars[bars["timestamp"] < new[0]], known)
    history = time.perf_counter() - started
    batches = [bars[bars["timestamp"] == date].reset_index(drop=True) for date in new]
    seconds, wall, parts = [], [], Parts(forecaster.bundle)
    for number, batch in enumerate(batches):
        if number == NEW_DATES - 1:
            forecaster.save(state)
        started, cpu = time.perf_counter(), time.process_time()
        said = forecaster.update(batch)
        seconds.append(time.process_time() - cpu)
        wall.append(time.perf_counter() - started)
        parts.end(seconds[-1])
        assert said["symbol"].nunique() > SYMBOLS // 2
    return {
        "seconds": seconds[3:],  # the first ones compile kernels
        "wall": wall[3:],
        "history": history,
        "parts": parts.medians(),
        "memory_mb": peak_memory(),
        "members": list(forecaster.bundle.members),
        "symbols": int(said["symbol"].nunique()),
    }


def peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def pyqlib(folder: Path, num_dates: int) -> dict[str, Any]:
    """Seconds of making the handler anew and predicting, over all bars and over the last ones."""
    from qlib_store import write_qlib_store

    from factor_data import Panel

    panel = Panel.from_frame(pd.read_parquet(folder / "bars.parquet"))
    write_qlib_store(panel, folder / "store")
    import lightgbm
    import qlib
    from qlib.config import C
    from qlib.contrib.data.handler import Alpha158
    from qlib.contrib.model.gbdt import LGBModel
    from qlib.data.cache import H
    from qlib.data.dataset import DatasetH
    from qlib.data.dataset.handler import DataHandlerLP

    qlib.init(provider_uri=str(folder / "store"), region="us", expression_cache=None, dataset_cache=None)
    C.joblib_backend, C.kernels = "threading", 1
    days = [str(date)[:10] for date in panel.dates]
    fitted = (days[70], days[80])

    def handler(first: str, last: str) -> Any:
        H.clear()
        return Alpha158(
            instruments="all", start_time=first, end_time=last, fit_start_time=fitted[0], fit_end_time=fitted[1],
            infer_processors=[{"class": "CSZScoreNorm", "kwargs": {"fields_group": "feature"}},
                              {"class": "Fillna", "kwargs": {"fields_group": "feature"}}],
        )  # fmt: skip

    fit_on = DatasetH(handler(days[5], fitted[1]), {"train": fitted})
    (train,) = fit_on.prepare(["train"], col_set=["feature", "label"], data_key=DataHandlerLP.DK_L)
    model = LGBModel(loss="mse")  # its own fit writes to a tracking server; its predict is what is measured
    settings = {"objective": "mse", "num_leaves": 15, "learning_rate": 0.1, "num_threads": 1, "verbosity": -1}
    model.model = lightgbm.train(
        settings, lightgbm.Dataset(train["feature"].values, train["label"].values.ravel()), 120
    )
    found: dict[str, list[float]] = {"all": [], "short": [], "all_wall": [], "short_wall": []}
    for place in range(len(days) - num_dates, len(days)):
        for kind, first in (("all", days[0]), ("short", days[place - SHORT])):
            started, cpu = time.perf_counter(), time.process_time()
            dataset = DatasetH(handler(first, days[place]), {"test": (days[place], days[place])})
            said = model.predict(dataset, segment="test")
            found[kind].append(time.process_time() - cpu)
            found[f"{kind}_wall"].append(time.perf_counter() - started)
            assert len(said) > SYMBOLS // 2
    return {**found, "memory_mb": peak_memory()}


def ask(interpreter: str, *arguments: str) -> dict[str, Any]:
    """One side, in a process of its own."""
    paths = [ROOT, *sorted((ROOT / "packages").glob("*/src"))]
    environment = os.environ | THREADS | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    command = [interpreter, str(Path(__file__).resolve()), *arguments]
    with tempfile.TemporaryDirectory() as aside:  # the peer leaves a folder of its tracking where it is started
        done = subprocess.run(command, cwd=aside, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{interpreter} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def milliseconds(seconds: list[float]) -> str:
    p50, p99 = (1000 * float(np.quantile(seconds, level)) for level in (0.5, 0.99))
    return f"p50 {p50:,.1f} ms, p99 {p99:,.1f} ms of {len(seconds)}"


def main(peer: str, work: str | None, peer_dates: int) -> None:
    print_instruction_set()
    with nullcontext(work) if work else tempfile.TemporaryDirectory(prefix="bench-serve-") as place:
        folder = Path(place).resolve()
        shutil.rmtree(folder / "store", ignore_errors=True)
        for left in folder.glob("state-*"):  # of a run before, in a folder that is kept
            left.unlink()
        default = default_models()
        alpha = {"tokenize": {"features": ["alpha158"], "use_news": False}}
        bundles = {
            "default stack": write_bundle(folder / "default", {}, default),
            "LightGBM on Alpha158": write_bundle(folder / "alpha158", alpha, ["lightgbm"]),
        }
        bundles["default stack as ONNX graphs"] = write_export(bundles["default stack"], folder / "onnx")
        write_bars(folder)
        mine = {name: ask(sys.executable, "--ours", str(folder), str(bundle)) for name, bundle in bundles.items()}
        again = {name: ask(sys.executable, "--ours", str(folder), str(bundle)) for name, bundle in bundles.items()}
        for name, one in mine.items():
            start = again[name]
            print(f"{name} ({', '.join(one['members'])}; {one['symbols']} symbols forecast)")
            print(f"  a new date, wall: {milliseconds(one['wall'])}; CPU: {milliseconds(one['seconds'])}")
            print(
                f"  cold start: import and load {start['start']:.2f} s, state {1000 * start['restore']:.0f} ms, first "
                f"date {1000 * start['first']:.0f} ms; memory {one['memory_mb']:.0f} MiB with the history, "
                f"{start['memory_mb']:.0f} MiB from a state"
            )
            print(*(f"    {1000 * spent:6.1f} ms  {part}" for part, spent in one["parts"].items()), sep="\n")
        theirs = ask(peer, "--pyqlib", str(folder), "--peer-dates", str(peer_dates))
    for kind, what in (("all", f"{BARS} dates"), ("short", f"{SHORT} dates")):
        median = statistics.median(theirs[kind])
        low, high = min(theirs[kind]), max(theirs[kind])
        wall, memory = statistics.median(theirs[f"{kind}_wall"]), theirs["memory_mb"]
        print(f"pyqlib over {what}: CPU {median:.2f} s ({low:.2f} .. {high:.2f}), wall {wall:.2f} s, {memory:.0f} MiB")
        for name, one in mine.items():
            print(f"  {median / statistics.median(one['seconds']):,.0f}x: {name}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", default=sys.executable, help="interpreter that has pyqlib")
    parser.add_argument("--work", metavar="FOLDER", help="an empty folder, in which trained members are kept")
    parser.add_argument("--peer-dates", type=int, default=PEER_DATES, help="dates that it forecasts, in two ways each")
    parser.add_argument("--ours", nargs=2, metavar=("FOLDER", "BUNDLE"), help=argparse.SUPPRESS)
    parser.add_argument("--pyqlib", metavar="FOLDER", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours:
        print(json.dumps(ours(*map(Path, arguments.ours))))
    elif arguments.pyqlib:
        print(json.dumps(pyqlib(Path(arguments.pyqlib), arguments.peer_dates)))
    else:
        sys.path[:0] = [str(ROOT), *map(str, sorted((ROOT / "packages").glob("*/src")))]
        main(arguments.peer, arguments.work, arguments.peer_dates)
