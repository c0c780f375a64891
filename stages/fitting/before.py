"""What a refit takes over: the folds and members that were judged, in results/before of the folder it is trained in.

No other training has such a folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from safetensors.torch import load_file
from torch import Tensor

from factor_data import Fold, SymbolVocabulary, read_folds
from factor_models.checkpoints import WEIGHTS_FILE
from stages.running.files import RESULTS

BEFORE = RESULTS / "before"
FOLDS = "folds.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class Start:
    """What a training begins with."""

    weights: Mapping[str, Tensor]
    vocabulary: SymbolVocabulary | None
    """The symbols that the weights know; None where the network knows none."""


def folds_before() -> list[Fold]:
    """The folds that the judged members have learned from; none where nothing is refitted."""
    path = BEFORE / FOLDS
    return read_folds(path) if path.is_file() else []


def check_later(before: Sequence[Fold], fold: Fold) -> None:
    """Refuse weights that were chosen on dates on which both are compared; ValueError names them."""
    for one in before:
        if one.valid[-1] >= fold.valid[0]:
            raise ValueError(
                f"train.start: the weights of fold {one.index} were chosen on dates up to {one.valid[-1]!s:.19}, the "
                f"valid dates of the refit begin on {fold.valid[0]!s:.19}: a smaller refit.valid moves them later"
            )


def weights_before(name: str, number: int) -> Start | None:
    """The weights of the judged member, of several seeds those of the `number`-th; None where nothing is refitted."""
    folder = BEFORE / name
    if not folder.is_dir():
        return None
    weights, prefix = load_file(folder / WEIGHTS_FILE), f"members.{number}."  # as SeedEnsemble names them
    of_seed = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    bundle = folder.resolve().parents[1]
    return Start(weights=of_seed or weights, vocabulary=SymbolVocabulary.load(bundle / "inputs" / "vocabulary.json"))
