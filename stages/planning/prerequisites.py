"""Prerequisites of a run, checked before anything starts rather than after hours."""

from __future__ import annotations

from pathlib import Path

from factor_models import Kronos, KronosTokenizer
from stages.kline.bars import read_pretrained
from stages.params.reading import Params
from stages.planning.sizes import check_sizes
from stages.running.files import DECIDED
from stages.running.stage import StageError

DATA, POINTER = Path("data"), Path("data.dvc")
KLINE_KNOWS_ONLY = {"start": "cold", "weights": None, "distillation": None, "stop_on": "rank_ic"}
"""Keys of `train` and their only value that a K-line model, trained on tokens, can follow."""


def check_prerequisites(params: Params) -> None:
    """Refuse what no stage could work with, by a StageError.

    That is: data that are not there, sizes beyond this machine's memory, pretrained weights that are not those named by
    their hash, and keys of `train` that a model of the list cannot follow.
    """
    if DECIDED.exists():
        raise StageError("make use-data was ended while it replaced the data: 'make use-data' finishes that")
    if not DATA.is_dir() and not POINTER.is_file():
        raise StageError(f"there is neither {DATA}/ nor {POINTER}: make use-data SRC=folder puts your own data there")
    check_sizes(params)
    for name in params.kline_models:
        for key, value in KLINE_KNOWS_ONLY.items():
            if getattr(params.train, key) != value:
                raise StageError(f"params.yaml: train.{key}: {name} is trained on tokens and knows only {value}")
        if params.zoo[name].pretrained is not None:
            read_pretrained(Kronos, f"zoo.{name}.pretrained", params.zoo[name].pretrained)
    if params.kline_models and params.tokenize_kline.pretrained is not None:
        read_pretrained(KronosTokenizer, "tokenize_kline.pretrained", params.tokenize_kline.pretrained)
