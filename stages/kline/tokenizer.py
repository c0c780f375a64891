"""The K-line tokenizer of each fold: fitted on windows of its training dates, judged on valid ones, tokens written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from factor_data import Fold, read_folds
from factor_data.store import fold_folder
from factor_models import StoppedError, finish_distributed, get_loss, set_seed, start_distributed
from factor_models.kline import (
    KlineBatch,
    KronosTokenizer,
    date_batches,
    kline_batches,
    num_batches,
    tokenizer_quality,
)
from stages.fitting.engine_fit import Training
from stages.fitting.identity import digest
from stages.json_files import write_json
from stages.kline.bars import KlineData, fold_ends, read_kline_data, read_pretrained
from stages.kline.heritage import METADATA, TRAINED_UNTIL, trained_until
from stages.kline.memory import ahead_of_steps, shorter
from stages.params.tokenize_kline import TokenizeKlineParams
from stages.processes.progress import TrainingProgress
from stages.processes.watch import Watch
from stages.running.files import CHECKPOINTS, check_writable, stored
from stages.running.planned import Plan

WINDOWS_AT_ONCE = 512


def write_tokens(plan: Plan, folder: Path) -> None:
    """Tokenizers and tokens of every fold into `folder`."""
    config = plan.section("tokenize_kline", TokenizeKlineParams)
    num_ahead = plan.value("tokenize.reach")
    start_tokenizer(config)  # a wrong path is refused before any data are read
    check_writable(CHECKPOINTS)
    torch.set_num_threads(config.threads)
    start_distributed()
    data, folds = read_kline_data(), read_folds(stored("split", "folds.json"))
    reports = fit_tokenizers(data, folds, config, num_ahead, folder, plan.code)
    finish_distributed()
    for number, report in enumerate(reports):
        print(describe(number, report))


def fit_tokenizers(
    data: KlineData,
    folds: Sequence[Fold],
    config: TokenizeKlineParams,
    num_ahead: int,
    folder: Path,
    code: str,
) -> list[dict[str, Any]]:
    """Train and write one tokenizer per fold, and report.json; return a line per fold."""
    fits = [FoldTokenizer(data, fold, config, num_ahead, code) for fold in folds]
    steps = max(one.training.num_steps for one in fits)
    with (
        TrainingProgress("tokenizer", len(folds), steps, shown=True, score_name="valid -MSE") as progress,
        Watch() as watch,
    ):
        try:
            reports = [one.fit(progress, watch, fold_folder(folder, one.fold.index)) for one in fits]
        except StoppedError as stopped:
            print(f"tokenizer: {stopped}. The same command again goes on from there.", file=sys.stderr)
            sys.exit(watch.exit_status)
    for one in fits:
        one.training.folder.delete()
    window = {"lookback": config.lookback, "num_ahead": num_ahead, "clip": config.clip}
    start = start_tokenizer(config).content_hash if config.pretrained else None
    report = {"needed": True, **window, "pretrained_sha256": start, "folds": reports}
    write_json(folder / "report.json", report)
    return reports


def start_tokenizer(config: TokenizeKlineParams) -> KronosTokenizer:
    """The pretrained tokenizer of a local folder, or one with random weights."""
    if config.pretrained is not None:
        return read_pretrained(KronosTokenizer, "tokenize_kline.pretrained", config.pretrained)[0]
    torch.manual_seed(config.seed)
    return KronosTokenizer(**config.model.arguments())


class FoldTokenizer:
    """The tokenizer of one fold, fitted on windows that lie on its training dates."""

    def __init__(self, data: KlineData, fold: Fold, config: TokenizeKlineParams, num_ahead: int, code: str) -> None:
        self.data, self.fold, self.config, self.num_ahead = data, fold, config, num_ahead
        self.trained_until = trained_until(fold, config.pretrained, "tokenize_kline.pretrained")
        self.model = start_tokenizer(config)
        self.ends = {
            "train": fold_ends(data, fold, "train", config.lookback, num_ahead, config.every),
            "valid": fold_ends(data, fold, "valid", config.lookback, num_ahead, config.every),
        }
        dates = data.bars.date_code[self.ends["train"]]
        self.training = Training(
            fold=fold.index,
            network=self.model,
            loss=get_loss("mse"),
            config=config,
            epochs=config.epochs,
            patience=config.patience,
            batches=lambda epoch, first: self._batches(dates, epoch, first),
            most_pieces=config.batch_dates,
            steps_per_epoch=num_batches(dates, config.batch_dates),
            score=self._score,
            code=code,
            advice=shorter("tokenize_kline", config.batch_dates, config.lookback, num_ahead),
            identity={
                "what": "tokenizer",
                "start": self.model.content_hash,
                "bars": digest(data.bars.values),
                "ends": [digest(ends) for ends in self.ends.values()],
                "window": [config.lookback, num_ahead, config.clip],
            },
        )

    def _windows(self, ends: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.data.windows(ends, self.config.lookback, self.num_ahead, self.config.clip)

    def _batches(self, dates: NDArray[np.int64], epoch: int, first: int) -> Iterable[KlineBatch]:
        order = date_batches(dates, self.config.batch_dates, seed=self.config.seed, epoch=epoch)
        batches = kline_batches(
            lambda numbers: self._windows(self.ends["train"][numbers]), dates, islice(order, first, None)
        )
        return ahead_of_steps(batches, dates, self.config.batch_dates, self.config.lookback + self.num_ahead)

    def _pieces(self, segment: str) -> Iterable[NDArray[np.float32]]:
        ends = self.ends[segment]
        for start in range(0, len(ends), WINDOWS_AT_ONCE):
            yield self._windows(ends[start : start + WINDOWS_AT_ONCE])

    def _score(self, model: torch.nn.Module) -> float:
        assert isinstance(model, KronosTokenizer)
        return -tokenizer_quality(model, self._pieces("valid")).reconstruction_mse

    def fit(self, progress: TrainingProgress, watch: Watch, folder: Path) -> dict[str, Any]:
        """Train, if there are epochs; write weights, positions and tokens of the windows, say how good they are."""
        progress.start_fold(self.fold.index)
        set_seed(self.config.seed)
        best_epoch = self.training.run(progress, None, watch).best_epoch if self.config.epochs else 0
        self.model.eval()
        self.model.save_pretrained(folder)
        write_json(folder / METADATA, {TRAINED_UNTIL: self.trained_until})
        for segment, ends in self.ends.items():
            np.save(folder / f"{segment}_ends.npy", ends)
            np.save(folder / f"{segment}_tokens.npy", self._tokens(segment))
        return {
            "fold": self.fold.describe(),
            "tokenizer_sha256": self.model.content_hash,
            "best_epoch": best_epoch,
            "num_windows": {segment: len(ends) for segment, ends in self.ends.items()},
            "valid": asdict(tokenizer_quality(self.model, self._pieces("valid"))),
        }

    @torch.no_grad()
    def _tokens(self, segment: str) -> NDArray[np.uint16]:
        """(W, T, 2): s1 and s2 of each bar, at most 16 bits each."""
        device = self.model.embed.weight.device
        parts = [
            self.model.token_pairs(torch.from_numpy(piece).to(device)).cpu().numpy().astype(np.uint16)
            for piece in self._pieces(segment)
        ]
        return np.concatenate(parts)


def describe(number: int, report: dict[str, Any]) -> str:
    """Return the quality of a fold's tokenizer in one line."""
    valid = report["valid"]
    return (
        f"fold {number}: reconstruction MSE {valid['reconstruction_mse']:.3f} (coarse token alone "
        f"{valid['reconstruction_mse_s1']:.3f}), codebook use {valid['used_s1']:.0%} of s1 and {valid['used_s2']:.0%} "
        f"of s2, perplexity {valid['perplexity_s1']:.1f} and {valid['perplexity_s2']:.1f}, pairs "
        f"{valid['perplexity_pairs']:.1f}"
    )
