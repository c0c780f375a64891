"""What training the K-line model rests on: windows, batches, terms of the losses, quality, adapters, path factors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from factor_models import Engine, EngineConfig, get_loss
from factor_models.kline import (
    COLUMNS,
    KlineBatch,
    KronosConfig,
    Sampling,
    calibration,
    check_context,
    date_batches,
    freeze,
    future_stamps,
    generate,
    kline_bars,
    kline_batches,
    merge,
    normalise,
    num_batches,
    path_factors,
    path_returns,
    perplexity,
    stamp_features,
    token_windows,
    tokenizer_quality,
)
from factor_models.training.inputs import TensorBatch, micro_batches, tensor_batch
from models.kline_samples import bars, make_predictor, make_tokenizer, stamps


def panel(seed: int = 0, num_symbols: int = 3, num_dates: int = 40) -> tuple[dict, np.ndarray, np.ndarray]:
    """Columns, symbol codes and date codes of a small panel with dates and numbers missing."""
    generator = np.random.default_rng(seed)
    present = generator.random((num_symbols, num_dates)) < 0.9
    symbol, date = np.nonzero(present)
    columns = {name: generator.uniform(5, 50, len(symbol)) for name in COLUMNS[:-1]}
    for name in ("open", "volume"):
        columns[name][generator.random(len(symbol)) < 0.05] = np.nan
    return columns, symbol, date


def complete_rows(columns: dict, symbol: np.ndarray, code: int, up_to: int) -> list[int]:
    return [
        row
        for row in range(up_to + 1)
        if symbol[row] == code and all(np.isfinite(values[row]) for values in columns.values())
    ]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_window_holds_the_last_complete_bars_of_its_symbol(seed: int) -> None:
    columns, symbol, date = panel(seed)
    kline, lookback = kline_bars(columns, symbol, date), 5
    rows = kline.ends(np.ones(len(symbol), dtype=bool), lookback)
    values = kline.read(kline.position_of_row[rows], lookback)
    expected_rows = []
    for row in range(len(symbol)):
        known = complete_rows(columns, symbol, symbol[row], row)
        if len(known) >= lookback:
            expected_rows.append(row)
            window = values[len(expected_rows) - 1]
            for number, name in enumerate(COLUMNS[:-1]):
                np.testing.assert_array_equal(window[:, number], columns[name][known[-lookback:]].astype(np.float32))
            codes = kline.dates(kline.position_of_row[[row]], lookback)[0]
            assert codes.tolist() == date[known[-lookback:]].tolist()
    assert rows.tolist() == expected_rows


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_training_windows_are_those_whose_bars_lie_on_one_stretch_of_the_dates(seed: int) -> None:
    columns, symbol, date = panel(seed)
    kline, lookback, ahead = kline_bars(columns, symbol, date), 4, 3
    dates = np.zeros(40, dtype=bool)
    dates[2:17] = dates[20:38] = True
    for inside in (lookback + ahead, ahead):
        found = set(kline.ends_within(dates, lookback, ahead, inside).tolist())
        for position in range(len(kline.values)):
            window = range(position - lookback + 1, position + ahead + 1)
            whole = window[0] >= kline.first[position] and window[-1] < len(kline.values)
            whole = whole and kline.first[window[-1]] == kline.first[position]
            codes = kline.date_code[list(window)[-inside:]] if whole else np.array([0])
            expected = whole and all(dates[codes[0] : codes[-1] + 1])
            assert (position in found) == expected


def test_the_amount_is_volume_times_the_mean_price_where_it_is_not_given() -> None:
    columns, symbol, date = panel()
    kline = kline_bars(columns, symbol, date)
    prices = kline.values[:, :4].astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(kline.values[:, 5], kline.values[:, 4] * prices, rtol=1e-6)
    given_amount = kline_bars(columns | {"amount": np.full(len(symbol), 7.0)}, symbol, date)
    assert (given_amount.values[:, 5] == 7.0).all()


def test_bars_that_are_not_sorted_or_lack_a_column_are_refused() -> None:
    columns, symbol, date = panel()
    with pytest.raises(ValueError, match="rows must be sorted"):
        kline_bars(columns, symbol[::-1], date)
    with pytest.raises(ValueError, match="columns lacks 'volume'"):
        kline_bars({name: columns[name] for name in COLUMNS[:4]}, symbol, date)


def test_normalisation_knows_the_lookback_alone() -> None:
    values = np.random.default_rng(0).uniform(1, 9, (4, 12, 6)).astype(np.float32)
    changed = values.copy()
    changed[:, 8:] *= 3.0
    one, other = normalise(values, 8, 5.0), normalise(changed, 8, 5.0)
    np.testing.assert_array_equal(one[0][:, :8], other[0][:, :8])
    for a, b in zip(one[1:], other[1:], strict=True):
        np.testing.assert_array_equal(a, b)
    past = values[:, :8].astype(np.float64)
    expected = (values - past.mean(1, keepdims=True)) / (past.std(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(one[0], np.clip(expected, -5, 5), atol=1e-4)


def test_future_stamps_continue_the_days_and_times_that_are_known() -> None:
    days = pd.bdate_range("2024-01-01", "2024-02-09").to_numpy()
    friday = np.array(["2024-02-09"], dtype="datetime64[ns]")
    ahead = future_stamps(friday, days, 6)[0].astype("datetime64[D]").astype(str)
    assert ahead.tolist() == [
        "2024-02-12", "2024-02-13", "2024-02-14", "2024-02-15", "2024-02-16", "2024-02-19",
    ]  # fmt: skip
    session = np.concatenate([day + np.array([570, 575, 580], "timedelta64[m]") for day in days])
    ahead = future_stamps(np.array([session[-2]]), session, 4)[0].astype("datetime64[m]").astype(str)
    assert ahead.tolist() == ["2024-02-09T09:40", "2024-02-12T09:30", "2024-02-12T09:35", "2024-02-12T09:40"]


def test_batches_hold_whole_dates_and_processes_share_them() -> None:
    dates = np.repeat([3, 1, 7, 5, 9], [4, 2, 3, 1, 2])
    whole = list(date_batches(dates, 2, seed=1, epoch=3))
    assert len(whole) == num_batches(dates, 2) == 3
    assert np.array_equal(np.sort(np.concatenate(whole)), np.arange(12))
    for numbers in whole:
        for date in np.unique(dates[numbers]):
            assert (dates[numbers] == date).sum() == (dates == date).sum()
    shares = [list(date_batches(dates, 2, seed=1, epoch=3, rank=rank, world_size=2)) for rank in (0, 1)]
    for batch, one, two in zip(whole, *shares, strict=True):
        assert set(batch) == set(one) | set(two)
        assert not set(one) & set(two)
    other = list(date_batches(dates, 2, seed=1, epoch=4))
    assert [set(numbers) for numbers in other] != [set(numbers) for numbers in whole]


def batch_of(windows: np.ndarray, dates: np.ndarray) -> KlineBatch:
    return next(kline_batches(lambda numbers: windows[numbers], dates, iter([np.arange(len(dates))])))


def terms_of(model: torch.nn.Module, batch: TensorBatch) -> dict[str, torch.Tensor]:
    return model.training_terms(batch, lambda prediction: {})


def token_batch(num_windows: int = 6, num_bars: int = 7) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(3)
    pairs = np.stack(
        [
            generator.integers(0, 16, (num_windows, num_bars)),
            generator.integers(0, 8, (num_windows, num_bars)),
        ],
        axis=-1,
    )
    calendar = stamp_features(pd.date_range("2024-01-01", periods=30, freq="D"))
    codes = np.arange(num_bars) + np.arange(num_windows)[:, None]
    return token_windows(pairs, calendar, codes), np.array([0, 0, 0, 1, 1, 2])


def test_the_terms_of_one_date_are_the_published_losses() -> None:
    tokenizer, x = make_tokenizer(), bars(5, 9)
    terms = terms_of(tokenizer, tensor_batch(batch_of(x.numpy(), np.zeros(5, np.int64))))
    loss, parts = tokenizer.training_loss(x)
    torch.testing.assert_close(sum(terms.values()), loss)
    for name, value in parts.items():
        torch.testing.assert_close(terms[name], value / 2.0)
    model, (windows, _) = make_predictor(), token_batch()
    terms = terms_of(model, tensor_batch(batch_of(windows, np.zeros(6, np.int64))))
    s1, s2, stamp = (torch.from_numpy(windows[..., part]) for part in (0, 1, slice(2, None)))
    logits = model(s1[:, :-1], s2[:, :-1], stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:])
    torch.testing.assert_close(sum(terms.values()), model.loss(*logits, s1[:, 1:], s2[:, 1:]).loss)


def test_only_bars_from_the_first_that_is_learned_enter_the_loss() -> None:
    model, (windows, _) = make_predictor(), token_batch()
    model.first_learned = 4
    terms = terms_of(model, tensor_batch(batch_of(windows, np.zeros(6, np.int64))))
    s1, s2, stamp = (torch.from_numpy(windows[..., part]) for part in (0, 1, slice(2, None)))
    logits = model(s1[:, :-1], s2[:, :-1], stamp[:, :-1], use_teacher_forcing=True, s1_targets=s1[:, 1:])
    before = (torch.arange(1, s1.shape[1]) < 4).expand(len(s1), -1)  # True: left out
    expected = model.loss(*logits, s1[:, 1:], s2[:, 1:], padding_mask=before)
    torch.testing.assert_close(sum(terms.values()), expected.loss)
    assert not torch.isclose(expected.loss, model.loss(*logits, s1[:, 1:], s2[:, 1:]).loss)


@pytest.mark.parametrize("kind", ["tokenizer", "predictor"])
def test_dates_weigh_the_same_and_micro_batches_do_not_change_the_gradient(kind: str) -> None:
    windows, dates = token_batch()
    if kind == "tokenizer":
        windows = bars(6, 7).numpy()

    def gradient(pieces: Iterator[TensorBatch]) -> torch.Tensor:
        model = make_tokenizer() if kind == "tokenizer" else make_predictor()
        for piece in pieces:
            (sum(terms_of(model, piece).values()) * piece.num_dates / 3).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    batch = batch_of(windows, dates)
    whole = gradient(micro_batches(batch, 1))
    torch.testing.assert_close(gradient(micro_batches(batch, 2)), whole, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(gradient(micro_batches(batch, 5)), whole, atol=1e-6, rtol=1e-4)


def test_the_engine_trains_tokenizer_and_predictor() -> None:
    config = EngineConfig(lr=0.01, accumulation=2, weight_decay=0.0)
    windows, dates = token_batch()
    for model, values in ((make_tokenizer(), bars(6, 7).numpy()), (make_predictor(), windows)):
        engine = Engine(model, get_loss("mse"), config, total_steps=30)
        steps = [engine.train_step(batch_of(values, dates)) for _ in range(30)]
        assert steps[-1].loss < 0.9 * steps[0].loss
        model.load_state_dict(engine.full_state_dict())
        engine.close()


def test_quality_equals_a_plain_count() -> None:
    tokenizer, x = make_tokenizer(), bars(6, 11)
    quality = tokenizer_quality(tokenizer, [x[:4].numpy(), x[4:].numpy()])
    with torch.no_grad():
        (coarse, fine), _, _, _ = tokenizer(x)
        s1, s2 = tokenizer.encode(x, half=True)
    assert quality.num_bars == 66
    assert quality.reconstruction_mse == pytest.approx(float(functional.mse_loss(fine, x)), rel=1e-5)
    assert quality.reconstruction_mse_s1 == pytest.approx(float(functional.mse_loss(coarse, x)), rel=1e-5)
    assert quality.used_s1 == len(s1.unique()) / 16
    assert quality.used_s2 == len(s2.unique()) / 8
    assert quality.used_pairs == len({*zip(s1.flatten().tolist(), s2.flatten().tolist(), strict=True)}) / 128
    share = torch.bincount(s2.flatten()).double() / 66
    entropy = -(share[share > 0] * share[share > 0].log()).sum()
    assert quality.perplexity_s2 == pytest.approx(float(entropy.exp()))
    assert perplexity(np.array([5, 5, 0, 5, 5])) == 4.0
    with pytest.raises(ValueError, match="no window"):
        tokenizer_quality(tokenizer, [])


def coupled(samples: int, seed: int = 0) -> Sampling:
    return Sampling(top_p=1.0, sample_count=samples, seed=seed, coupled=True)


def paths_of(x: torch.Tensor, sampling: Sampling, num_bars: int = 3) -> torch.Tensor:
    tokenizer, model = make_tokenizer(), make_predictor()
    arguments = (stamps(len(x), x.shape[1]), stamps(len(x), num_bars, start=x.shape[1]), 64)
    return generate(tokenizer, model, x, *arguments, sampling).s1


def test_coupled_draws_do_not_depend_on_the_rest_of_the_batch() -> None:
    x = bars(5, 8)
    together = paths_of(x, coupled(4))
    assert torch.equal(together[2:4], paths_of(x[2:4], coupled(4)))
    assert torch.equal(paths_of(x[[1, 1]], coupled(4))[0], paths_of(x[[1, 1]], coupled(4))[1])


def test_coupled_draws_have_the_frequencies_of_independent_ones() -> None:
    x = bars(1, 8)
    one = torch.stack([paths_of(x, coupled(16, seed), 1)[0, :, 0] for seed in range(60)]).flatten()
    other = paths_of(x, Sampling(top_p=1.0, sample_count=4000, seed=1), 1)[0, :, 0]
    expected = torch.bincount(other, minlength=16) / len(other)
    torch.testing.assert_close(torch.bincount(one, minlength=16) / len(one), expected, atol=0.03, rtol=0)


def test_the_mean_of_coupled_paths_is_less_noisy() -> None:
    tokenizer, model, x = make_tokenizer(), make_predictor(), bars(1, 8)
    arguments = (tokenizer, model, x, stamps(1, 8), stamps(1, 1, start=8), 64)

    def noise(is_coupled: bool) -> float:
        means = [
            generate(*arguments, Sampling(top_p=1.0, sample_count=16, seed=seed, coupled=is_coupled)).bars[0, :, 0, 3]
            for seed in range(40)
        ]
        return float(torch.stack([mean.mean() for mean in means]).var())

    assert noise(True) < 0.6 * noise(False)


@pytest.mark.parametrize("trainable", ["lora", "last_layers"])
def test_only_the_chosen_part_is_trained_and_the_rest_stays_to_the_bit(trainable: str) -> None:
    config = KronosConfig(d_model=32, n_heads=2, trainable=trainable, lora_rank=4, num_last_layers=1)
    before = make_predictor().state_dict()
    model = freeze(make_predictor(), config)
    windows, dates = token_batch()
    engine = Engine(model, get_loss("mse"), EngineConfig(lr=0.05), total_steps=5)
    for _ in range(5):
        engine.train_step(batch_of(windows, dates))
    model.load_state_dict(engine.full_state_dict())
    engine.close()
    tokens = torch.from_numpy(windows)
    arguments = (tokens[..., 0], tokens[..., 1], tokens[..., 2:])
    with torch.no_grad():
        adapted = model.eval().decode_s1(*arguments)[0]
        merged = merge(model)
        torch.testing.assert_close(merged.decode_s1(*arguments)[0], adapted, atol=1e-5, rtol=1e-4)
    after = merged.state_dict()
    assert after.keys() == before.keys()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    if trainable == "lora":
        assert changed
        assert all(".self_attn." in name and name.endswith("proj.weight") for name in changed)
    else:
        assert any(name.startswith("transformer.1.") for name in changed)
        assert not any(name.startswith(("embedding.", "time_emb.", "transformer.0.")) for name in changed)


def test_low_rank_additions_start_as_no_change() -> None:
    s1, s2 = torch.randint(0, 16, (2, 5)), torch.randint(0, 8, (2, 5))
    config = KronosConfig(d_model=32, n_heads=2, trainable="lora", lora_rank=4)
    plain, adapted = make_predictor(), freeze(make_predictor(), config)
    torch.testing.assert_close(plain.decode_s1(s1, s2)[0], adapted.decode_s1(s1, s2)[0])
    with pytest.raises(ValueError, match="lora_rank = 64: must be <= 32"):
        freeze(make_predictor(), KronosConfig(d_model=32, n_heads=2, trainable="lora", lora_rank=64))
    with pytest.raises(ValueError, match="num_last_layers = 3 exceeds the 2 blocks"):
        freeze(make_predictor(), KronosConfig(d_model=32, trainable="last_layers", num_last_layers=3))


def test_path_factors_of_a_case_by_hand() -> None:
    prices = np.array([[[10.0, 11.0, 12.1], [10.0, 9.0, 8.0]]])
    last = np.array([10.0])
    np.testing.assert_allclose(path_returns(prices, last, 1, 2), [[0.21, -0.2]])
    np.testing.assert_allclose(path_returns(prices, last, 0, 1), [[0.0, 0.0]])
    one = path_factors(prices, last, 1, 1)
    np.testing.assert_allclose(one.mean, [0.0], atol=1e-12)
    np.testing.assert_allclose(one.up_probability, [0.5])
    np.testing.assert_allclose(one.volatility, [np.std(np.log([1.1, 0.9]))])
    np.testing.assert_allclose(one.quantiles[0, [0, 3]], np.array([-1.644854, 1.644854]) * one.volatility, rtol=1e-5)
    many = path_factors(np.repeat(prices, 10, axis=1), last, 1, 1)
    np.testing.assert_allclose(many.quantiles[0], [-0.1, -0.1, 0.1, 0.1])
    collapsed = path_returns(np.array([[[10.0, -3.0]]]), last, 1, 1)
    np.testing.assert_allclose(collapsed, [[-0.99]])
    with pytest.raises(ValueError, match="paths of 3 bars do not reach delay 1 \\+ horizon 3"):
        path_returns(prices, last, 1, 3)


def test_calibration_counts_what_lies_below() -> None:
    quantiles = np.tile([-1.0, -0.5, 0.5, 1.0], (5, 1))
    realised = np.array([-2.0, -0.7, 0.0, 0.7, np.nan])
    result = calibration(quantiles, realised)
    assert result.below == (0.25, 0.5, 0.75, 1.0)
    assert result.num_returns == 4


def test_a_gaussian_forecast_of_gaussian_returns_is_calibrated() -> None:
    generator = np.random.default_rng(0)
    quantiles = np.tile([-1.6449, -0.6745, 0.6745, 1.6449], (20_000, 1))
    below = calibration(quantiles, generator.normal(size=20_000)).below
    np.testing.assert_allclose(below, [0.05, 0.25, 0.75, 0.95], atol=0.01)


def test_windows_that_exceed_the_context_are_refused() -> None:
    check_context(43, 21, 64)
    with pytest.raises(ValueError, match=r"lookback 44 \+ bars ahead 21 .* = 65 exceed max_context = 64"):
        check_context(44, 21, 64)


def test_the_sizes_of_configurations_are_checked() -> None:
    for change, message in (
        ({"d_model": 12}, "multiple of 8"),
        ({"n_heads": 3}, "even multiple of n_heads"),
        ({"samples": 0}, "samples"),
        ({"top_p": 0.0}, "top_p"),
        ({"trainable": "some"}, "trainable"),
    ):
        with pytest.raises(ValueError, match=message):
            KronosConfig(**change)
