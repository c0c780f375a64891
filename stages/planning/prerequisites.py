"""Prerequisites of a run, checked before anything starts rather than after hours."""

from __future__ import annotations

from pathlib import Path

from factor_data import check_functions
from factor_models import Kronos, KronosTokenizer
from stages.kline.bars import read_pretrained
from stages.params.reading import Params
from stages.planning.closure import describe
from stages.planning.sizes import check_sizes
from stages.running.files import DECIDED
from stages.running.stage import StageError

DATA, POINTER = Path("data"), Path("data.dvc")
FEATURES = Path("features")
KLINE_KNOWS_ONLY = {"start": "cold", "weights": None, "windows": None, "distillation": None, "stop_on": "rank_ic"}
"""Keys of `train` and their only value that a K-line model, trained on tokens, can follow."""


def check_prerequisites(params: Params) -> None:
    """Refuse what no stage could work with, by a StageError.

    That is: data that are not there, sizes beyond this machine's memory, files of features that the plan could not
    follow, pretrained weights that are not those named by their hash, and keys of `train` that a model of the list
    cannot follow.
    """
    if DECIDED.exists():
        raise StageError("make use-data was ended while it replaced the data: 'make use-data' finishes that")
    if not DATA.is_dir() and not POINTER.is_file():
        raise StageError(f"there is neither {DATA}/ nor {POINTER}: make use-data SRC=folder puts your own data there")
    check_sizes(params)
    for path, names in params.tokenize.functions.items():
        check_file(path, names)
    for name in params.kline_models:
        for key, value in KLINE_KNOWS_ONLY.items():
            if getattr(params.train_of(name), key) != value:
                raise StageError(
                    f"params.yaml: train.{key}: {name} is trained on tokens and knows only {value}, which may stand "
                    f"under zoo.{name}.train"
                )
        if params.zoo[name].settings.pretrained is not None:
            read_pretrained(Kronos, f"zoo.{name}.pretrained", params.zoo[name].settings.pretrained)
    if params.kline_models and params.tokenize_kline.pretrained is not None:
        read_pretrained(KronosTokenizer, "tokenize_kline.pretrained", params.tokenize_kline.pretrained)


def check_file(path: str, names: tuple[str, ...]) -> None:
    """Refuse a file that lies where DVC does not look, lacks a function or imports a file beside it."""
    where = f"params.yaml: tokenize.functions.{path}"
    if Path(path).parent != FEATURES or Path(path).suffix != ".py":
        raise StageError(f"{where}: must be a Python file in {FEATURES}/, since plan looks for changes there")
    try:
        check_functions(path, names)
    except ValueError as error:
        raise StageError(f"{where}: {error}") from None
    beside = [top for top in describe(path, Path(path)).others if Path(top).is_dir() or Path(f"{top}.py").is_file()]
    if beside:
        raise StageError(f"{where}: imports {beside[0]}, which the plan does not follow; keep each file whole")
