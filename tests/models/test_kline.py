"""The K-line model against itself and against plain loops: causality, caches, unequal bits, sampling, files, frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from factor_models.kline import (
    Kronos,
    KronosPredictor,
    KronosTokenizer,
    Sampling,
    filter_logits,
    generate,
    repair_bars,
    sample_token,
    stamp_features,
)
from factor_models.kline.blocks import KeyValueCache, RotaryEmbedding, rotate
from factor_models.kline.continuation import ForkedCache
from factor_models.kline.sampling import draw_tokens
from models.kline_samples import bars, make_predictor, make_tokenizer, stamps

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize(("s1_bits", "s2_bits"), [(4, 3), (2, 5), (3, 3)])
@torch.no_grad()
def test_tokens_survive_both_forms_also_with_unequal_bits(s1_bits: int, s2_bits: int) -> None:
    tokenizer = make_tokenizer(s1_bits, s2_bits)
    x = bars(3, 7)
    s1, s2 = tokenizer.encode(x, half=True)
    full = tokenizer.encode(x)
    assert torch.equal(full % 2**s1_bits, s1)
    assert torch.equal(full // 2**s1_bits, s2)
    assert torch.equal(tokenizer.decode(full), tokenizer.decode([s1, s2], half=True))
    positive = tokenizer.latent(x) > 0
    for series, bar in ((0, 0), (2, 6)):
        coarse = sum(int(bit) << place for place, bit in enumerate(positive[series, bar, :s1_bits]))
        fine = sum(int(bit) << place for place, bit in enumerate(positive[series, bar, s1_bits:]))
        assert (int(s1[series, bar]), int(s2[series, bar])) == (coarse, fine)
    code = tokenizer.indices_to_bits(full)
    torch.testing.assert_close(code, torch.where(positive, 1.0, -1.0) * (s1_bits + s2_bits) ** -0.5)


@torch.no_grad()
def test_a_bar_s_token_does_not_depend_on_later_bars() -> None:
    tokenizer = make_tokenizer()
    x = bars(2, 12)
    changed = x.clone()
    changed[:, 8:] += 1.0
    assert torch.equal(tokenizer.encode(x)[:, :8], tokenizer.encode(changed)[:, :8])
    assert torch.equal(tokenizer.encode(x)[:, :8], tokenizer.encode(x[:, :8]))


@torch.no_grad()
def test_evaluation_does_not_look_at_later_bars_and_the_published_code_does() -> None:
    s1, s2 = torch.randint(0, 16, (2, 8)), torch.randint(0, 8, (2, 8))
    changed = s1.clone()
    changed[:, -1] = (s1[:, -1] + 1) % 16
    for parity in (False, True):
        model = make_predictor(official_parity=parity)
        one, other = (
            model(tokens, s2, stamps(2, 8), use_teacher_forcing=True, s1_targets=s1)[1] for tokens in (s1, changed)
        )
        assert torch.equal(one[:, :-1], other[:, :-1]) is not parity


@torch.no_grad()
def test_padding_is_not_looked_at_and_no_padding_changes_nothing() -> None:
    model = make_predictor()
    s1, s2 = torch.randint(0, 16, (2, 6)), torch.randint(0, 8, (2, 6))
    forced = {"use_teacher_forcing": True, "s1_targets": s1}
    plain = model(s1, s2, **forced)
    none = model(s1, s2, padding_mask=torch.zeros(2, 6, dtype=torch.bool), **forced)
    for a, b in zip(plain, none, strict=True):
        torch.testing.assert_close(a, b)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[:, 0] = True
    other = s1.clone()
    other[:, 0] = (s1[:, 0] + 5) % 16
    one, two = (
        model(tokens, s2, padding_mask=padding, use_teacher_forcing=True, s1_targets=s1) for tokens in (s1, other)
    )
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a[:, 1:], b[:, 1:])
    loss = model.loss(*one, s1, s2, padding)
    assert loss.s1 == pytest.approx(
        float(torch.nn.functional.cross_entropy(one[0][:, 1:].flatten(0, 1), s1[:, 1:].flatten()))
    )


def recomputed(tokenizer: KronosTokenizer, model: Kronos, x: torch.Tensor, num_ahead: int) -> torch.Tensor:
    """Greedy tokens by reading everything anew for every bar."""
    pairs, stamp = tokenizer.token_pairs(x), stamps(len(x), x.shape[1] + num_ahead)
    for _ in range(num_ahead):
        logits, context = model.decode_s1(pairs[..., 0], pairs[..., 1], stamp[:, : pairs.shape[1]])
        s1 = logits[:, -1:].argmax(-1)
        s2 = model.decode_s2(context, s1).argmax(-1)
        pairs = torch.cat([pairs, torch.stack([s1, s2], dim=-1)], dim=1)
    return pairs[:, x.shape[1] :]


@pytest.mark.parametrize("parity", [False, True])
@torch.no_grad()
def test_generation_with_caches_equals_reading_everything_anew(parity: bool) -> None:
    tokenizer, model = make_tokenizer(), make_predictor(official_parity=parity)
    x, y_stamp = bars(3, 10), stamps(3, 5, start=10)
    paths = generate(tokenizer, model, x, stamps(3, 10), y_stamp, 64, Sampling(top_k=1, sample_count=2))
    expected = recomputed(tokenizer, model, x, 5)
    for sample in range(2):
        assert torch.equal(paths.s1[:, sample], expected[..., 0])
        assert torch.equal(paths.s2[:, sample], expected[..., 1])
    tokens = torch.cat([tokenizer.token_pairs(x), expected], dim=1)
    whole = tokenizer.decode(list(tokens.unbind(-1)), half=True)
    torch.testing.assert_close(paths.bars[:, 0], whole[:, -5:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_samples", [1, 5, 11, 12])
@pytest.mark.parametrize("rotated", [False, True])
def test_a_continuation_looks_at_the_shared_bars_that_are_left_and_at_its_own(num_samples: int, rotated: bool) -> None:
    """Against attention over each row's keys, written out; bars are dropped on the way."""
    num_series, num_heads, num_shared, room, dim = 2, 3, 4, 5, 6
    rotary = RotaryEmbedding(dim) if rotated else None
    draw = torch.Generator().manual_seed(num_samples)
    shared = [torch.randn(num_series, num_heads, num_shared, dim, generator=draw) for _ in range(2)]
    cache = KeyValueCache()
    cache.append(*shared)
    forked = ForkedCache(cache, num_samples, room, rotary)
    rows = (num_series * num_samples, num_heads, 1, dim)
    key, value = (one.repeat_interleave(num_samples, dim=0) for one in shared)
    for bar in range(room):
        assert forked.length == key.shape[2]
        if bar in (1, 3):
            forked.drop_first(2)
            key, value = key[:, :, 2:], value[:, :, 2:]
        query, own_key, own_value = own = [torch.randn(rows, generator=draw) for _ in range(3)]
        projected = torch.cat([part.flatten(1) for part in own], dim=1)
        if rotary:
            angles = rotary.angles(1, num_shared + bar)
            query, own_key = rotate(query, angles), rotate(own_key, angles)
        key, value = torch.cat([key, own_key], dim=2), torch.cat([value, own_value], dim=2)
        expected = torch.softmax(query @ key.mT / dim**0.5, dim=-1) @ value
        torch.testing.assert_close(forked.attend(projected), expected.flatten(1), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="only 0 bars are shared"):
        forked.drop_first(1)


@torch.no_grad()
def test_the_approximate_mode_is_exact_inside_the_context_and_bounded_beyond() -> None:
    tokenizer, model = make_tokenizer(), make_predictor()
    x, x_stamp, y_stamp = bars(1, 10), stamps(1, 10), stamps(1, 6, start=10)
    greedy = Sampling(top_k=1)
    inside = [generate(tokenizer, model, x, x_stamp, y_stamp, 15, greedy, mode) for mode in ("exact", "approximate")]
    assert torch.equal(inside[0].s1, inside[1].s1)
    beyond = generate(tokenizer, model, x, x_stamp, y_stamp, 8, greedy, "approximate")
    assert beyond.bars.shape == (1, 1, 6, 6)


@torch.no_grad()
def test_one_layer_of_the_approximate_mode_is_exact_beyond_the_context_too() -> None:
    """States of one layer see only embeddings, which do not remember: dropping keys loses nothing."""
    tokenizer, model = make_tokenizer(), make_predictor(n_layers=1)
    x, x_stamp, y_stamp = bars(2, 10), stamps(2, 10), stamps(2, 6, start=10)
    model.dep_layer.cross_attn.out_proj.weight.zero_()  # contexts remember: leave the second attention out
    exact, approximate = (
        generate(tokenizer, model, x, x_stamp, y_stamp, 8, Sampling(top_k=1), mode) for mode in ("exact", "approximate")
    )
    assert torch.equal(exact.s1, approximate.s1)
    assert torch.equal(exact.s2, approximate.s2)


def test_draws_repeat_with_a_seed_and_samples_differ() -> None:
    tokenizer, model = make_tokenizer(), make_predictor()
    arguments = (tokenizer, model, bars(1, 8), stamps(1, 8), stamps(1, 6, start=8), 32)
    sampling = Sampling(top_p=1.0, sample_count=4, seed=3)
    one, two = generate(*arguments, sampling), generate(*arguments, sampling)
    assert torch.equal(one.bars, two.bars)
    assert len({tuple(path.tolist()) for path in one.s1[0]}) > 1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 12), st.floats(0.05, 1.0), st.integers(0, 10_000))
def test_filters_equal_a_plain_loop(top_k: int, top_p: float, seed: int) -> None:
    logits = torch.randn(8, generator=torch.Generator().manual_seed(seed))
    order = sorted(range(8), key=lambda token: -float(logits[token]))
    kept = order[:top_k] if top_k else order
    probability = torch.softmax(logits[kept].double(), 0)
    total, nucleus = 0.0, []
    for token, share in zip(kept, probability.tolist(), strict=True):
        if total > top_p:
            break
        nucleus.append(token)
        total += share
    if any(abs(float(probability[: n + 1].sum()) - top_p) < 1e-6 for n in range(len(kept))):
        return
    filtered = filter_logits(logits, top_k, top_p)
    expected = nucleus if top_p < 1.0 else kept
    assert set(torch.isfinite(filtered).nonzero().flatten().tolist()) == set(expected)


@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (0, 0.91), (0, 0.02), (7, 0.63)])
@pytest.mark.parametrize("tied", [False, True])
def test_draws_follow_the_filtered_probabilities(top_k: int, top_p: float, tied: bool) -> None:
    """For 20 rows of logits: only what the filters leave is drawn, and as often as they say (chi-square)."""
    logits = torch.randn(20, 16, generator=torch.Generator().manual_seed(1))
    if tied:
        logits = logits.round(decimals=0)
    expected = filter_logits(logits, top_k, top_p).softmax(-1) * 5_000
    drawn = sample_token(logits.repeat_interleave(5_000, dim=0), 1.0, top_k, top_p, torch.Generator().manual_seed(2))
    counts = torch.nn.functional.one_hot(drawn.view(20, 5_000), 16).sum(1)
    assert int(counts[expected == 0].sum()) == 0
    degrees = int((expected > 0).sum()) - 20
    distance = ((counts - expected).square() / expected)[expected > 0].sum()
    assert degrees == 0 or 0.001 < chi2.sf(float(distance), degrees) < 0.999


def test_generated_bars_may_enter_a_loss() -> None:
    arguments = (make_tokenizer(), make_predictor(), bars(1, 8), stamps(1, 8), stamps(1, 3, start=8), 32)
    weight = torch.ones(6, requires_grad=True)
    (generate(*arguments).bars * weight).sum().backward()
    assert weight.grad is not None


def test_frequencies_of_draws_follow_the_softmax() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.2])).expand(40_000, 3)
    torch.manual_seed(0)
    for drawn in (sample_token(logits), draw_tokens(logits.softmax(-1))):
        shares = torch.bincount(drawn.flatten(), minlength=3) / 40_000
        torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.01, rtol=0)


def test_a_token_without_probability_is_never_drawn() -> None:
    probability = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0]).expand(20_000, 5)
    assert set(draw_tokens(probability).flatten().tolist()) == {1, 3}


def test_files_round_trip_to_the_byte_and_name_what_is_wrong(tmp_path: Path) -> None:
    for number, model in enumerate((make_tokenizer(), make_predictor(), make_predictor(learn_te=False))):
        folder = tmp_path / str(number)
        model.save_pretrained(folder)
        again = type(model).from_pretrained(folder)
        assert again.content_hash == model.content_hash
        assert not again.training
        again.save_pretrained(tmp_path / "again")
        for name in ("config.json", "model.safetensors"):
            assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    weights = tmp_path / "0" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"model\.safetensors: does not match sha256\.json"):
        KronosTokenizer.from_pretrained(tmp_path / "0")
    (tmp_path / "0" / "sha256.json").unlink()  # as a published folder has none
    with pytest.raises(ValueError, match=r"model\.safetensors: does not hold weights, or not all"):
        KronosTokenizer.from_pretrained(tmp_path / "0")
    with pytest.raises(ValueError, match="a KronosTokenizer needs exactly the keys"):
        KronosTokenizer.from_pretrained(tmp_path / "1")
    with pytest.raises(ValueError, match="no such folder"):
        Kronos.from_pretrained(tmp_path / "absent")


def test_weights_that_are_no_numbers_are_refused_though_no_hash_lies_beside_them(tmp_path: Path) -> None:
    model = make_tokenizer()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    model.save_pretrained(tmp_path)
    (tmp_path / "sha256.json").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors: .* has numbers that are not finite"):
        KronosTokenizer.from_pretrained(tmp_path)


def frame(num_bars: int, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(generator.normal(0, 0.002, num_bars)))
    opened = np.roll(close, 1)
    opened[0] = close[0]
    high, low = np.maximum(opened, close) * 1.001, np.minimum(opened, close) * 0.999
    volume = generator.uniform(1e3, 1e4, num_bars)
    return pd.DataFrame({"open": opened, "high": high, "low": low, "close": close, "volume": volume})


def forecaster() -> KronosPredictor:
    return KronosPredictor(make_predictor(), make_tokenizer(), max_context=64)


def test_paths_are_repaired_and_their_quantiles_enclose_the_mean() -> None:
    index = pd.date_range("2024-01-02 09:35", periods=40, freq="5min")
    (forecast,) = forecaster().predict_paths(
        [frame(30)], [index[:30]], [index[30:]], Sampling(top_p=1.0, sample_count=16, seed=0)
    )
    opened, high, low, close = (forecast.samples[..., column] for column in range(4))
    assert forecast.samples.shape == (16, 10, 6)
    assert (high >= np.maximum(opened, close)).all()
    assert (low <= np.minimum(opened, close)).all()
    assert (forecast.samples[..., 4:] >= 0).all()
    assert forecast.num_repaired > 0
    assert (forecast.quantile(0.05)["close"] <= forecast.mean()["close"]).all()
    assert (forecast.quantile(0.95)["close"] >= forecast.mean()["close"]).all()


def test_repair_changes_only_what_cannot_be() -> None:
    good = np.array([[10.0, 11.0, 9.0, 10.5, 100.0, 1_000.0]])
    bad = np.array([[10.0, 9.5, 10.2, 10.5, -1.0, 1_000.0]])
    repaired, changed = repair_bars(np.vstack([good, bad]))
    assert changed.tolist() == [False, True]
    assert repaired[1].tolist() == [10.0, 10.5, 10.0, 10.5, 0.0, 1_000.0]
    assert np.array_equal(repaired[0], good[0])


def test_the_forecast_is_normalised_by_the_lookback_alone_and_scales_with_it() -> None:
    index = pd.date_range("2024-01-02 09:35", periods=34, freq="5min")
    one, other = (
        forecaster().predict(data, index[:30], index[30:], 4, top_k=1, verbose=False)
        for data in (frame(30), frame(30) * 4.0)
    )
    prices = ["open", "high", "low", "close"]
    np.testing.assert_allclose(other[prices], 4.0 * one[prices], rtol=1e-3)
    assert one.index.equals(index[30:])


def test_stamps_may_be_a_series_or_an_index_and_give_five_numbers() -> None:
    index = pd.DatetimeIndex(["2024-02-29 13:05", "2024-12-01 00:00"])
    assert stamp_features(index).tolist() == [[5, 13, 3, 29, 2], [0, 0, 6, 1, 12]]
    days = pd.date_range("2024-01-02 09:35", periods=12, freq="5min")
    as_index = forecaster().predict(frame(10), days[:10], days[10:], 2, top_k=1, verbose=False)
    as_series = forecaster().predict(frame(10), pd.Series(days[:10]), pd.Series(days[10:]), 2, top_k=1, verbose=False)
    pd.testing.assert_frame_equal(as_index, as_series, check_freq=False)


def test_missing_volume_and_amount_are_completed() -> None:
    days = pd.date_range("2024-01-02 09:35", periods=12, freq="5min")
    no_volume = frame(10).drop(columns="volume")
    zeros = no_volume.assign(volume=0.0, amount=0.0)
    derived = frame(10)
    derived["amount"] = derived["volume"] * derived[["open", "high", "low", "close"]].mean(axis=1)
    for short, full in ((no_volume, zeros), (frame(10), derived)):
        one, other = (
            forecaster().predict(data, days[:10], days[10:], 2, top_k=1, verbose=False) for data in (short, full)
        )
        pd.testing.assert_frame_equal(one, other)


DAYS = pd.date_range("2024-01-02 09:35", periods=80, freq="5min")


@pytest.mark.parametrize(
    ("data", "past", "ahead", "message"),
    [
        (frame(10).drop(columns="low"), DAYS[:10], DAYS[10:12], "series 0: column 'low' is missing"),
        (
            frame(10).assign(close=np.nan),
            DAYS[:10],
            DAYS[10:12],
            "column 'close' is missing or infinite in 10 rows, first row 1",
        ),
        (
            frame(10).assign(volume=np.inf),
            DAYS[:10],
            DAYS[10:12],
            "column 'volume' is missing or infinite in 10 rows",
        ),
        (
            frame(10).drop(columns="volume").assign(amount=1.0),
            DAYS[:10],
            DAYS[10:12],
            "amount is given without volume",
        ),
        (frame(10), DAYS[:9], DAYS[10:12], "10 bars and 9 x_timestamps"),
        (frame(10), DAYS[9::-1], DAYS[10:12], "x_timestamp must increase"),
        (frame(10), DAYS[:10], DAYS[8:10], "does not come after the last bar"),
        (frame(10), DAYS[:10], DAYS[10:13], "3 bars ahead"),
        (frame(10), pd.Index(range(10)), DAYS[10:12], "x_timestamp are numbers, as 0"),
        (frame(10), DAYS[:10], pd.Series([20240102, 20240103]), "y_timestamp are numbers, as 20240102"),
        (frame(10), DAYS[:10], DAYS[10:12].tz_localize("UTC"), "x_timestamp is in no zone and y_timestamp in UTC"),
        (
            frame(10),
            DAYS[:10].tz_localize("Asia/Shanghai"),
            DAYS[10:12].tz_localize("UTC"),
            "x_timestamp is in Asia/Shanghai and y_timestamp in UTC",
        ),
    ],
)
def test_a_bad_frame_is_refused_with_series_column_and_row(
    data: pd.DataFrame, past: pd.DatetimeIndex, ahead: pd.DatetimeIndex, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        forecaster().predict(data, past, ahead, 2, verbose=False)


def test_more_bars_ahead_than_the_context_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pred_len = 65 must lie in 1 \.\. max_context = 64"):
        forecaster().predict(frame(10), DAYS[:10], DAYS[10:75], 65, verbose=False)


def test_a_tokenizer_that_does_not_belong_to_the_predictor_is_refused() -> None:
    tokenizer, other = make_tokenizer(), make_tokenizer(gamma=1.2)
    KronosPredictor(make_predictor(), tokenizer, tokenizer_hash=tokenizer.content_hash)
    with pytest.raises(ValueError, match="their tokens do not mean the same"):
        KronosPredictor(make_predictor(), other, tokenizer_hash=tokenizer.content_hash)
    with pytest.raises(ValueError, match="do not belong together"):
        generate(make_tokenizer(3, 3), make_predictor(4, 3), bars(1, 4), stamps(1, 4), stamps(1, 2), 16)
