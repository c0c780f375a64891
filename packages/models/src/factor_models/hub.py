"""Models as folders in the way of Hugging Face: config.json, weights without pickle, a card with front matter.

The folder is that of `save_model` with a README.md, so what the stage train writes is read here as well. Names of
repositories on the hub are understood where huggingface_hub is installed (the extra `hub`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factor_models.whole_file import write_bytes

if TYPE_CHECKING:
    from torch import nn

    from factor_models.tabular.base import TabularModel

CARD_FILE = "README.md"
FILES = ("config.json", "metadata.json", "model.safetensors", "model.txt", "model.jsonl", CARD_FILE)
"""What a folder may hold, and all that is taken from a repository."""


def save_pretrained(
    model: nn.Module | TabularModel,
    directory: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
) -> None:
    """Write a model of the zoo into a folder that `from_pretrained` reads: config, weights, metadata, README.md.

    Parameters
    ----------
    model : made by `build_model`, which notes what it was built with
    directory : the folder, made if needed
    metadata : plain data to keep beside the weights, such as the names of the features
    tags : further tags of the card's front matter

    Raises
    ------
    ValueError : the model was not made by `build_model`, or the metadata are no plain data
    """
    from factor_models.checkpoints import save_model

    config = getattr(model, "build_config", None)
    if config is None:
        raise ValueError(f"{type(model).__name__} does not say what it was built with: make it by build_model")
    directory = Path(directory)
    metadata = dict(metadata or {})
    save_model(directory, model, config, metadata)
    write_bytes(directory / CARD_FILE, card_text(model, config, metadata, tags).encode())


def from_pretrained(
    name_or_path: str | Path, revision: str | None = None, expected: dict[str, Any] | None = None
) -> nn.Module | TabularModel:
    """Return the model of a local folder, or of a Hugging Face repository such as owner/model; networks in eval mode.

    Parameters
    ----------
    name_or_path : a folder of `save_pretrained` or `save_model`, or the name of a repository that holds one
    revision : branch, tag or commit of the repository
    expected : entries that the metadata must hold

    Raises
    ------
    ValueError : a file is missing, damaged or of another model; the name needs huggingface_hub, which is not installed
    """
    from factor_models.checkpoints import load_model

    return load_model(local_folder(name_or_path, revision, FILES), expected)[0]


def local_folder(name_or_path: str | Path, revision: str | None, files: Sequence[str]) -> Path:
    """Return the folder of a path, or of a repository whose `files` are downloaded; ValueError where it is neither."""
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder
    if not isinstance(name_or_path, str) or name_or_path.count("/") != 1 or folder.is_absolute():
        raise ValueError(f"{name_or_path}: no such folder, and not a repository name such as owner/model")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ValueError(
            f"{name_or_path}: no such folder; to download it by this name, pip install huggingface_hub "
            "(the extra factor-models[hub])"
        ) from None
    return Path(snapshot_download(name_or_path, revision=revision, allow_patterns=list(files)))


def card_text(
    model: nn.Module | TabularModel, config: Mapping[str, Any], metadata: Mapping[str, Any], tags: Sequence[str] = ()
) -> str:
    """Return the card of a folder: front matter that the hub reads, what the model is, and how it is loaded."""
    from factor_models.card import READS, count_parameters, model_card
    from factor_models.zoo import input_kind, model_sizes

    name, said = config["name"], metadata.get("estimator", {})
    classifies = said.get("class") == "FactorClassifier"
    task = "tabular-classification" if classifies else "time-series-forecasting"
    front = {
        "library_name": "factor_models",
        "pipeline_tag": task,
        "tags": ["factorcast", "finance", name, *tags],
        "model_name": name,
    }
    head = "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---"])
    load = f"factor_models.{said['class']}.from_pretrained(folder)" if said else "factor_models.from_pretrained(folder)"
    usage = f"```python\nimport factor_models\n\nmodel = {load}\n```"
    if "fold" in metadata:
        return f"{head}\n\n{model_card(config, metadata)}\n## Use\n\n{usage}\n"
    sizes = ("name", "num_features", "num_horizons", *model_sizes(name))
    settings = ", ".join(f"{key} {value}" for key, value in sorted(config.items()) if key not in sizes)
    rows = {
        "reads": READS[input_kind(name)],
        "features": f"{config['num_features']}",
        "forecasts": f"{config['num_horizons']} numbers a symbol and date",
        "settings": settings or "the defaults",
        "parameters": f"{count_parameters(model):,}",
    }
    table = "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])
    features = metadata.get("features") or said.get("feature_names_in_", {}).get("values")
    listed = f"\n\nFeatures: {', '.join(map(str, features))}." if features else ""
    warning = "What it is worth on data that it has not seen is not part of this folder."
    return f"{head}\n\n# {name}\n\n{table}{listed}\n\n{warning}\n\n## Use\n\n{usage}\n"
