"""Prerequisites of a run, checked before anything starts rather than after hours."""

from __future__ import annotations

from pathlib import Path

from factor_data import check_functions
from factor_models import KLINE_MODELS, Kronos, KronosTokenizer, model_sizes
from stages.kline.bars import read_pretrained
from stages.params.reading import Params
from stages.planning.closure import describe
from stages.planning.lengths import check_lengths
from stages.planning.sizes import check_sizes
from stages.running.files import DECIDED
from stages.running.stage import StageError
from stages.texts import check_encoder

DATA, POINTER = Path("data"), Path("data.dvc")
FEATURES = Path("features")
KLINE_KNOWS_ONLY = {"start": "cold", "weights": None, "windows": None, "distillation": None, "stop_on": "rank_ic"}
"""Keys of `train` and their only value that a K-line model, trained on tokens, can follow."""


def check_prerequisites(params: Params) -> None:
    """Refuse what no stage could work with, by a StageError.

    That is: data that are not there, sizes beyond this machine's memory, lengths beyond the dates of the data, files
    of features that the plan could not follow, pretrained weights that are not those named by their hash, and keys of
    `train` that a model of the list cannot follow.
    """
    if DECIDED.exists():
        raise StageError("make use-data was ended while it replaced the data: 'make use-data' finishes that")
    if not DATA.is_dir() and not POINTER.is_file():
        raise StageError(f"there is neither {DATA}/ nor {POINTER}: make use-data SRC=folder puts your own data there")
    check_sizes(params)
    check_lengths(params)
    if params.tokenize.reads_with_transformer:
        assert params.tokenize.news_vectors is not None
        check_encoder(params.tokenize.news_vectors)
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


def unread_texts(params: Params) -> str | None:
    """A warning where models of the list that read texts will be given none, though news are used."""
    readers = [name for name in params.models if name not in KLINE_MODELS and "text_dim" in model_sizes(name)]
    vectors = params.tokenize.news_vectors
    if not readers or not params.tokenize.use_news or (vectors is not None and vectors.documents_per_bar):
        return None
    key = "tokenize.news_vectors: null" if vectors is None else "tokenize.news_vectors.documents_per_bar: 0"
    return f"warning: {', '.join(readers)} will read prices alone ({key}): with use_news: true they can read texts"


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
