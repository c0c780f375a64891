"""Each defect that is known of the published K-line code, by its number in the list of the project: we do not have it.

What a switch reproduces on purpose (`official_parity`) is tested in test_kline_golden.py.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from factor_data import Fold, Label
from factor_models import Engine, EngineConfig, get_loss
from factor_models.kline import (
    CoupledDraws,
    KronosPredictor,
    KronosTokenizer,
    Sampling,
    date_batches,
    generate,
    kline_bars,
    kline_batches,
    normalise,
    repair_bars,
    sample_token,
    tokenizer_quality,
)
from factor_models.kline.draws import uniform_numbers
from factor_models.kline.predictor import HierarchicalEmbedding
from factor_models.training.inputs import tensor_batch
from models.kline_samples import bars, make_predictor, make_tokenizer, stamps
from stages.kline.bars import fold_ends
from stages.kline.predictor import read_tokenizer
from stages.kline.tables import baseline_table, calibration_table
from stages.running.stage import StageError
from stages.scoring import Scoring

pytestmark = pytest.mark.numeric

S1, S2 = torch.arange(16).view(2, 8) % 16, torch.arange(16).view(2, 8) % 8


@torch.no_grad()
def test_01_evaluation_logits_of_s2_do_not_see_a_later_s1() -> None:
    changed = S1.clone()
    changed[:, -1] = (S1[:, -1] + 3) % 16
    model = make_predictor()
    one, other = (
        model(S1, S2, stamps(2, 8), use_teacher_forcing=True, s1_targets=target)[1] for target in (S1, changed)
    )
    assert torch.equal(one[:, :-1], other[:, :-1])


@torch.no_grad()
def test_02_one_step_of_generation_gives_the_s2_logits_of_training() -> None:
    model = make_predictor().train()
    whole = model(S1, S2, stamps(2, 8), use_teacher_forcing=True, s1_targets=S1)[1]
    model.eval()
    context = model.contexts(S1, S2, stamps(2, 8))
    torch.testing.assert_close(model.decode_s2(context, S1[:, -1:])[:, -1], whole[:, -1], atol=1e-5, rtol=1e-4)


def test_03_a_full_index_is_split_as_it_was_put_together() -> None:
    tokenizer, x = make_tokenizer(4, 3), bars(2, 6)
    full, (s1, s2) = tokenizer.encode(x), tokenizer.encode(x, half=True)
    assert torch.equal(full & 15, s1)
    assert torch.equal(full >> 4, s2)


@torch.no_grad()
def test_04_unequal_bits_decode_to_the_same_bars_in_both_forms() -> None:
    tokenizer, x = make_tokenizer(2, 5), bars(2, 6)
    assert torch.equal(
        tokenizer.decode(tokenizer.encode(x)), tokenizer.decode(tokenizer.encode(x, half=True), half=True)
    )


@torch.no_grad()
def test_05_use_of_the_codebook_is_counted_on_the_tokens_themselves() -> None:
    tokenizer, x = make_tokenizer(), bars(4, 20)
    index = tokenizer(x)[3]
    assert torch.equal(index, tokenizer.encode(x))
    assert tokenizer_quality(tokenizer, [x.numpy()]).used_pairs == len(index.unique()) / 2**7


@torch.no_grad()
def test_06_an_all_false_padding_mask_changes_nothing() -> None:
    model, forced = make_predictor(), {"use_teacher_forcing": True, "s1_targets": S1}
    none = model(S1, S2, padding_mask=torch.zeros(2, 8, dtype=torch.bool), **forced)
    for with_mask, without in zip(none, model(S1, S2, **forced), strict=True):
        torch.testing.assert_close(with_mask, without)


def test_07_and_14_betas_stay_and_norms_and_biases_are_not_decayed() -> None:
    x, config = bars(4, 8).numpy(), EngineConfig(lr=0.01, weight_decay=0.5, warmup_share=0.3)
    batch = next(kline_batches(lambda numbers: x[numbers], np.arange(4), iter([np.arange(4)])))
    engine = Engine(make_tokenizer(), get_loss("mse"), config, total_steps=10)
    optimizer = engine._engine.optimizer
    betas = set()
    for _ in range(10):
        engine.train_step(batch)
        betas |= {tuple(group["betas"]) for group in optimizer.param_groups}
    assert len(betas) == 1
    decays = {group["weight_decay"] for group in optimizer.param_groups}
    engine.close()
    assert decays == {0.0, 0.5}


def test_08_an_epoch_serves_every_window_once_whatever_the_number_of_processes() -> None:
    dates = np.repeat(np.arange(7), 3)
    for world_size in (1, 2, 3):
        served = [
            number
            for rank in range(world_size)
            for numbers in date_batches(dates, 3, seed=5, epoch=2, rank=rank, world_size=world_size)
            for number in numbers
        ]
        assert sorted(served) == list(range(21))


def test_09_the_shares_of_two_processes_give_the_gradient_of_one() -> None:
    x, dates = bars(6, 7).numpy(), np.array([0, 0, 1, 1, 2, 3])

    def gradient(shares: list[np.ndarray]) -> torch.Tensor:
        model = make_tokenizer()
        for share in shares:
            piece = tensor_batch(next(kline_batches(lambda numbers: x[numbers], dates, iter([share]))))
            terms = model.training_terms(piece, lambda prediction: {})
            (torch.stack(list(terms.values())).sum() * piece.num_dates / 4).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole = next(date_batches(dates, 4, seed=0))
    parts = [next(date_batches(dates, 4, seed=0, rank=rank, world_size=2)) for rank in (0, 1)]
    torch.testing.assert_close(gradient(parts), gradient([whole]), atol=1e-6, rtol=1e-4)


def test_10_the_predictor_gets_the_tokenizer_that_was_trained_and_no_other(tmp_path: Path) -> None:
    trained = make_tokenizer()
    trained.save_pretrained(tmp_path / "fold_00")
    assert read_tokenizer(tmp_path, 0, trained.content_hash).content_hash == trained.content_hash
    make_tokenizer(gamma=1.2).save_pretrained(tmp_path / "fold_00")
    with pytest.raises(StageError, match="is not the tokenizer that wrote its tokens"):
        read_tokenizer(tmp_path, 0, trained.content_hash)


def test_11_statistics_of_the_window_leave_the_bars_ahead_out() -> None:
    values = np.random.default_rng(0).uniform(1, 9, (2, 10, 6)).astype(np.float32)
    changed = values.copy()
    changed[:, 7:] += 100.0
    np.testing.assert_array_equal(normalise(values, 7, 5.0)[0][:, :7], normalise(changed, 7, 5.0)[0][:, :7])


def series(num_bars: int) -> SimpleNamespace:
    columns = {name: np.arange(1.0, num_bars + 1) for name in ("open", "high", "low", "close", "volume")}
    kline = kline_bars(columns, np.zeros(num_bars, int), np.arange(num_bars))
    return SimpleNamespace(bars=kline, dates=pd.date_range("2024-01-01", periods=num_bars).to_numpy())


def test_12_no_valid_window_is_refused_and_exactly_one_is_served() -> None:
    data, empty = series(6), np.array([], dtype="datetime64[ns]")
    fold = Fold(index=0, train=data.dates, valid=empty, test=empty)
    ends = fold_ends(data, fold, "train", 4, 2)
    assert data.bars.read(ends, 4, 2)[0, :, 3].tolist() == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match=r"no window of 4 \+ 2 complete bars fits the 0 valid dates"):
        fold_ends(data, fold, "valid", 4, 2)


def test_13_a_half_written_folder_is_not_a_finished_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_tokenizer().save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*arguments: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        make_tokenizer(gamma=1.3).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json: no such file"):
        KronosTokenizer.from_pretrained(tmp_path)


def test_15_top_p_works_without_top_k() -> None:
    logits = torch.log(torch.tensor([[0.6, 0.3, 0.1]])).expand(500, 3)
    assert set(sample_token(logits, top_p=0.5).flatten().tolist()) == {0}
    assert inspect.signature(sample_token).parameters["top_k"].default == 0


def test_16_rotation_stays_float32_in_a_bf16_model_and_is_kept_nowhere() -> None:
    model = make_predictor()
    rotary = model.transformer[0].self_attn.rotary
    before, angles = rotary.inv_freq.clone(), rotary.angles(500)
    model.bfloat16()
    assert torch.equal(rotary.inv_freq, before)
    for kept, again in zip(angles, rotary.angles(500), strict=True):
        assert torch.equal(kept, again)
    assert not [value for value in vars(rotary).values() if isinstance(value, torch.Tensor)]


def test_17_more_bars_than_the_context_are_refused_and_an_index_of_stamps_is_taken() -> None:
    index = pd.date_range("2024-01-01", periods=50)
    frame = pd.DataFrame({name: np.linspace(9, 10, 10) for name in ("open", "high", "low", "close", "volume")})
    model = KronosPredictor(make_predictor(), make_tokenizer(), max_context=32)
    assert len(model.predict(frame, index[:10], index[10:14], 4, top_k=1, verbose=False)) == 4
    with pytest.raises(ValueError, match=r"pred_len = 40 must lie in 1 \.\. max_context = 32"):
        model.predict(frame, index[:10], index[10:], 40, verbose=False)


def test_18_all_paths_are_returned_and_impossible_bars_are_repaired() -> None:
    arguments = (make_tokenizer(), make_predictor(), bars(1, 8), stamps(1, 8), stamps(1, 3, start=8), 32)
    assert generate(*arguments, Sampling(sample_count=7, top_p=1.0)).bars.shape == (1, 7, 3, 6)
    repaired, changed = repair_bars(np.array([[10.0, 9.0, 11.0, 10.0, -5.0, 1.0]]))
    assert changed.all()
    assert repaired[0].tolist() == [10.0, 10.0, 10.0, 10.0, 0.0, 1.0]


def test_kline_report_has_baselines_and_calibration() -> None:
    generator = np.random.default_rng(0)
    dates, symbols = (
        pd.date_range("2024-01-01", periods=30).to_numpy(),
        np.array([f"S{n:02d}" for n in range(25)]),
    )
    label, past = generator.normal(0, 0.02, (30, 25)), np.full((30, 25), 0.02)
    store = SimpleNamespace(
        heads={"h1": Label(horizon=1), "v5": Label(horizon=5, measure="volatility")},
        label=lambda name: label.ravel(),
        symbols=symbols,
        feature_names=("volatility_20",),
        feature=lambda name: past.ravel() * generator.uniform(0.9, 1.1, 750),
        matrix=lambda values, dates: values.reshape(30, 25),
    )
    frame = pd.DataFrame({"timestamp": np.repeat(dates, 25), "symbol": np.tile(symbols, 30), "label": "h1"})
    for name, value in (("mean", label.ravel()), ("volatility", np.abs(label).ravel())):
        frame[name] = value
    for name, value in (("q5", -0.0329), ("q25", -0.0135), ("q75", 0.0135), ("q95", 0.0329)):
        frame[name] = value
    (row,) = baseline_table(store, SimpleNamespace(index=0), frame, Scoring(min_symbols=10))
    assert row["rank_ic"] == pytest.approx(1.0)
    assert row["rmse"] == pytest.approx(0.0)
    assert row["rmse_last_close"] == pytest.approx(0.02, rel=0.1)
    assert abs(row["rank_ic_random_walk"]) < 0.2
    assert row["size_rank_ic"] == pytest.approx(1.0)
    assert abs(row["size_rank_ic_20_bar_volatility"]) < 0.2
    for line in calibration_table(store, frame):
        assert line["paths"] == pytest.approx(line["level"], abs=0.05)
        assert line["random_walk"] == pytest.approx(line["level"], abs=0.05)


def test_20_every_bar_is_read_once_in_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    embed = HierarchicalEmbedding.forward

    def counted(self: HierarchicalEmbedding, s1: torch.Tensor, s2: torch.Tensor) -> torch.Tensor:
        read.append(tuple(s1.shape))
        return embed(self, s1, s2)

    monkeypatch.setattr(HierarchicalEmbedding, "forward", counted)
    arguments = (make_tokenizer(), make_predictor(), bars(2, 8), stamps(2, 8), stamps(2, 4, start=8), 32)
    generate(*arguments, Sampling(sample_count=3))
    assert read == [(2, 8), (6,), (6,), (6,)]


@pytest.mark.parametrize("seed", [0, 7, 7 * 1_000_003 + 1_706_659_200, 2**63 - 1])
def test_the_numbers_of_numpy_are_those_of_torch_to_the_bit(seed: int) -> None:
    orders = (torch.arange(8), torch.arange(8))
    draws = CoupledDraws(21, 5, orders, torch.Generator().manual_seed(seed), torch.device("cpu"), 2)
    np.testing.assert_array_equal(uniform_numbers(seed, 21, 5), draws.uniform.numpy())


def test_coupled_numbers_are_spread_evenly_over_the_samples_of_a_bar() -> None:
    orders = (torch.arange(4), torch.arange(4))
    draws = CoupledDraws(5, 4, orders, torch.Generator().manual_seed(0), torch.device("cpu"), 2)
    assert torch.equal((draws.uniform * 4).floor().long().sort(-1).values, torch.arange(4).expand(5, 2, 4))
    even = torch.full((8, 4), 0.25)
    assert draws.draw(even, 0, 0).view(2, 4).sort(-1).values.tolist() == [[0, 1, 2, 3]] * 2
