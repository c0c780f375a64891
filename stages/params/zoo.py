"""Section `zoo`: what each model is, and which keys of `train` are its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from factor_models import KLINE_MODELS, available_models, input_kind, model_config
from stages.params.checking import validate
from stages.params.overlays import decided_by, overlay_train
from stages.params.tabular import TABULAR_KEYS
from stages.params.train import ListedLabels, TrainParams, read_train
from stages.running.stage import StageError


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """One model."""

    settings: Any
    """Its configuration object."""
    own: Mapping[str, Any]
    """Keys of `train` that are its own."""
    read: Mapping[str, Any]
    """The fields of `TrainParams` that these decide, checked together with the rest of the section."""

    def train(self, common: TrainParams) -> TrainParams:
        """Section `train` with the model's own keys in the place of its."""
        return replace(common, **self.read)


def parse_zoo(document: Mapping[str, Any], labels: ListedLabels, name: str) -> dict[str, ZooModel]:
    """The models of a document that is params.yaml; one of `models` without a section has its defaults."""
    zoo, where = document["zoo"], f"{name}: zoo."
    known = (*available_models(), *KLINE_MODELS)
    if unknown := sorted(set(zoo) - set(known)):
        raise StageError(f"{where}{unknown[0]}: unknown model; known are {', '.join(known)}")
    sections: dict[str, Any] = {model: {} for model in document["models"]} | dict(zoo)
    return {model: parse_model(model, section, document["train"], labels, where) for model, section in sections.items()}


def parse_model(
    model: str,
    section: Mapping[str, Any],
    train: Mapping[str, Any],
    labels: ListedLabels,
    where: str,
) -> ZooModel:
    """A section of `zoo`; `train` is the section of that name as it is written."""
    own = section.get("train", {}) if isinstance(section, Mapping) else {}
    if not isinstance(own, Mapping):
        raise StageError(f"{where}{model}.train: {own!r} must be keys of section train with their values")
    rest = {key: value for key, value in section.items() if key != "train"} if isinstance(section, Mapping) else section
    settings = validate(model_config(model), rest, f"{where}{model}.")
    check_base(settings, f"{where}{model}.")
    if not own:
        return ZooModel(settings=settings, own={}, read={})
    merged, place, own = overlay_train(train, own), f"{where}{model}.train.", dict(own)
    if model in KLINE_MODELS or input_kind(model) != "last_bar":
        read = read_train(merged, labels, place)
        return ZooModel(settings=settings, own=own, read={key: getattr(read, key) for key in decided_by(own)})
    if idle := sorted(set(own) - set(TABULAR_KEYS)):
        raise StageError(f"{place}{idle[0]}: {model} is not fitted with it, only with {', '.join(TABULAR_KEYS)}")
    whole: TrainParams = validate(TrainParams, merged, place)
    return ZooModel(settings=settings, own=own, read={key: getattr(whole, key) for key in own})


def check_base(settings: Any, where: str) -> None:
    """Refuse a model around a price model that is none, or settings that are not that one's."""
    base = getattr(settings, "base", None)
    if base is None:
        return
    usable = [name for name in available_models() if input_kind(name) == "features"]
    if base not in usable:
        raise StageError(f"{where}base: {base!r} must read windows of features: one of {', '.join(usable)}")
    validate(model_config(base), settings.settings, f"{where}settings.")
