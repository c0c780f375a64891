"""What the checks look at, read once: the settings, and the forecasts of each model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from factor_data import FeatureStore
from factor_models import KLINE_MODELS, input_kind
from stages.params.reading import Params
from stages.predictions import OutOfFold
from stages.running.files import RESULTS, stored


class NotYet(Exception):
    """The thing to look at is not there yet; `never`: this run will not have it."""

    def __init__(self, reason: str, never: bool = False) -> None:
        super().__init__(reason)
        self.never = never


class Asked:
    """The run that is looked at."""

    def __init__(self, params: Params) -> None:
        self.params = params

    @property
    def networks(self) -> list[str]:
        """Those of the models that are trained by steps."""
        return [name for name in self.params.models if name in KLINE_MODELS or input_kind(name) != "last_bar"]

    @cached_property
    def store(self) -> FeatureStore:
        """The features and labels of the run."""
        return FeatureStore(self.there(RESULTS / "tokenize"))

    def forecasts(self, model: str) -> OutOfFold:
        """Return what a model has forecast out of fold; NotYet where it is not trained."""
        self.there(RESULTS / "train" / model / "predictions.parquet")
        return OutOfFold(stored(f"train/{model}", "predictions.parquet"), self.store)

    @staticmethod
    def there(path: Path) -> Path:
        """Return the path; NotYet where nothing is there."""
        if not path.exists():
            raise NotYet(f"{path} is not there yet")
        return path
