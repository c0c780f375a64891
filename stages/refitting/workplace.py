"""Where a refit is trained: a folder in which the very stages of the run go over one fold.

Stages read params.yaml, plans and results of the folder that they are run in, so the recipe is not written twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from factor_data import Fold, write_folds, write_sums
from stages import ROOT
from stages.fitting.before import BEFORE, FOLDS
from stages.running.files import CHECKPOINTS, RESULTS, stored
from stages.running.planned import MADE_OF, PLANS
from stages.running.stage import StageError
from stages.running.starter import LAUNCHER


def train_in(folder: Path, fold: Fold, members: Mapping[str, Path], before: Sequence[Fold]) -> Path:
    """Run tokenize, tokenize_kline, inputs and the training of some models on one fold; return their results.

    `members` are the folders of the judged ones by model, `before` the folds of the run up to theirs: with train.start
    the training goes on from them, and train.replay says how many of their dates come again. Checkpoints lie where
    those of the run do, so a refit that was killed goes on from them.
    """
    prepare(folder, fold)
    hand_over(folder / BEFORE, members, before)
    for command in (["tokenize_features"], ["tokenize_kline"], ["inputs"], *(["train", name] for name in members)):
        run_stage(folder, command)
    return folder / RESULTS


def prepare(folder: Path, fold: Fold) -> None:
    """Make the folder what stages expect: all that lies in the checkout, but results with one fold."""
    folder.mkdir(parents=True)
    for path in sorted(Path.cwd().iterdir()):
        if path.name not in (RESULTS.name, folder.name) and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    CHECKPOINTS.mkdir(exist_ok=True)
    (folder / CHECKPOINTS).symlink_to(CHECKPOINTS.resolve())
    if MADE_OF.is_file():  # what the plans were made of, by which a stage that is started by hand trusts them
        (folder / MADE_OF).parent.mkdir()
        shutil.copyfile(MADE_OF, folder / MADE_OF)
    shutil.copytree(PLANS, folder / PLANS)
    split = folder / RESULTS / "split"
    split.mkdir()
    (split / "panel").symlink_to((RESULTS / "split" / "panel").resolve())
    shutil.copyfile(stored("split", "news.parquet"), split / "news.parquet")
    write_folds(split / "folds.json", [fold])
    write_sums(split)


def hand_over(folder: Path, members: Mapping[str, Path], before: Sequence[Fold]) -> None:
    """What was judged, where `stages.fitting.before` looks for it."""
    folder.mkdir()
    write_folds(folder / FOLDS, before)
    for name, member in members.items():
        (folder / name).symlink_to(member.resolve())


def run_stage(folder: Path, command: Sequence[str]) -> None:
    """Run a stage there, its words on this terminal; StageError where it fails, with its message above."""
    stage, *arguments = command
    code = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": code, LAUNCHER: str(os.getpid())}
    process = subprocess.Popen([sys.executable, "-m", f"stages.{stage}", *arguments], cwd=folder, env=environment)
    try:
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if status:
        raise StageError(f"refit: {' '.join(command)} ended with status {status}: its message is above")
