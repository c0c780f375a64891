"""Continue a killed run: a folder per run, named by a hash of everything that decides its outcome.

A changed parameter, data file or source gives another key, so a stale state is never picked up. The folder
holds the state after the last whole epoch: a state is written beside the old one and renamed into place. It
belongs outside the outputs of a run, and is deleted on success. Its files are DeepSpeed's own and only meant
for the machine that wrote them.
"""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from safetensors.torch import load, save

from factor_models.training.loop import EpochRecord, FitState
from factor_models.training.seed import random_state, restore_random_state
from factor_models.writing import write_bytes, write_json


class Resumable(Protocol):
    """What is asked of an engine."""

    def save(self, directory: Path) -> None: ...

    def load(self, directory: Path) -> None: ...


def run_key(**identity: Any) -> str:
    """Hash of what decides a run: parameters, hashes of data and code, number of processes (JSON values)."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, allow_nan=False).encode()).hexdigest()[:32]


class RunFolder:
    """State of one run under `root/key`, shared by all its processes."""

    def __init__(self, root: Path, key: str) -> None:
        self.directory = Path(root) / key

    def save(self, engine: Resumable, state: FitState) -> None:
        """Write engine, generators and loop state of all processes, then replace the previous state."""
        new, current, old = (self.directory / name for name in ("new", "current", "old"))
        if _rank() == 0:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
        _barrier()
        engine.save(new / "engine")
        write_bytes(new / f"random_{_rank()}.safetensors", save(random_state()))
        if _rank() == 0:
            _write_state(new, state)
        _barrier()
        if _rank() == 0:
            _replace_folder(new, current, old)
        _barrier()

    def restore(self, engine: Resumable) -> FitState | None:
        """Bring the engine back to the last saved epoch; None without one. All processes must call it."""
        current, old = self.directory / "current", self.directory / "old"
        if _rank() == 0 and old.exists() and not current.exists():
            old.rename(current)  # killed between the two renames of a save
        _barrier()
        if not current.exists():
            return None
        engine.load(current / "engine")
        restore_random_state(load((current / f"random_{_rank()}.safetensors").read_bytes()))
        return _read_state(current)

    def delete(self) -> None:
        """Remove the folder: the run has succeeded. All processes must call it."""
        _barrier()
        if _rank() == 0:
            shutil.rmtree(self.directory, ignore_errors=True)
        _barrier()


def _replace_folder(new: Path, current: Path, old: Path) -> None:
    shutil.rmtree(old, ignore_errors=True)
    if current.exists():
        current.rename(old)
    new.rename(current)
    handle = os.open(current.parent, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)
    shutil.rmtree(old, ignore_errors=True)


def _write_state(directory: Path, state: FitState) -> None:
    history = [_without_nan(dataclasses.asdict(record)) for record in state.history]
    best_score = None if state.best_epoch < 0 else state.best_score
    content = {
        "next_epoch": state.next_epoch,
        "best_epoch": state.best_epoch,
        "best_score": best_score,
        "history": history,
    }
    write_bytes(directory / "best.safetensors", save(state.best_weights))
    write_json(directory / "state.json", content)


def _read_state(directory: Path) -> FitState:
    content = json.loads((directory / "state.json").read_text())
    history = [EpochRecord(**_with_nan(record)) for record in content["history"]]
    best_weights: dict[str, torch.Tensor] = load((directory / "best.safetensors").read_bytes())
    return FitState(
        next_epoch=content["next_epoch"],
        best_epoch=content["best_epoch"],
        best_score=float("-inf") if content["best_score"] is None else content["best_score"],
        best_weights=best_weights,
        history=history,
    )


def _without_nan(record: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in record.items()}


def _with_nan(record: dict[str, Any]) -> dict[str, Any]:
    return {key: float("nan") if value is None else value for key, value in record.items()}


def _rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def _barrier() -> None:
    if dist.is_initialized():
        dist.barrier()
