"""What a network is trained for: one idea a file, and a table of names. `get_loss(name, **settings)` makes a `Loss`.

Every term is computed on the cross-section of a date; NaN targets are masked, weights of windows are repetitions, and
splitting the dates of a batch over processes changes nothing (`cross_section`).
"""

from factor_models.losses.base import Loss, Term, TermLoss
from factor_models.losses.classification import bce, focal, hinge
from factor_models.losses.correlation import ic, ic_shortfall
from factor_models.losses.cross_section import CrossSections
from factor_models.losses.distillation import DistilledLoss
from factor_models.losses.errors import huber, mae, mse
from factor_models.losses.ordering import listnet, ranknet
from factor_models.losses.quantile import QuantileLoss
from factor_models.losses.quantitative import QuantitativeConfig, QuantitativeLoss, RiskBounds
from factor_models.losses.ranks import rank_error, soft_ranks
from factor_models.losses.regime import Regime, RegimeConfig
from factor_models.losses.risk import extreme, leverage, turnover, volatility
from factor_models.losses.table import LOSSES, LossConfig, LossEntry, get_loss, is_classification, loss_config
from factor_models.losses.tasks import LearnedWeights

__all__ = [
    "LOSSES",
    "CrossSections",
    "DistilledLoss",
    "LearnedWeights",
    "Loss",
    "LossConfig",
    "LossEntry",
    "QuantileLoss",
    "QuantitativeConfig",
    "QuantitativeLoss",
    "Regime",
    "RegimeConfig",
    "RiskBounds",
    "Term",
    "TermLoss",
    "bce",
    "extreme",
    "focal",
    "get_loss",
    "hinge",
    "huber",
    "ic",
    "ic_shortfall",
    "is_classification",
    "leverage",
    "listnet",
    "loss_config",
    "mae",
    "mse",
    "rank_error",
    "ranknet",
    "soft_ranks",
    "turnover",
    "volatility",
]
