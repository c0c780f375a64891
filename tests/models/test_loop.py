"""Loop, model folders and run folders, with an engine made of ten lines: no DeepSpeed."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file as read_tensors
from safetensors.torch import save_file as write_tensors

from factor_models import (
    FitState,
    Rules,
    RunFolder,
    StepRecord,
    build_model,
    fit,
    gather_predictions,
    load_model,
    predict,
    run_key,
    save_model,
    set_seed,
)
from factor_models.sealed import seal
from factor_models.training.inputs import Batch, micro_batches, tensor_batch
from factor_models.training.loop import EpochRecord
from factor_models.training.states import EngineState

CONFIG = {"name": "lstm", "num_features": 4, "num_horizons": 2, "lookback": 3, "hidden": 5}


class CountingEngine:
    """Its only weight counts the steps."""

    lr = 0.1
    lr_factor = 1.0

    def __init__(self, losses: Any = None) -> None:
        self.step = 0
        self.losses = losses

    def train_step(self, batch: Batch) -> Any:
        self.step += 1
        loss = 1.0 / self.step if self.losses is None else self.losses[self.step - 1]
        return StepRecord(loss=loss, terms={"half": loss / 2, "rest": loss / 2})

    def votes(self, vote: Any) -> Any:
        return int(vote)

    def state(self) -> Any:
        return EngineState(tensors={"weights/steps": torch.tensor(float(self.step))}, numbers={})

    def restore(self, state: Any) -> None:
        self.step = int(state.tensors["weights/steps"])

    def full_state_dict(self) -> Any:
        return {"steps": torch.tensor(float(self.step))}

    def current_model(self) -> Any:
        return self.full_state_dict()["steps"]


def run(scores: Any, *, epochs: int = 10, patience: int = 2, engine: Any = None, **more: Any) -> Any:
    engine = CountingEngine() if engine is None else engine
    scores = iter(scores)
    return fit(
        engine,
        lambda epoch, start_step: [1, 2][start_step:],
        lambda model: next(scores),
        Rules(epochs=epochs, patience=patience),
        **more,
    )


def test_training_stops_after_patience_epochs_and_returns_the_best_weights() -> None:
    result = run([0.1, 0.3, 0.2, 0.25, 9.0])
    assert (result.best_epoch, result.best_score) == (1, 0.3)
    assert result.state_dict["steps"] == 4.0
    assert [record.score for record in result.history] == [0.1, 0.3, 0.2, 0.25]
    assert result.history[0].loss == pytest.approx((1 + 1 / 2) / 2)


def test_an_equal_score_is_not_better() -> None:
    assert run([0.3, 0.3, 0.3]).best_epoch == 0


def test_a_nan_score_is_the_worst() -> None:
    assert run([math.nan, -5.0, math.nan, math.nan]).best_epoch == 1


def test_scores_that_are_always_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="score was NaN after each of 2 epochs: predictions are constant"):
        run([math.nan] * 5)


def test_epochs_without_batches_and_settings_below_one_are_refused() -> None:
    with pytest.raises(ValueError, match="epoch 0 has no training batch"):
        fit(CountingEngine(), lambda epoch, step: [], lambda model: 0.0, Rules(epochs=1, patience=1))
    with pytest.raises(ValueError, match="patience = 0: must be >= 1"):
        run([], patience=0)


def test_callbacks_see_each_step_and_epoch() -> None:
    steps, epochs = [], []
    run(
        [0.1, 0.2],
        epochs=2,
        on_step=[lambda step, state: steps.append((state.next_epoch, state.next_step))],
        on_epoch=[lambda record, state: epochs.append((record.epoch, state.best_epoch))],
    )
    assert steps == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert epochs == [(0, 0), (1, 1)]


def test_a_run_folder_brings_back_engine_generators_and_loop_state(tmp_path: Path) -> None:
    folder, engine = RunFolder(tmp_path, run_key(lr=0.1)), CountingEngine()
    drawn = []
    run(
        [0.3, math.nan],
        epochs=2,
        engine=engine,
        on_epoch=[lambda record, state: (folder.save(engine, state), drawn.append(torch.rand(3)))],
    )
    fresh = CountingEngine()
    torch.manual_seed(123)
    state = folder.restore(fresh)
    assert torch.equal(torch.rand(3), drawn[-1])
    assert (fresh.step, state.next_epoch, state.best_epoch, state.best_score) == (4, 2, 0, 0.3)
    assert state.best_weights["steps"] == 2.0
    assert math.isnan(state.history[1].score)
    result = run([0.2, 0.1], engine=fresh, state=state)
    assert [record.epoch for record in result.history] == [0, 1, 2], "patience counts from the saved best epoch"
    folder.delete()
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_dies_leaves_the_previous_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, engine = RunFolder(tmp_path, "key"), CountingEngine()
    record = EpochRecord(epoch=0, loss=1.0, score=0.5, lr=0.1)
    state = FitState(next_epoch=1, best_epoch=0, best_score=0.5, history=[record])
    engine.step = 2
    folder.save(engine, state)

    def fail(path: Any, content: Any) -> Never:
        raise OSError("disk full")

    engine.step = 4
    with monkeypatch.context() as patch:
        patch.setattr("factor_models.training.resume.write_bytes", fail)
        with pytest.raises(OSError, match="disk full"):
            folder.save(engine, FitState(next_epoch=2))
    fresh = CountingEngine()
    assert folder.restore(fresh) == state
    assert fresh.step == 2


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-9] ^= 0x10
    path.write_bytes(content)


def scaled(path: Path) -> None:
    """A file that is in order as such, of weights three times as large."""
    with safe_open(path, "pt") as file:
        texts, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    write_tensors({name: 3 * value for name, value in tensors.items()}, path, texts)


def without_texts(path: Path) -> None:
    write_tensors(read_tensors(path), path)


@pytest.mark.parametrize("damage", [truncated, flipped, scaled, without_texts, Path.unlink])
@pytest.mark.parametrize("kind", ["step_00000006", "best_00000006"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    kind: str, damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, engine = RunFolder(tmp_path, "key"), CountingEngine()
    weights = {"steps": torch.arange(5.0)}
    for engine.step in (3, 6):
        state = FitState(next_epoch=engine.step, best_epoch=engine.step - 1, best_weights=weights)
        folder.save(engine, state)
    damaged = folder.directory / f"{kind}.safetensors"
    damage(damaged)
    again = RunFolder(tmp_path, "key")
    assert again.restore(engine).next_epoch == 3
    assert damage is Path.unlink or f"{damaged.name} cannot be read" in caplog.text
    assert not damaged.exists()
    again.save(engine, FitState(next_epoch=4))


def of_another_run(path: Path) -> None:
    """A whole checkpoint under the name of ours: its weights would go on as if they were those of this run."""
    engine = CountingEngine()
    for engine.step in (3, 6):
        weights = {"steps": torch.arange(5.0) * 7}
        RunFolder(path.parent, "other").save(engine, FitState(best_epoch=engine.step - 1, best_weights=weights))
    path.write_bytes((path.parent / "other" / path.name).read_bytes())


def of_another_step(path: Path) -> None:
    path.write_bytes(path.with_name(path.name.replace("6", "3")).read_bytes())


def of_another_version(path: Path) -> None:
    path.write_bytes(seal({"x": torch.zeros(1)}, {"state": "{}"}))


def a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [of_another_run, of_another_step, of_another_version, a_pipe, a_folder])
@pytest.mark.parametrize("kind", ["step_00000006", "best_00000006"])
def test_what_is_no_checkpoint_of_this_run_and_step_is_passed_over(
    kind: str, damage: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    test_a_damaged_checkpoint_is_passed_over_for_the_one_before(kind, damage, tmp_path, caplog)


def test_a_pipe_in_the_place_of_a_number_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "key")
    folder.directory.mkdir()
    os.mkfifo(folder.directory / "shortages")
    with pytest.raises(ValueError, match="shortages is no file: delete it"):
        folder.shortages()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_features": 3}, r"model.safetensors: does not hold the network of config.json: .* has shape"),
        ({"name": "gru"}, r"model.safetensors: does not hold the network of config.json"),
        ({"num_features": 0}, r"config.json: makes no model: .*num_features = 0"),
        ({"name": ["lstm"]}, r"config.json: makes no model: .* is unknown"),
        ({"zzz": 1}, r"config.json: makes no model"),
    ],
)
def test_a_configuration_that_does_not_fit_the_weights_is_refused_by_its_file(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Hashes written anew, as by who edits a folder by hand."""
    save_model(tmp_path, build_model(**CONFIG), CONFIG | changes, {})
    with pytest.raises(ValueError, match=message):
        load_model(tmp_path)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "linear"])
@pytest.mark.parametrize("content", [b"", b"tree\nversion=v4\nmax_feature_idx=2"])
def test_a_file_that_holds_no_trees_and_no_line_is_refused_by_its_name(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library raises of such a file is no ValueError."""
    config = {"name": name, "num_features": 3, "num_horizons": 1}
    model = build_model(**config)
    monkeypatch.setattr(type(model), "save_weights", lambda self, path: path.write_bytes(content))
    save_model(tmp_path, model, config, {})
    with pytest.raises(ValueError, match=rf"{model.weights_file}: does not hold the model of config.json: "):
        load_model(tmp_path)


def test_what_lies_about_in_a_run_folder_does_no_harm(tmp_path: Path) -> None:
    folder, engine = RunFolder(tmp_path, "key", keep=1), CountingEngine()
    folder.save(engine, FitState(next_epoch=1))
    for name in ("step_abc.safetensors", "step_1.safetensors", "step_00000009.partial"):
        (folder.directory / name).write_bytes(b"x")
    again = RunFolder(tmp_path, "key", keep=2)
    (folder.directory / "step_00000000.safetensors").write_bytes(b"cut off")
    engine.step = 4
    again.save(engine, FitState(next_epoch=2))
    assert again.restore(engine).next_epoch == 2
    (folder.directory / "shortages").write_bytes(b"\xffone")
    with pytest.raises(ValueError, match=r"shortages holds .* delete it"):
        again.shortages()


def test_only_the_newest_checkpoints_and_the_best_weights_that_they_name_remain(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "key", keep=2)
    folder.directory.mkdir()
    (folder.directory / ".step_00000002.safetensors.q1w2e3").write_bytes(b"half of it")  # by a run that was killed
    run([0.1, 0.9, 0.2, 0.3], epochs=4, patience=9, engine=(engine := CountingEngine()),
        on_epoch=[lambda record, state: folder.save(engine, state)])  # fmt: skip
    names = sorted(path.name for path in folder.directory.iterdir())
    assert names == ["best_00000002.safetensors", "step_00000006.safetensors", "step_00000008.safetensors"]
    with pytest.raises(ValueError, match="keep = 0: must be >= 1"):
        RunFolder(tmp_path, "key", keep=0)


def test_without_a_saved_state_a_run_starts_anew(tmp_path: Path) -> None:
    assert RunFolder(tmp_path, "key").restore(CountingEngine()) is None


def test_a_run_key_changes_with_every_part_and_not_with_their_order() -> None:
    assert run_key(lr=1.0, data="a") == run_key(data="a", lr=1.0)
    assert len({run_key(lr=1.0), run_key(lr=2.0), run_key(lr=1.0, data="a")}) == 3


def batches_of(windows: Any) -> Any:
    half = len(windows) // 2

    def batch(of: Any, first_row: Any) -> Any:
        size = len(windows[of])
        return SimpleNamespace(
            windows=windows[of], targets=None, groups=np.zeros(size, int), rows=np.arange(size) + first_row
        )

    return [batch(slice(half), 100), batch(slice(0), 0), batch(slice(half, None), 0)]


def test_predict_keeps_rows_beside_predictions_and_gather_sorts_them() -> None:
    set_seed(1)
    model = build_model(**CONFIG)
    windows = np.random.default_rng(0).standard_normal((8, 3, 4), np.float32)
    rows, predictions = predict(model, batches_of(windows))
    assert rows.tolist() == [100, 101, 102, 103, 0, 1, 2, 3]
    expected = model(torch.from_numpy(windows)).detach().numpy()
    np.testing.assert_allclose(predictions, expected, rtol=1e-5, atol=1e-6)
    rows, predictions = gather_predictions(rows, predictions)
    assert rows.tolist() == [0, 1, 2, 3, 100, 101, 102, 103]
    np.testing.assert_allclose(predictions[:4], expected[4:], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="no window to predict"):
        predict(model, [batches_of(windows)[1]])


def test_micro_batches_hold_whole_dates_and_every_window_once() -> None:
    groups = np.array([4, 0, 4, 2, 0, 9])
    windows, targets = np.arange(6.0, dtype=np.float32).reshape(6, 1, 1), np.zeros((6, 2), np.float32)
    batch = SimpleNamespace(windows=windows, targets=targets, groups=groups)
    pieces = list(micro_batches(batch, 2))
    assert [piece.windows.ravel().tolist() for piece in pieces] == [[1, 3, 4], [0, 2, 5]]
    assert [piece.groups.tolist() for piece in pieces] == [[0, 1, 0], [0, 0, 1]]
    assert [piece.num_dates for piece in pieces] == [2, 2]
    assert sum(piece.num_dates for piece in micro_batches(batch, 7)) == 4
    empty = [piece for piece in micro_batches(batch, 7) if piece.num_dates == 0]
    assert all(piece.targets.isnan().all() and len(piece.windows) == 1 for piece in empty)


def test_micro_batches_carry_weights_symbols_and_texts() -> None:
    texts = np.arange(24, dtype=np.float32).reshape(4, 1, 2, 3)
    batch = SimpleNamespace(
        windows=np.zeros((4, 1, 1), np.float32),
        targets=np.zeros((4, 1), np.float32),
        groups=np.array([1, 0, 1, 0]),
        weights=np.array([1, 2, 3, 4]),
        symbols=np.array([5, 6, 7, 8], np.int32),
        texts=texts,
    )
    first, second, empty = micro_batches(batch, 3)
    assert (first.num_dates, empty.num_dates) == (1, 0) or (first.num_dates, second.num_dates) == (1, 0)
    full = [piece for piece in (first, second, empty) if piece.num_dates]
    assert [piece.weights.tolist() for piece in full] == [[2, 4], [1, 3]]
    assert [piece.symbols.tolist() for piece in full] == [[6, 8], [5, 7]]
    np.testing.assert_array_equal(full[1].texts, texts[[0, 2]])
    (rest,) = [piece for piece in (first, second, empty) if not piece.num_dates]
    assert rest.texts.isnan().all()
    assert rest.symbols.tolist() == [0]


def test_a_model_is_given_the_inputs_it_names() -> None:
    class Named(torch.nn.Module):
        extra_inputs = ("groups", "texts")

    batch = SimpleNamespace(windows=np.zeros((2, 1, 1), np.float32), targets=None, groups=np.array([7, 3]))
    extras = tensor_batch(batch).extras(Named())
    assert extras["groups"].tolist() == [1, 0]
    assert extras["texts"] is None
    assert tensor_batch(batch).extras(torch.nn.Linear(1, 1)) == {}


def saved_lstm(directory: Path) -> Any:
    set_seed(2)
    model = build_model(**CONFIG)
    save_model(directory, model, CONFIG, {"features": ["a", "b", "c", "d"], "best_epoch": 3})
    return model


def test_a_saved_network_loads_with_the_same_weights_and_saves_the_same_bytes(tmp_path: Path) -> None:
    model = saved_lstm(tmp_path / "a")
    loaded, metadata = load_model(tmp_path / "a", expected={"features": ["a", "b", "c", "d"]})
    assert metadata["best_epoch"] == 3
    assert not loaded.training
    assert all(torch.equal(model.state_dict()[key], value) for key, value in loaded.state_dict().items())
    saved_lstm(tmp_path / "b")
    for name in ("config.json", "model.safetensors", "metadata.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert len(list((tmp_path / "a").iterdir())) == 3, "no temporary file is left"


def test_a_folder_that_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    saved_lstm(tmp_path)
    with pytest.raises(ValueError, match=r"metadata\['features'\] is \['a', 'b', 'c', 'd'\], expected \['a'\]"):
        load_model(tmp_path, expected={"features": ["a"]})
    weights = tmp_path / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + b"x")
    with pytest.raises(ValueError, match=r"model.safetensors: does not match the hash in metadata.json"):
        load_model(tmp_path)
    weights.unlink()
    with pytest.raises(ValueError, match=r"model.safetensors: no such file"):
        load_model(tmp_path)
    weights.write_bytes(content)
    whole = (tmp_path / "config.json").read_bytes()
    config = json.loads(whole) | {"hidden": 6}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config.json: does not match the hash"):
        load_model(tmp_path)
    write_tensors({name: 3 * value for name, value in read_tensors(weights).items()}, weights)
    (tmp_path / "config.json").write_bytes(whole)
    with pytest.raises(ValueError, match=r"model.safetensors: does not match the hash"):
        load_model(tmp_path)
    metadata = (tmp_path / "metadata.json").read_bytes()
    (tmp_path / "metadata.json").write_bytes(metadata.replace(b'"best_epoch": 3', b'"best_epoch": 7'))
    with pytest.raises(ValueError, match=r"metadata.json: was changed after it was written"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ValueError, match=r"config.json: must hold one object, found list"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: is not JSON"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=r"config.json: no such file; a model folder holds"):
        load_model(tmp_path / "nowhere")


def test_metadata_and_config_are_checked_when_saving(tmp_path: Path) -> None:
    model = build_model(**CONFIG)
    with pytest.raises(ValueError, match="config has no 'name'"):
        save_model(tmp_path, model, {}, {})
    with pytest.raises(ValueError, match="weights_sha256"):
        save_model(tmp_path, model, CONFIG, {"weights_sha256": "x"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(tmp_path, model, CONFIG, {"score": math.nan})


def test_seeds_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="seed = -1"):
        set_seed(-1)


def test_the_package_is_imported_without_deepspeed() -> None:
    import subprocess
    import sys

    code = "import sys, factor_models as f; f.EngineConfig(); assert 'deepspeed' not in sys.modules; f.Engine"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_term_of_the_loss_is_averaged_over_the_epoch() -> None:
    result = run([0.1], epochs=1, engine=CountingEngine([0.5, 0.3]))
    assert result.history[0].loss == pytest.approx(0.4)
    assert result.history[0].terms == pytest.approx({"half": 0.2, "rest": 0.2})
