"""The K-line foundation model: tokenizer, predictor, generation; compatible with the published Kronos models."""

from factor_models.kline.calendar import future_stamps, stamp_features
from factor_models.kline.forecast import KronosPredictor, PathForecast, repair_bars
from factor_models.kline.generation import GeneratedPaths, Sampling, generate
from factor_models.kline.predictor import Kronos, PredictorLoss
from factor_models.kline.sampling import filter_logits, sample_token
from factor_models.kline.tokenizer import KronosTokenizer, QuantiserLoss

__all__ = [
    "GeneratedPaths",
    "Kronos",
    "KronosPredictor",
    "KronosTokenizer",
    "PathForecast",
    "PredictorLoss",
    "QuantiserLoss",
    "Sampling",
    "filter_logits",
    "generate",
    "repair_bars",
    "sample_token",
    "stamp_features",
]
