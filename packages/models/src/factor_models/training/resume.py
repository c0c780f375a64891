"""Continue a killed run: a folder per run, named by a hash of everything that decides its outcome.

A changed parameter, data file or source gives another key, so a stale state is never picked up. A checkpoint is one
file, `step_00000120.safetensors`, written aside and renamed, so it is whole or absent; it holds the state of engine,
loop and generators of every process, at any step. The newest few stay, and the best weights that they name
(`best_00000096.safetensors`). How many processes wrote it, and at which ZeRO stage, does not matter to who reads it.
A file whose content is not what was written (`factor_models.sealed`) is told of, deleted, and passed over.

The folder belongs outside the outputs of a run, and is deleted on success. Only the first process reads and writes.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import math
import re
import shutil
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from factor_models.sealed import DamagedError, seal, unseal
from factor_models.training.distributed import all_say, barrier, first_says, ranks
from factor_models.training.loop import Anchor, EpochRecord, FitState, StepRecord
from factor_models.training.schedules import Plateau
from factor_models.training.seed import random_state, restore_random_state
from factor_models.training.states import EngineState
from factor_models.whole_file import write_bytes

STEP_FILE = re.compile(r"step_(\d{8,})\.safetensors")

log = logging.getLogger(__name__)


class Resumable(Protocol):
    """Interface of an engine whose state can be saved."""

    step: int

    def state(self) -> EngineState:
        """Return all that `restore` needs. All processes must call it."""

    def restore(self, state: EngineState) -> None:
        """Go back to a state. All processes must call it."""


def run_key(**identity: Any) -> str:
    """Hash of what decides a run: parameters, hashes of data and code (JSON values)."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, allow_nan=False).encode()).hexdigest()[:32]


class RunFolder:
    """Checkpoints of one run under `root/key`, shared by all its processes; the newest `keep` stay."""

    def __init__(self, root: Path, key: str, keep: int = 2) -> None:
        if keep < 1:
            raise ValueError(f"keep = {keep}: must be >= 1")
        self.directory, self.keep = Path(root) / key, keep
        self._best_epochs: dict[int, int] = {}  # of the checkpoints that are known to be whole

    def shortages(self) -> int:
        """Return the number of measures against a lack of memory that earlier attempts had to take."""
        path = self.directory / "shortages"
        text = path.read_bytes() if path.is_file() else b"0"
        if path.exists() and not path.is_file():
            raise ValueError(f"{path} is no file: delete it")
        if not re.fullmatch(rb"\d{1,4}", text):
            raise ValueError(f"{path} holds {text[:20]!r}, no number of measures against a lack of memory: delete it")
        return int(text)

    def note_shortage(self) -> None:
        """The next attempt has to take one measure more. Any process may call it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        write_bytes(self.directory / "shortages", str(self.shortages() + 1).encode())

    def save(self, engine: Resumable, state: FitState) -> None:
        """Write engine, generators of all processes and loop state, then delete what is too old."""
        now = Anchor(engine=engine.state(), random=random_state())
        moments = {"now": now} if state.anchor is None or state.next_step == 0 else {"now": now, "anchor": state.anchor}
        random = all_say({name: moment.random for name, moment in moments.items()})
        if ranks().rank == 0:
            self.directory.mkdir(parents=True, exist_ok=True)
            self._write_best(state)
            tensors: dict[str, Tensor] = {}
            for name, moment in moments.items():
                tensors |= {f"{name}/engine/{key}": value for key, value in moment.engine.tensors.items()}
                for rank, states in enumerate(random):
                    tensors |= {f"{name}/random/{rank}/{key}": value for key, value in states[name].items()}
            content = _loop_content(state)
            content["numbers"] = {name: moment.engine.numbers for name, moment in moments.items()}
            content["world_size"] = ranks().world_size
            content |= {"run": self.directory.name, "step": engine.step}
            self._best_epochs[engine.step] = state.best_epoch
            write_bytes(self._path(engine.step), seal(tensors, {"state": json.dumps(content)}))
            self._delete_old()
        barrier()

    def restore(self, engine: Resumable) -> FitState | None:
        """Bring the engine back to the newest checkpoint; None without one. All processes must call it."""
        content, tensors, best = self._read_newest() if ranks().rank == 0 else (None, {}, {})
        content = first_says(content)
        if content is None:
            return None
        state = _loop_state(content)
        moments = {name: _moment(name, numbers, tensors) for name, numbers in content["numbers"].items()}
        for name, moment in moments.items():
            # A run of more processes than before: the further ones go on like the ones that were there.
            mine = first_says(_by_rank(name, tensors))
            moment.random.update(mine[str(ranks().rank % content["world_size"])])
        engine.restore(moments["now"].engine)
        restore_random_state(moments["now"].random)
        state.anchor = moments.get("anchor")
        state.best_weights = first_says(best)
        if content["world_size"] != ranks().world_size:
            state.notes.append(
                f"continued at step {engine.step} by {ranks().world_size} processes, begun by {content['world_size']}"
            )
        return state

    def delete(self) -> None:
        """Remove the folder: the run has succeeded. All processes must call it."""
        barrier()
        if ranks().rank == 0:
            shutil.rmtree(self.directory, ignore_errors=True)
        barrier()

    def steps(self) -> list[int]:
        """Steps that have a checkpoint, ascending; files with other names are none."""
        found = (STEP_FILE.fullmatch(path.name) for path in self.directory.glob("step_*.safetensors"))
        return sorted(int(name[1]) for name in found if name)

    def _path(self, step: int, kind: str = "step") -> Path:
        return self.directory / f"{kind}_{step:08d}.safetensors"

    def _write_best(self, state: FitState) -> None:
        path = self._path(state.best_epoch + 1, "best")
        if state.best_epoch >= 0 and not path.exists():
            write_bytes(path, seal(state.best_weights, self._identity(state.best_epoch)))

    def _read_newest(self) -> tuple[dict[str, Any] | None, dict[str, Tensor], dict[str, Tensor]]:
        """State, tensors and best weights of the newest checkpoint that can be read whole."""
        for step in reversed(self.steps()):
            read = self._read(step)
            if read is not None:
                return read
        return None, {}, {}

    def _read(self, step: int) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Tensor]] | None:
        """Return what a checkpoint holds and the best weights that it names; None, and no file, of a damaged one."""
        path, best = self._path(step), None
        try:
            tensors, texts = unseal(path)
            content = self._content(path, texts, step)
            weights: dict[str, Tensor] = {}
            if content["best_epoch"] >= 0:
                best = self._path(content["best_epoch"] + 1, "best")
                weights, texts = unseal(best)
                if texts != self._identity(content["best_epoch"]):
                    raise DamagedError(f"{best} cannot be read (it is of another run or epoch)")
        except DamagedError as error:
            log.warning("%s: the checkpoint before it is taken, or the beginning", error)
            _remove(path)
            if best is not None:
                _remove(best)
            return None
        self._best_epochs[step] = content["best_epoch"]
        return content, tensors, weights

    def _identity(self, best_epoch: int) -> dict[str, str]:
        """Return what a file of best weights says of itself: a name can be given to any file."""
        return {"run": self.directory.name, "epoch": str(best_epoch)}

    def _content(self, path: Path, texts: dict[str, str], step: int) -> dict[str, Any]:
        """Return the state of the loop that a checkpoint holds; DamagedError of another run's, step's or version's."""
        try:
            content: dict[str, Any] = json.loads(texts["state"])
            known = {key: content[key] for key in ("run", "step", "best_epoch", "numbers", "world_size")}
            _loop_state(content)
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(f"{path} cannot be read (it is of another version: {error!r})") from error
        if (known["run"], known["step"]) != (self.directory.name, step):
            raise DamagedError(f"{path} cannot be read (it is step {known['step']} of the run {known['run']})")
        return content

    def _delete_old(self) -> None:
        """Keep the newest checkpoints and the best weights that they name; of these all that are whole."""
        steps = self.steps()
        for step in steps[: -self.keep]:
            self._path(step).unlink()
        whole = [step for step in steps[-self.keep :] if step in self._best_epochs or self._read(step)]
        needed = {self._path(self._best_epochs[step] + 1, "best") for step in whole}
        for path in self.directory.glob("best_*.safetensors"):
            if path not in needed:
                path.unlink()
        for path in self.directory.glob(".*.safetensors.*"):  # half written, by a run that was killed
            path.unlink()


def _remove(path: Path) -> None:
    """Delete what lies under the name of a checkpoint, whatever it is."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _moment(name: str, numbers: dict[str, float], tensors: dict[str, Tensor]) -> Anchor:
    prefix = f"{name}/engine/"
    mine = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return Anchor(engine=EngineState(tensors=mine, numbers=numbers), random={})


def _by_rank(name: str, tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    prefix = f"{name}/random/"
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix):
            rank, kind = key.removeprefix(prefix).split("/")
            found.setdefault(rank, {})[kind] = value
    return found


def _loop_content(state: FitState) -> dict[str, Any]:
    return {
        "next_epoch": state.next_epoch,
        "next_step": state.next_step,
        "steps": [_without_nan(dataclasses.asdict(step)) for step in state.steps],
        "best_epoch": state.best_epoch,
        "best_score": _none_for_infinite(state.best_score),
        "history": [_without_nan(dataclasses.asdict(record)) for record in state.history],
        "plateau": {"best": _none_for_infinite(state.plateau.best), "num_bad": state.plateau.num_bad},
        "rollbacks": state.rollbacks,
        "notes": state.notes,
    }


def _loop_state(content: dict[str, Any]) -> FitState:
    plateau = content["plateau"]
    return FitState(
        next_epoch=content["next_epoch"],
        next_step=content["next_step"],
        steps=[StepRecord(**_with_nan(step)) for step in content["steps"]],
        best_epoch=content["best_epoch"],
        best_score=_infinite_for_none(content["best_score"]),
        history=[EpochRecord(**_with_nan(record)) for record in content["history"]],
        plateau=Plateau(best=_infinite_for_none(plateau["best"]), num_bad=plateau["num_bad"]),
        rollbacks=content["rollbacks"],
        notes=content["notes"],
    )


def _none_for_infinite(value: float) -> float | None:
    return None if value == -math.inf else value


def _infinite_for_none(value: float | None) -> float:
    return -math.inf if value is None else value


def _without_nan(record: dict[str, Any]) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in record.items()}


def _with_nan(record: dict[str, Any]) -> dict[str, Any]:
    return {key: float("nan") if value is None else value for key, value in record.items()}
