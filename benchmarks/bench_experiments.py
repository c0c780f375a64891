"""CPU seconds of `factor-exp` in a repository with many experiments, built for real: git commits, lock files, tables.

`python benchmarks/bench_experiments.py [experiments]`: each changes one model of seven and the stack; 1,000 dates and
three labels. The lock file is that of the default run. Built in a temporary folder; 200 take some minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from instruction_set import print_instruction_set

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from experiments_samples import Fabricated, make_repository, table  # noqa: E402 -- beside the tests that use it

NUM_DATES, LABELS = 1000, {"h1": 1, "h5": 5, "h20": 20}
DATES = np.arange("2018-01-01", "2024-01-01", dtype="datetime64[D]")[:NUM_DATES]
MODELS = ("linear", "lightgbm", "lstm", "tcn_attention", "token_transformer", "kronos")


def some_table(generator: np.random.Generator) -> bytes:
    series = {label: 0.02 + 0.1 * generator.normal(size=NUM_DATES) for label in LABELS}
    return table(series, DATES, overlaps=LABELS)


def build(path: Path, number: int) -> Fabricated:
    """A base commit, and experiments on top of it as DVC names them."""
    made, generator = make_repository(path), np.random.default_rng(0)
    tables = {name: some_table(generator) for name in (*MODELS, "stack")}
    rest = (ROOT / "dvc.lock").read_text(encoding="utf-8")
    others = re.sub(r"^  (evaluate@\S+|stack):\n(?:    .*\n|  - .*\n)*", "", rest, flags=re.MULTILINE)
    others = others.split("stages:\n", 1)[1]

    def write() -> None:
        made.results(tables)
        with (path / "dvc.lock").open("a", encoding="utf-8") as file:
            file.write(others)

    write()
    base = made.commit("base")
    for position in range(number):
        tables |= {MODELS[position % len(MODELS)]: some_table(generator), "stack": some_table(generator)}
        write()
        (path / "params.yaml").write_text(f"train:\n  lr: {position}\n")
        commit = made.commit(f"experiment {position}")
        made.run("git", "update-ref", f"refs/exps/{base[:2]}/{base[2:]}/exp-{position}", commit)
        made.run("git", "reset", "--quiet", "--hard", base)
    return made


def measured(made: Fabricated, *arguments: str) -> str:
    """CPU seconds of the command with all processes that it starts."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", "factor_experiments.cli", "-C", str(made.path), *arguments],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return f"{seconds:.1f} CPU s"


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print_instruction_set()
    with tempfile.TemporaryDirectory() as folder:
        made = build(Path(folder) / "repository", number)
        page = str(Path(folder) / "page.html")
        print(f"{number} experiments, {2 * number + len(MODELS) + 1} trials, {NUM_DATES:,} dates, {len(LABELS)} labels")
        print(f"trials, the ledger empty: {measured(made, 'trials', '--page', page)}")
        print(f"trials, the ledger full: {measured(made, 'trials', '--page', page)}")
        last = f"exp-{number - 1}"
        print(f"compare of two experiments: {measured(made, 'compare', 'exp-0', last, '--page', page)}")
        print(f"board: {measured(made, 'board', str(Path(folder) / 'board'))}")
        size = sum(file.stat().st_size for file in (made.path / ".git" / "objects").rglob("*") if file.is_file())
        print(f"git objects: {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
