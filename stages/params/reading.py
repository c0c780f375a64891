"""The whole of params.yaml, read strictly: any wrong key or value is refused before any work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from factor_data import MarketConfig
from factor_models import KLINE_MODELS, available_models
from factor_models.checks import nearest
from factor_models.kline import check_context
from stages.params.checking import validate
from stages.params.evaluate import EvaluateParams
from stages.params.plain_yaml import parse_yaml
from stages.params.refit import RefitParams
from stages.params.split import SplitParams
from stages.params.stack import StackParams
from stages.params.tokenize import TokenizeParams
from stages.params.tokenize_kline import TokenizeKlineParams
from stages.params.train import ListedLabels, TrainParams, read_train
from stages.params.zoo import ZooModel, parse_zoo
from stages.running.stage import StageError

PARAMS_FILE = Path("params.yaml")


@dataclass(frozen=True, kw_only=True)
class Params:
    """The whole of params.yaml."""

    __pydantic_config__: ClassVar[dict] = {"extra": "forbid"}
    models: tuple[str, ...]
    """Models to train and to stack, each once."""
    sample: MarketConfig
    """The simulated market."""
    split: SplitParams
    """Cleaning and folds."""
    tokenize: TokenizeParams
    """Inputs and labels of the models."""
    tokenize_kline: TokenizeKlineParams
    """Windows of bars and the tokenizer of K-line models."""
    train: TrainParams
    """How every model is trained."""
    zoo: dict[str, Any]
    """Settings of each model by its name, and keys of `train` that are its own."""
    evaluate: EvaluateParams
    """How predictions are judged."""
    stack: StackParams
    """The ensemble and the conditions for promotion."""
    refit: RefitParams
    """Its members trained up to the last date."""

    def __post_init__(self) -> None:
        if not self.models or len(set(self.models)) < len(self.models):
            raise ValueError(f"models: {list(self.models)} must name at least one model, each once")
        known = (*available_models(), *KLINE_MODELS)
        if unknown := [name for name in self.models if name not in known]:
            raise ValueError(f"models: {unknown[0]!r} is unknown; {nearest(unknown[0], known)}")
        for label in self.stack.gate_labels:
            if label not in self.tokenize.labels:
                raise ValueError(
                    f"stack.gate_labels: {label!r} is no label; {nearest(label, list(self.tokenize.labels))}"
                )
        self._check_purge()
        self._check_inheritance()
        volatilities = [name for name, label in self.tokenize.labels.items() if label.measure == "volatility"]
        if volatilities and self.stack.learn_by == "auc":
            raise ValueError(
                f"stack.learn_by: auc needs labels that go up and down; tokenize.labels.{volatilities[0]} is a "
                "volatility, which is never below 0"
            )
        opens = [name for name, label in self.tokenize.labels.items() if label.price == "open"]
        if opens and self.evaluate.portfolio.delay == 0:
            raise ValueError(
                f"evaluate.portfolio.delay: 0 must be >= 1, since label {opens[0]} trades at the open, which is over "
                f"when t closes (tokenize.labels.{opens[0]}.price)"
            )
        columns = [name for name, label in self.tokenize.labels.items() if label.column is not None]
        if columns and self.kline_models:
            raise ValueError(
                f"models: {self.kline_models[0]} forecasts returns and volatilities of the bars that it generates; "
                f"tokenize.labels.{columns[0]} is a column"
            )

    def _check_purge(self) -> None:
        """No label may reach across the dates that are left out between segments; without a number they are as many."""
        purge = self.split.folds.purge
        name, farthest = max(self.tokenize.labels.items(), key=lambda item: item[1].ahead)
        if purge is not None and purge < farthest.ahead:
            key = "reach" if farthest.horizon is None else "horizon"
            raise ValueError(
                f"split.folds.purge: {purge} must be >= {farthest.ahead}, the dates that label {name} looks ahead "
                f"(tokenize.labels.{name}.{key})"
            )

    def _check_inheritance(self) -> None:
        """Nothing may reach a fold from another one that has learned on its test dates: those of cpcv have."""
        if self.split.folds.scheme != "cpcv":  # all others move forward: earlier folds end before later ones test
            return
        trained = "split.folds.scheme: cpcv trains every fold on dates that the others test"
        for key, train in self._trainings().items():
            if train.start != "cold":
                raise ValueError(
                    f"{key}.start: {train.start} would begin a fold with weights that have learned its test dates, "
                    f"since {trained}; use cold"
                )
        if self.stack.weights != "equal":
            raise ValueError(
                f"stack.weights: {self.stack.weights} would learn from forecasts of models that have learned the test "
                f"dates, since {trained}; use equal"
            )

    def _trainings(self) -> dict[str, TrainParams]:
        """Section `train`, and that of each model with keys of its own, by its place."""
        own = {name: one for name, one in self.zoo.items() if isinstance(one, ZooModel) and one.own}
        return {"train": self.train} | {f"zoo.{name}.train": one.train(self.train) for name, one in own.items()}

    def train_of(self, model: str) -> TrainParams:
        """Section `train` with the model's own keys in it."""
        own: ZooModel = self.zoo[model]
        return own.train(self.train)

    @property
    def kline_models(self) -> list[str]:
        """Those of `models` that read K-lines."""
        return [name for name in self.models if name in KLINE_MODELS]

    def check_seeds(self) -> None:
        """Refuse several seeds of a K-line model, whose forecast is of the paths that one predictor draws."""
        for name in self.kline_models:
            if (seeds := self.train_of(name).seeds) > 1:
                raise StageError(
                    f"train.seeds: {seeds}: {name} is trained from one seed and averages its paths; give it "
                    f"zoo.{name}.train: {{seeds: 1}}"
                )

    def check_contexts(self) -> None:
        """Refuse K-line models whose windows do not fit their context."""
        for name in self.kline_models:
            try:
                check_context(self.tokenize_kline.lookback, self.tokenize.reach, self.zoo[name].settings.max_context)
            except ValueError as error:
                raise StageError(f"zoo.{name}: tokenize_kline.{error}") from None


def read_params(path: Path = PARAMS_FILE) -> Params:
    """params.yaml as typed sections. Raises StageError naming file, key, value and rule for the first wrong things."""
    return parse_params(read_document(path), str(path))


def read_document(path: Path) -> dict[str, Any]:
    """A YAML file of sections. StageError if there is none, it is no valid YAML or no mapping."""
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StageError(f"{path} does not exist: run from the root of the repository") from None
    except UnicodeDecodeError:
        raise StageError(f"{path} is not UTF-8 text") from None
    except ValueError as error:
        raise StageError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise StageError(f"{path}: expected sections {', '.join(section_names())}, found {type(document).__name__}")
    return document


def parse_params(document: Mapping[str, Any], name: str) -> Params:
    """Sections held against their schemas, and against each other; `name` is what errors call the document."""
    params: Params = validate(Params, document, where=f"{name}: ")
    labels = ListedLabels(listed=tuple(params.tokenize.labels), heads=tuple(params.tokenize.heads))
    train = read_train(document["train"], labels, where=f"{name}: train.")
    zoo = parse_zoo(document, labels, name)
    try:
        params = replace(params, train=train, zoo=zoo)
        params.check_contexts()
        params.check_seeds()
    except ValueError as error:
        raise StageError(f"{name}: {error}") from None
    return params


def section_names() -> list[str]:
    """Return the sections of params.yaml in their order."""
    return [field.name for field in fields(Params)]


def plain(section: Any) -> Any:
    """A section as JSON has it: every field, defaults filled in."""
    document = asdict(section) if is_dataclass(section) and not isinstance(section, type) else section
    return json.loads(json.dumps(document, default=asdict))
