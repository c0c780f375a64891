"""Loop, model folders and run folders, with an engine made of ten lines: no DeepSpeed."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from factor_models import (
    FitState,
    RunFolder,
    build_model,
    fit,
    gather_predictions,
    get_loss,
    load_model,
    predict,
    run_key,
    save_model,
    set_seed,
)
from factor_models.engine import micro_batches
from factor_models.loop import EpochRecord

CONFIG = {"name": "lstm", "num_features": 4, "num_horizons": 2, "lookback": 3, "hidden": 5}


class CountingEngine:
    """Its only weight counts the steps."""

    lr = 0.1

    def __init__(self, losses=None):
        self.step = 0
        self.losses = losses

    def train_step(self, batch, loss):
        self.step += 1
        return 1.0 / self.step if self.losses is None else self.losses[self.step - 1]

    def full_state_dict(self):
        return {"steps": torch.tensor(float(self.step))}

    def current_model(self):
        return self.full_state_dict()["steps"]


def run(scores, *, epochs=10, patience=2, engine=None, **more):
    engine = CountingEngine() if engine is None else engine
    scores = iter(scores)
    return fit(
        engine,
        lambda epoch: [1, 2],
        lambda model: next(scores),
        None,
        epochs=epochs,
        patience=patience,
        **more,
    )


def test_training_stops_after_patience_epochs_and_returns_the_best_weights():
    result = run([0.1, 0.3, 0.2, 0.25, 9.0])
    assert (result.best_epoch, result.best_score) == (1, 0.3)
    assert result.state_dict["steps"] == 4.0
    assert [record.score for record in result.history] == [0.1, 0.3, 0.2, 0.25]
    assert result.history[0].loss == pytest.approx((1 + 1 / 2) / 2)


def test_an_equal_score_is_not_better():
    assert run([0.3, 0.3, 0.3]).best_epoch == 0


def test_a_nan_score_is_the_worst():
    assert run([math.nan, -5.0, math.nan, math.nan]).best_epoch == 1


def test_scores_that_are_always_nan_are_refused():
    with pytest.raises(ValueError, match="score was NaN after each of 2 epochs: predictions are constant"):
        run([math.nan] * 5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_names_epoch_and_step(value):
    with pytest.raises(
        ValueError, match=f"training loss is {value} in epoch 1 at step 3: lower the learning rate"
    ):
        run([0.1, 0.2], engine=CountingEngine([1.0, 1.0, value]))


def test_epochs_without_batches_and_settings_below_one_are_refused():
    with pytest.raises(ValueError, match="epoch 0 has no training batch"):
        fit(CountingEngine(), lambda epoch: [], lambda model: 0.0, None, epochs=1, patience=1)
    with pytest.raises(ValueError, match="patience = 0: must be >= 1"):
        run([], patience=0)


def test_callbacks_see_each_step_and_epoch():
    steps, epochs = [], []
    run(
        [0.1, 0.2],
        epochs=2,
        on_step=[lambda step, loss: steps.append(step)],
        on_epoch=[lambda record, state: epochs.append((record.epoch, state.best_epoch))],
    )
    assert steps == [1, 2, 3, 4]
    assert epochs == [(0, 0), (1, 1)]


class SavedEngine(CountingEngine):
    """Keeps its step in a file."""

    def save(self, directory):
        directory.mkdir()
        (directory / "step").write_text(str(self.step))

    def load(self, directory):
        self.step = int((directory / "step").read_text())


def test_a_run_folder_brings_back_engine_generators_and_loop_state(tmp_path):
    folder, engine = RunFolder(tmp_path, run_key(lr=0.1)), SavedEngine()
    drawn = []
    run(
        [0.3, math.nan],
        epochs=2,
        engine=engine,
        on_epoch=[lambda record, state: (folder.save(engine, state), drawn.append(torch.rand(3)))],
    )
    fresh = SavedEngine()
    torch.manual_seed(123)
    state = folder.restore(fresh)
    assert torch.equal(torch.rand(3), drawn[-1])
    assert (fresh.step, state.next_epoch, state.best_epoch, state.best_score) == (4, 2, 0, 0.3)
    assert state.best_weights["steps"] == 2.0
    assert math.isnan(state.history[1].score)
    result = run([0.2, 0.1], engine=fresh, state=state)
    assert [record.epoch for record in result.history] == [0, 1, 2], (
        "patience counts from the saved best epoch"
    )
    folder.delete()
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_dies_leaves_the_previous_state(tmp_path):
    folder, engine = RunFolder(tmp_path, "key"), SavedEngine()
    record = EpochRecord(epoch=0, loss=1.0, score=0.5, lr=0.1)
    state = FitState(next_epoch=1, best_epoch=0, best_score=0.5, history=[record])
    folder.save(engine, state)

    def fail(directory):
        raise OSError("disk full")

    engine.save = fail
    with pytest.raises(OSError, match="disk full"):
        folder.save(engine, FitState(next_epoch=2))
    assert folder.restore(SavedEngine()) == state
    (folder.directory / "current").rename(folder.directory / "old")
    assert folder.restore(SavedEngine()).next_epoch == 1, "killed between the two renames"


def test_without_a_saved_state_a_run_starts_anew(tmp_path):
    assert RunFolder(tmp_path, "key").restore(SavedEngine()) is None


def test_a_run_key_changes_with_every_part_and_not_with_their_order():
    assert run_key(lr=1.0, data="a") == run_key(data="a", lr=1.0)
    assert len({run_key(lr=1.0), run_key(lr=2.0), run_key(lr=1.0, data="a")}) == 3


def batches_of(windows):
    half = len(windows) // 2
    empty = SimpleNamespace(windows=windows[:0], rows=np.arange(0))
    first = SimpleNamespace(windows=windows[:half], rows=np.arange(half) + 100)
    return [first, empty, SimpleNamespace(windows=windows[half:], rows=np.arange(half))]


def test_predict_keeps_rows_beside_predictions_and_gather_sorts_them():
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


def test_micro_batches_hold_whole_dates_and_every_window_once():
    groups = np.array([4, 0, 4, 2, 0, 9])
    windows, targets = np.arange(6.0, dtype=np.float32).reshape(6, 1, 1), np.zeros((6, 2), np.float32)
    batch = SimpleNamespace(windows=windows, targets=targets, groups=groups)
    pieces = list(micro_batches(batch, 2))
    assert [piece[0].ravel().tolist() for piece in pieces] == [[1, 3, 4], [0, 2, 5]]
    assert [piece[2].tolist() for piece in pieces] == [[0, 1, 0], [0, 0, 1]]
    assert [piece[3] for piece in pieces] == [2, 2]
    assert sum(piece[3] for piece in micro_batches(batch, 7)) == 4
    empty = [piece for piece in micro_batches(batch, 7) if piece[3] == 0]
    assert all(np.isnan(piece[1]).all() and len(piece[0]) == 1 for piece in empty)


def saved_lstm(directory):
    set_seed(2)
    model = build_model(**CONFIG)
    save_model(directory, model, CONFIG, {"features": ["a", "b", "c", "d"], "best_epoch": 3})
    return model


def test_a_saved_network_loads_with_the_same_weights_and_saves_the_same_bytes(tmp_path):
    model = saved_lstm(tmp_path / "a")
    loaded, metadata = load_model(tmp_path / "a", expected={"features": ["a", "b", "c", "d"]})
    assert metadata["best_epoch"] == 3
    assert not loaded.training
    assert all(torch.equal(model.state_dict()[key], value) for key, value in loaded.state_dict().items())
    saved_lstm(tmp_path / "b")
    for name in ("config.json", "model.safetensors", "metadata.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert len(list((tmp_path / "a").iterdir())) == 3, "no temporary file is left"


def test_a_folder_that_does_not_fit_together_is_refused(tmp_path):
    saved_lstm(tmp_path)
    with pytest.raises(
        ValueError, match=r"metadata\['features'\] is \['a', 'b', 'c', 'd'\], expected \['a'\]"
    ):
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
    config = json.loads((tmp_path / "config.json").read_text()) | {"hidden": 6}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"config.json: does not match the hash"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config.json: is not JSON"):
        load_model(tmp_path)
    with pytest.raises(ValueError, match=r"config.json: no such file; a model folder holds"):
        load_model(tmp_path / "nowhere")


def test_metadata_and_config_are_checked_when_saving(tmp_path):
    model = build_model(**CONFIG)
    with pytest.raises(ValueError, match="config has no 'name'"):
        save_model(tmp_path, model, {}, {})
    with pytest.raises(ValueError, match="weights_sha256"):
        save_model(tmp_path, model, CONFIG, {"weights_sha256": "x"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(tmp_path, model, CONFIG, {"score": math.nan})


def test_seeds_out_of_range_are_refused():
    with pytest.raises(ValueError, match="seed = -1"):
        set_seed(-1)


def test_the_package_is_imported_without_deepspeed():
    import subprocess
    import sys

    code = "import sys, factor_models as f; f.EngineConfig(); assert 'deepspeed' not in sys.modules; f.Engine"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_losses_are_given_by_name_to_the_loop():
    assert get_loss("ic").__name__ == "ic"
