"""The card of a trained model: what it is, what it was fitted on, what it reached.

Markdown, the same bytes for the same model.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from factor_models.tabular.base import TabularModel
from factor_models.zoo import input_kind, model_config, model_sizes
from factor_models.zoo_table import MODELS

READS = {
    "last_bar": "features of the last bar",
    "features": "windows of features",
    "tokens": "windows of quantile tokens",
}


def count_parameters(model: nn.Module | TabularModel) -> int:
    """Trained numbers: weights of a network or of a linear model, leaves of trees."""
    if isinstance(model, nn.Module):
        return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return model.num_parameters


def count_flops(model: nn.Module | TabularModel, config: Mapping[str, Any]) -> int | None:
    """Floating-point operations of the forecast of one window, alone on its date, by torch's counter.

    Counted are products of matrices, attention and convolutions, a multiplication and its addition as two; with one
    document per bar for a model that reads news. None for trees, which compare.

    Parameters
    ----------
    config : the arguments of `build_model`, with "name"
    """
    if not isinstance(model, nn.Module):
        return 2 * config["num_features"] * config["num_horizons"] if config["name"] == "linear" else None
    module = copy.deepcopy(model).cpu().float().eval()
    window, extras = _example(config, getattr(model, "extra_inputs", ()))
    counter = FlopCounterMode(display=False)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", "TF32 acceleration", UserWarning)
        # Operators of oneDNN and fused attention are one call each, which the counter does not look into.
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH), counter:
            module(window, **extras)
    return counter.get_total_flops()


def _example(
    config: Mapping[str, Any], extra_inputs: tuple[str, ...]
) -> tuple[torch.Tensor, dict[str, torch.Tensor | None]]:
    """A window of zeros (tokens: of missing ones) with what the model reads besides."""
    lookback = config.get("lookback", getattr(model_config(config["name"]), "lookback", 1))
    shape = (1, lookback, config["num_features"])
    texts = torch.zeros(1, lookback, 1, config["text_dim"]) if config.get("text_dim") else None
    group = torch.zeros(1, dtype=torch.int64)
    example = {"groups": group, "symbols": group if config.get("num_symbols") else None, "texts": texts}
    dtype = torch.int64 if input_kind(config["name"]) == "tokens" else torch.float32
    return torch.zeros(shape, dtype=dtype), {name: example[name] for name in extra_inputs}


def model_card(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The card of a model folder.

    Parameters
    ----------
    config : "name" and the settings, as in config.json
    metadata : fold (`Fold.describe`: first and last date and number of dates of train, valid and test), train_samples,
        labels (name -> what it is, in words), seed, num_parameters, valid_rank_ic by label (None: undefined),
        best_epoch (None: fitted in one go; of several `seeds`, which are then there, a list); where the model has
        them, features, missing_inputs, target, best_head, flops_per_window (None: not counted), and any "..._sha256" of
        what its inputs were made with

    Raises
    ------
    KeyError : the metadata lack one of those that every model has
    """
    name, fold = config["name"], metadata["fold"]
    sections = [
        f"# {name}, fold {fold['fold']}",
        _table(_model_rows(config, metadata)),
        "## Data",
        _table(_data_rows(metadata)),
        f"Features: {', '.join(metadata['features'])}." if "features" in metadata else "",
        "## Result on valid dates",
        _valid_results(metadata),
        "These dates may have decided when training stopped: they are no out-of-sample result.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def _model_rows(config: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    name = config["name"]
    in_zoo = name in MODELS
    sizes = ("name", "num_features", "num_horizons", *(model_sizes(name) if in_zoo else ()))
    settings = {key: value for key, value in config.items() if key not in sizes}
    rows = {
        "reads": READS[input_kind(name)] if in_zoo else "windows of bars as K-line tokens",
        "settings": ", ".join(f"{key} {value}" for key, value in sorted(settings.items())) or "none",
        "parameters": f"{metadata['num_parameters']:,}",
    }
    if "flops_per_window" in metadata:
        flops = metadata["flops_per_window"]
        rows["operations per window"] = "not counted: trees compare" if flops is None else f"{flops:,} FLOPs"
    epoch = metadata["best_epoch"]
    if isinstance(epoch, list):
        seeds = ", ".join(map(str, metadata["seeds"]))
        return rows | {"seeds, averaged": seeds, "epochs kept": ", ".join(str(one + 1) for one in epoch)}
    return rows | {"seed": metadata["seed"], "epoch kept": "fitted in one go" if epoch is None else epoch + 1}


def _data_rows(metadata: Mapping[str, Any]) -> dict[str, Any]:
    fold = metadata["fold"]
    rows = {part: _segment(fold, part) for part in ("train", "valid", "test")}
    rows |= {
        "purged, embargoed": f"{fold['purge_dates']}, {fold['embargo_dates']} dates",
        "training samples": f"{metadata['train_samples']:,}",
    }
    if "missing_inputs" in metadata:
        rows["missing inputs"] = f"{metadata['missing_inputs']:,} values of the training samples"
    if "target" in metadata:
        rows["target"] = f"{metadata['target']} per date"
    rows |= {f"label {name}": words for name, words in metadata["labels"].items()}
    for key in sorted(key for key in metadata if key.endswith("_sha256")):
        rows[key.removesuffix("_sha256").replace("_", " ")] = metadata[key][:16]
    return rows


def _segment(fold: Mapping[str, Any], part: str) -> str:
    if not fold[f"{part}_dates"]:
        return "none"
    return f"{fold[f'{part}_first']} to {fold[f'{part}_last']}, {fold[f'{part}_dates']} dates"


def _valid_results(metadata: Mapping[str, Any]) -> str:
    best = metadata.get("best_head")
    lines = ["| label | mean rank IC |", "|---|---|"]
    lines += [
        f"| {label} | undefined |"
        if score is None
        else f"| {label} | {score:+.4f}{' (best)' if label == best else ''} |"
        for label, score in metadata["valid_rank_ic"].items()
    ]
    return "\n".join(lines)


def _table(rows: Mapping[str, Any]) -> str:
    """A two-column table of Markdown."""
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
