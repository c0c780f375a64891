"""The losses by name, an entry each: a new loss is one function with its settings, and one entry.

The table is a literal: where a loss is defined can be read without importing it.
"""

from __future__ import annotations

from factor_models.losses.entry import LossEntry

LOSSES: dict[str, LossEntry] = {
    "mse": LossEntry("factor_models.losses.errors", term="mse"),
    "mae": LossEntry("factor_models.losses.errors", term="mae"),
    "huber": LossEntry("factor_models.losses.errors", term="huber", config_name="HuberConfig"),
    "ic": LossEntry("factor_models.losses.correlation", term="ic"),
    "mse_ic": LossEntry("factor_models.losses.mixtures", build="mse_ic"),
    "target_ic": LossEntry("factor_models.losses.correlation", build="target_ic", config_name="TargetICConfig"),
    "rank": LossEntry("factor_models.losses.ranks", term="rank_error", config_name="RankConfig"),
    "listnet": LossEntry("factor_models.losses.ordering", term="listnet", config_name="ListNetConfig"),
    "ranknet": LossEntry("factor_models.losses.ordering", term="ranknet"),
    "quantile": LossEntry("factor_models.losses.quantile", build="quantile_loss", config_name="QuantileConfig"),
    "quantitative": LossEntry(
        "factor_models.losses.quantitative",
        build="QuantitativeLoss",
        config_name="QuantitativeConfig",
        is_per_target=True,
    ),
    "bce": LossEntry("factor_models.losses.classification", term="bce", is_classification=True),
    "focal": LossEntry(
        "factor_models.losses.classification", term="focal", config_name="FocalConfig", is_classification=True
    ),
    "hinge": LossEntry("factor_models.losses.classification", term="hinge", is_classification=True),
}
