"""The four flows of docs/flows at a real size, each from nothing to the report, as its page tells a user to go.

    python -m studies.flows [news direction_hourly ...] [--cost] [--anew]

A clone of the last commit under .studies/flows/<name>, the preset, the simulated market written in the layout of that
flow, import, `dvc repro`, and for news `news_effect`. Writes docs/results/flows.md. What has been done is not done
again: a study that was interrupted goes on with the commit that it was begun with; `--anew` begins again.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages import ROOT
from stages.commands.preset import write
from stages.json_files import read_json, write_json
from stages.params.reading import read_document
from studies.flows_page import IMAGES, page, picture_of, result_of
from studies.workspace import STUDIES

PAGE = ROOT / "docs" / "results" / "flows.md"
RESULTS = PAGE.with_suffix(".json")
"""Name -> numbers of every flow that has been run somewhere: who runs one keeps those of the others."""
DONE = Path("done")
COSTS = Path("costs.json")
LAST = "picture"
"""The last step of a flow."""
PACKAGES = [ROOT / "packages" / name / "src" for name in ("data", "metrics", "models", "experiments", "serve")]


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A flow at its real size."""

    symbols: int
    days: int
    seed: int
    """Seed of the market; models have those of the preset."""
    cpu_minutes: float
    """What it took when it was measured, on one core of a server of 2 to 3 GHz; doubled is a safe plan."""
    settings: Mapping[str, Any]
    """Laid over the preset."""
    cut: str
    """What of a full run these settings leave out."""
    also: str = ""
    """A module to run after the report."""


FLOWS = {
    "news": Flow(
        symbols=50,
        days=700,
        seed=37,
        cpu_minutes=3,
        settings={"models": ["linear", "lightgbm", "lstm", "stocknet"], "train": {"epochs": 3, "threads": 1}},
        cut="four of the preset's thirteen models, 3 epochs in the place of 12",
        also="stages.commands.news_effect",
    ),
    "direction_hourly": Flow(
        symbols=6,
        days=330,
        seed=7,
        cpu_minutes=9,
        settings={
            "train": {"precision": "fp32"},
            "zoo": {"lstm": {"train": {"threads": 1}}, "tft": {"train": {"threads": 1, "epochs": 2}}},
        },
        cut="fp32 in the place of bf16, in which a CPU with AVX2 alone is 2 to 5 times slower; 2 epochs of the TFT in "
        "the place of 4",
    ),
    "factors_daily": Flow(
        symbols=500,
        days=1500,
        seed=7,
        cpu_minutes=16,
        settings={
            "models": ["linear", "lightgbm", "tcn_attention", "lstm"],
            "split": {"folds": {"train": 1000, "valid": 200, "test": 500, "step": 500}},
            "train": {"epochs": 1, "patience": 1, "threads": 1},
        },
        cut="one epoch in the place of eight",
    ),
    "kline": Flow(
        symbols=50,
        days=250,
        seed=37,
        cpu_minutes=8,
        settings={
            "tokenize_kline": {"every": 48, "epochs": 4, "batch_dates": 1, "threads": 1},
            "train": {"threads": 1},
            "zoo": {"kronos": {"train": {"epochs": 3, "batch_dates": 1}}},
        },
        cut="4 and 3 epochs in the place of 20 and 15",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FLOWS)}; all where none is named")
    parser.add_argument("--cost", action="store_true", help="say what it will take, and run nothing")
    parser.add_argument("--anew", action="store_true", help="throw away what is there of these flows")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    names = options.names or list(FLOWS)
    if unknown := set(names) - set(FLOWS):
        parser.error(f"there is no flow {min(unknown)!r}, only {', '.join(FLOWS)}")
    print(cost_of(names), flush=True)
    if options.cost:
        return
    for name in names:
        study = FlowStudy(name, FLOWS[name], STUDIES / "flows" / name)
        if options.anew:
            shutil.rmtree(study.folder, ignore_errors=True)
        results = known_results() | {name: study.run()}
        write_json(RESULTS, {known: results[known] for known in FLOWS if known in results})
        PAGE.write_text(page(FLOWS, results), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}", flush=True)


def cost_of(names: Sequence[str]) -> str:
    """What these flows are expected to take, before anything is done; those that are done take nothing."""
    left = [name for name in names if not (STUDIES / "flows" / name / DONE / LAST).exists()]
    hours = sum(FLOWS[name].cpu_minutes for name in left) / 60.0
    each = ", ".join(f"{name} {FLOWS[name].cpu_minutes / 60.0:.2f}" for name in left)
    return f"Hours of CPU expected: {hours:.2f} ({each or 'all has been run'}); an interrupted run has less left"


def known_results() -> dict[str, Any]:
    """Name -> what came out, of the flows that have been run to their end."""
    found: dict[str, Any] = read_json(RESULTS) if RESULTS.is_file() else {}
    return found


class FlowStudy:
    """One flow in a clone of its own; each step is done once, and what it took is kept."""

    def __init__(self, name: str, flow: Flow, folder: Path) -> None:
        self.name, self.flow, self.folder = name, flow, folder
        self.clone = folder / "factorcast"
        self.source = Path("build") / name

    def run(self) -> dict[str, Any]:
        """Do all steps that are left; return what came out."""
        size = [f"--{key}={getattr(self.flow, key)}" for key in ("symbols", "days", "seed")]
        picture = str(IMAGES / picture_of(self.name))
        self.once("clone", self.make_clone)
        self.once("preset", self.lay_preset)
        self.once("simulate", lambda: self.command("factor_data", "simulate", self.name, str(self.source), *size))
        self.once("import", lambda: self.command("stages.commands.use_data", str(self.source)))
        self.once("repro", self.reproduce)
        if self.flow.also:
            self.once(self.flow.also.rpartition(".")[2], lambda: self.command(self.flow.also))
        self.once(LAST, lambda: self.command("factor_metrics.cli", "report", "results/stack", "--png", picture))
        return result_of(self.clone, asdict(self.flow), self.costs())

    def once(self, step: str, work: Callable[[], None]) -> None:
        """Do a step unless it has been; note the wall and CPU seconds of each attempt, also of one that fails."""
        done = self.folder / DONE / step
        if done.exists():
            return
        print(f"{self.name}: {step} ...", flush=True)
        started, before = time.monotonic(), cpu_seconds()
        try:
            work()
        finally:
            costs = self.costs()
            wall, cpu = costs.get(step, (0.0, 0.0))
            costs[step] = (wall + time.monotonic() - started, cpu + cpu_seconds() - before)
            write_json(self.folder / COSTS, costs)
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
        wall, cpu = costs[step]
        print(f"{self.name}: {step} took {cpu:.0f} s of CPU, {wall:.0f} s in all", flush=True)

    def costs(self) -> dict[str, tuple[float, float]]:
        """Step -> wall and CPU seconds so far."""
        file = self.folder / COSTS
        return {step: (wall, cpu) for step, (wall, cpu) in read_json(file).items()} if file.is_file() else {}

    def make_clone(self) -> None:
        shutil.rmtree(self.clone, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.clone)], check=True)

    def lay_preset(self) -> None:
        """The preset as it is, then the settings of this study."""
        self.command("stages.commands.preset", self.name)
        with chdir(self.clone):
            write(self.flow.settings)

    def reproduce(self) -> None:
        """`dvc repro`, with a line before each stage: how many there are, and how long it is expected to take."""
        models: list[str] = read_document(self.clone / "params.yaml")["models"]
        total, number = count_stages(read_document(self.clone / "dvc.yaml"), models), 0
        started = time.monotonic()
        with subprocess.Popen(
            ["dvc", "repro"], cwd=self.clone, env=self.environment(), stdout=subprocess.PIPE, text=True,
            start_new_session=True,
        ) as process:  # fmt: skip
            try:
                for line in process.stdout or ():
                    if found := STAGE_LINE.match(line):
                        number += 1
                        minutes = (time.monotonic() - started) / 60.0
                        print(
                            f"{self.name} [{number}/{total}] {found['stage']}: {minutes:.0f} min so far, "
                            f"{self.flow.cpu_minutes:.0f} min of CPU expected in all",
                            flush=True,
                        )
                    elif line.strip():
                        print(line, end="", flush=True)
            except BaseException:  # Ctrl-C or SIGTERM: the stage that runs ends as well, and is counted
                os.killpg(process.pid, signal.SIGTERM)
                raise
        if process.returncode:
            raise SystemExit(
                f"{self.name}: dvc repro ended with {process.returncode} in {self.clone}; its message is above"
            )

    def command(self, module: str, *arguments: str) -> None:
        """Run a module of the clone; what it prints is shown, and its failure ends the study."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments], cwd=self.clone, env=self.environment(), check=False
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: {module} ended with {done.returncode} in {self.clone}")

    def environment(self) -> dict[str, str]:
        """The programs of this interpreter, and the code of the clone before any that is installed."""
        code = [str(self.clone), *(str(self.clone / path.relative_to(ROOT)) for path in PACKAGES)]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        return {**os.environ, "PATH": path, "PYTHONPATH": os.pathsep.join(code)}


STAGE_LINE = re.compile(r"(Running stage|Stage) '(?P<stage>[^']+)'")
"""What dvc says of a stage that it runs, or passes over."""


def count_stages(document: Mapping[str, Any], models: Sequence[str]) -> int:
    """Number of stages of the map: one per model where it has a matrix."""
    return sum(len(models) if "matrix" in stage else 1 for stage in document["stages"].values())


def cpu_seconds() -> float:
    """User and system time of all processes that this one has waited for, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
