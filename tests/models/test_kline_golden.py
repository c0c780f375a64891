"""Numbers of the published code on random weights: tokens exact, floats to 1e-4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from factor_models.kline import Kronos, KronosPredictor, KronosTokenizer, Sampling, filter_logits, generate

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "kronos" / "case1"

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not FOLDER.exists(), reason="no golden vectors in ../shared/golden beside the checkout"),
]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(FOLDER / "io.npz") as arrays:
        return {k: torch.from_numpy(v) if v.dtype.kind in "fi" else v for k, v in arrays.items()}


@pytest.fixture(scope="module")
def tokenizer() -> KronosTokenizer:
    return KronosTokenizer.from_pretrained(FOLDER / "tokenizer")


def predictor(official_parity: bool) -> Kronos:
    return Kronos.from_pretrained(FOLDER / "predictor", official_parity=official_parity)


def assert_equals(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual.double(), expected.double(), atol=1e-4, rtol=1e-4)


def gradient_norms(model: torch.nn.Module, names: Tensor) -> Tensor:
    parameters = dict(model.named_parameters())
    gradients = [parameters[str(name)].grad for name in names]
    return torch.stack([gradient.norm() for gradient in gradients if gradient is not None])


@pytest.mark.parametrize(("kind", "model"), [("tokenizer", KronosTokenizer), ("predictor", Kronos)])
def test_a_checkpoint_is_saved_with_the_bytes_it_was_loaded_from(kind: str, model: type, tmp_path: Path) -> None:
    model.from_pretrained(FOLDER / kind).save_pretrained(tmp_path)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / name).read_bytes() == (FOLDER / kind / name).read_bytes()


@torch.no_grad()
def test_tokens_codes_and_reconstructions(golden: dict[str, Tensor], tokenizer: KronosTokenizer) -> None:
    x = golden["x"].float()
    s1, s2 = tokenizer.encode(x, half=True)
    assert torch.equal(s1, golden["s1"])
    assert torch.equal(s2, golden["s2"])
    assert torch.equal(tokenizer.encode(x), golden["full"])
    assert_equals(tokenizer.latent(x), golden["tok_z"])
    assert_equals(tokenizer.decode([s1, s2], half=True), golden["decode_half"])
    assert_equals(tokenizer.decode(golden["full"]), golden["decode_full"])
    (coarse, fine), loss, code, full = tokenizer(x)
    assert torch.equal(full, golden["full"])
    for actual, name in ((coarse, "recon_s1"), (fine, "recon"), (code, "quantized"), (loss, "bsq_loss")):
        assert_equals(actual, golden[name])
    _, terms = tokenizer.bsq(tokenizer.latent(x))
    assert_equals(terms.commit, golden["bsq_commit"])
    assert_equals(terms.persample_entropy, golden["bsq_persample_entropy"])
    assert_equals(terms.codebook_entropy, golden["bsq_codebook_entropy"])


def test_the_tokenizer_s_training_loss_and_gradients(golden: dict[str, Tensor]) -> None:
    model = KronosTokenizer.from_pretrained(FOLDER / "tokenizer").train()
    loss, _ = model.training_loss(golden["x"].float())
    loss.backward()
    assert_equals(loss, golden["tok_train_loss"])
    assert_equals(gradient_norms(model, golden["tok_grad_names"]), golden["tok_grad_norms"])
    for name in ("embed", "quant_embed"):
        assert_equals(getattr(model, name).weight.grad, golden[f"tok_grad_{name}_weight"])


@torch.no_grad()
def test_embeddings_and_evaluation_logits_in_parity_mode(golden: dict[str, Tensor]) -> None:
    model = predictor(official_parity=True)
    s1, s2, stamp = golden["s1"], golden["s2"], golden["x_stamp"][:, :-1]
    assert_equals(model.embedding(s1[:, :-1], s2[:, :-1]), golden["hier_emb"])
    assert_equals(model.time_emb(stamp), golden["time_emb"])
    forced = {"use_teacher_forcing": True, "s1_targets": s1[:, 1:]}
    s1_logits, s2_logits = model(s1[:, :-1], s2[:, :-1], stamp, **forced)
    assert_equals(s1_logits, golden["eval_s1_logits"])
    assert_equals(s2_logits, golden["eval_s2_logits"])
    loss = model.loss(s1_logits, s2_logits, s1[:, 1:], s2[:, 1:])
    for actual, name in zip(loss, ("eval_loss", "eval_loss_s1", "eval_loss_s2"), strict=True):
        assert_equals(actual, golden[name])
    assert_equals(model(s1[:, :-1], s2[:, :-1], **forced)[0], golden["eval_s1_logits_nostamp"])


@pytest.mark.parametrize("official_parity", [True, False])
def test_training_logits_losses_and_gradients(golden: dict[str, Tensor], official_parity: bool) -> None:
    model = predictor(official_parity).train()
    s1, s2, stamp = golden["s1"], golden["s2"], golden["x_stamp"][:, :-1]
    drawn = golden["train_sampled_s1"]
    logits = model(s1[:, :-1], s2[:, :-1], stamp, use_teacher_forcing=True, s1_targets=drawn)
    assert_equals(logits[1], golden["train_sampled_s2_logits"])
    assert_equals(model.loss(*logits, s1[:, 1:], s2[:, 1:]).loss, golden["train_sampled_loss"])
    logits = model(s1[:, :-1], s2[:, :-1], stamp, use_teacher_forcing=True, s1_targets=s1[:, 1:])
    assert_equals(logits[0], golden["train_s1_logits"])
    assert_equals(logits[1], golden["train_s2_logits"])
    loss = model.loss(*logits, s1[:, 1:], s2[:, 1:])
    for actual, name in zip(loss, ("train_loss", "train_loss_s1", "train_loss_s2"), strict=True):
        assert_equals(actual, golden[name])
    loss.loss.backward()
    assert_equals(gradient_norms(model, golden["pred_grad_names"]), golden["pred_grad_norms"])


@torch.no_grad()
def test_by_default_evaluation_gives_the_logits_of_training(golden: dict[str, Tensor]) -> None:
    s1, s2, stamp = golden["s1"], golden["s2"], golden["x_stamp"][:, :-1]
    logits = predictor(official_parity=False)(
        s1[:, :-1], s2[:, :-1], stamp, use_teacher_forcing=True, s1_targets=s1[:, 1:]
    )
    assert_equals(logits[1], golden["train_s2_logits"])


@torch.no_grad()
def test_one_step_of_inference_in_parity_mode(golden: dict[str, Tensor]) -> None:
    model = predictor(official_parity=True)
    inputs = golden["s1"][:, :-1], golden["s2"][:, :-1], golden["x_stamp"][:, :-1]
    logits, context = model.decode_s1(*inputs)
    assert_equals(context, golden["step_context"])
    assert_equals(logits[:, -1], golden["step_s1_logits"])
    assert_equals(model.decode_s2(context, golden["step_s1_token"])[:, -1], golden["step_s2_logits"])


def test_filters(golden: dict[str, Tensor]) -> None:
    logits = golden["filter_logits"]
    assert torch.equal(filter_logits(logits, top_k=5), golden["filter_topk5"])
    assert torch.equal(filter_logits(logits, top_p=0.8), golden["filter_topp80"])
    both = filter_logits(logits, top_k=5, top_p=0.5, official_parity=True)
    assert torch.equal(both, golden["filter_topk5_topp50"])


@pytest.mark.parametrize(("case", "extra"), [("fit", 8), ("slide", -3), ("midslide", 3)])
def test_greedy_generation_inside_and_beyond_the_context(
    golden: dict[str, Tensor], tokenizer: KronosTokenizer, case: str, extra: int
) -> None:
    x = golden["x"].float()
    paths = generate(
        tokenizer,
        predictor(official_parity=True),
        x,
        golden["x_stamp"],
        golden["y_stamp"],
        x.shape[1] + extra,
        Sampling(top_k=1),
    )
    assert torch.equal(paths.s1[:, 0], golden[f"gen_{case}_s1"])
    assert torch.equal(paths.s2[:, 0], golden[f"gen_{case}_s2"])
    tokens = torch.cat([tokenizer.token_pairs(x), torch.stack([paths.s1, paths.s2], dim=-1)[:, 0]], dim=1)
    window = tokens[:, -(x.shape[1] + extra) :].unbind(-1)
    assert_equals(tokenizer.decode(window, half=True), golden[f"gen_{case}"])
    assert_equals(paths.bars[:, 0], golden[f"gen_{case}"][:, -paths.bars.shape[2] :])


def test_frames_in_and_frames_out(golden: dict[str, Tensor], tokenizer: KronosTokenizer) -> None:
    raw, time, num_bars = golden["raw"].numpy(), pd.to_datetime(golden["raw_time_ns"].numpy().ravel()), 24
    num_all = raw.shape[1]
    times = [time[b * num_all : (b + 1) * num_all] for b in range(len(raw))]
    columns = ["open", "high", "low", "close", "volume"]
    frames = [pd.DataFrame(series[:num_bars, :5], columns=columns) for series in raw]
    model = KronosPredictor(predictor(official_parity=True), tokenizer, max_context=num_all)
    past, ahead = [t[:num_bars] for t in times], [t[num_bars:] for t in times]
    forecasts = model.predict_batch(frames, past, ahead, num_all - num_bars, top_k=1, verbose=False)
    expected = golden["predict_frame"].numpy()
    for forecast, values, stamps in zip(forecasts, expected, ahead, strict=True):
        np.testing.assert_allclose(forecast.to_numpy(), values, atol=1e-4, rtol=1e-4)
        assert forecast.index.equals(stamps)
