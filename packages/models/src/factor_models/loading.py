"""Model folders of every kind, read by one function: linear models, trees and networks, and K-line models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from factor_models import checkpoints
from factor_models.kline.paths import TOKENIZER_FOLDER, PathForecaster, load_path_forecaster
from factor_models.tabular.base import TabularModel


def load_model(
    directory: Path, expected: dict[str, Any] | None = None
) -> tuple[nn.Module | TabularModel | PathForecaster, dict[str, Any]]:
    """Return model and metadata of a folder that `save_model` or the training of a K-line model wrote.

    A folder with a K-line tokenizer in it gives a `PathForecaster`, ready to forecast the symbols of a date.

    Parameters
    ----------
    directory : the folder
    expected : entries the metadata must hold, for example {"features": [...], "normaliser": "sha256 ..."}

    Raises
    ------
    ValueError : a file is missing, a hash does not match, or the metadata differ from `expected`
    """
    directory = Path(directory)
    if not (directory / TOKENIZER_FOLDER).is_dir():
        return checkpoints.load_model(directory, expected)
    forecaster, metadata = load_path_forecaster(directory)
    checkpoints.check_expected(directory, metadata, expected)
    return forecaster, metadata
