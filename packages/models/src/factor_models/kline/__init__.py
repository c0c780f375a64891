"""The K-line foundation model: tokenizer, predictor, generation; compatible with the published Kronos models."""

from factor_models.kline.adapters import LowRankLinear, freeze, merge
from factor_models.kline.batches import KlineBatch, date_batches, kline_batches, num_batches, token_windows
from factor_models.kline.calendar import future_stamps, stamp_features
from factor_models.kline.config import KlineTokenizerConfig, KronosConfig, check_context
from factor_models.kline.coupling import CoupledDraws, close_order
from factor_models.kline.factors import (
    QUANTILES,
    Calibration,
    PathFactors,
    calibration,
    path_factors,
    path_returns,
)
from factor_models.kline.forecast import KronosPredictor, PathForecast, repair_bars
from factor_models.kline.generation import GeneratedPaths, Sampling, generate
from factor_models.kline.predictor import Kronos, PredictorLoss
from factor_models.kline.quality import TokenizerQuality, perplexity, tokenizer_quality
from factor_models.kline.sampling import filter_logits, sample_token
from factor_models.kline.tokenizer import KronosTokenizer, QuantiserLoss
from factor_models.kline.windows import COLUMNS, KlineBars, kline_bars, normalise

__all__ = [
    "COLUMNS",
    "QUANTILES",
    "Calibration",
    "CoupledDraws",
    "GeneratedPaths",
    "KlineBars",
    "KlineBatch",
    "KlineTokenizerConfig",
    "Kronos",
    "KronosConfig",
    "KronosPredictor",
    "KronosTokenizer",
    "LowRankLinear",
    "PathFactors",
    "PathForecast",
    "PredictorLoss",
    "QuantiserLoss",
    "Sampling",
    "TokenizerQuality",
    "calibration",
    "check_context",
    "close_order",
    "date_batches",
    "filter_logits",
    "freeze",
    "future_stamps",
    "generate",
    "kline_bars",
    "kline_batches",
    "merge",
    "normalise",
    "num_batches",
    "path_factors",
    "path_returns",
    "perplexity",
    "repair_bars",
    "sample_token",
    "stamp_features",
    "token_windows",
    "tokenizer_quality",
]
