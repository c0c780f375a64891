"""Which room fits which kind of model. The rooms are loaded by name, so that a plan holds only the one that is used."""

from __future__ import annotations

from importlib import import_module
from typing import Literal

from factor_models import KLINE_MODELS, input_kind
from stages.fitting.contract import Family

Kind = Literal["tabular", "network", "kline"]

FAMILIES: dict[Kind, str] = {
    "tabular": "stages.fitting.tabular",
    "network": "stages.fitting.network",
    "kline": "stages.kline.predictor",
}


def family_of(model: str) -> Kind:
    """Tabular models read the last bar, networks windows, K-line models tokens of bars. ValueError: unknown model."""
    if model in KLINE_MODELS:
        return "kline"
    return "tabular" if input_kind(model) == "last_bar" else "network"


def load_family(kind: Kind) -> Family:
    """The room's way to prepare the folds of a model."""
    family: Family = import_module(FAMILIES[kind]).FAMILY
    return family
