"""The whole of params.yaml, read strictly: any wrong key or value is refused before any work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from factor_data import MarketConfig, check_purge
from factor_models import KLINE_MODELS, available_models, input_kind, model_config
from factor_models.kline import check_context
from stages.params.checking import validate
from stages.params.evaluate import EvaluateParams
from stages.params.plain_yaml import parse_yaml
from stages.params.split import SplitParams
from stages.params.stack import StackParams
from stages.params.tokenize import TokenizeParams
from stages.params.tokenize_kline import TokenizeKlineParams
from stages.params.train import TrainParams, with_loss_settings
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
    """Settings of each model by its name."""
    evaluate: EvaluateParams
    """How predictions are judged."""
    stack: StackParams
    """The ensemble and the conditions for promotion."""

    def __post_init__(self) -> None:
        if not self.models or len(set(self.models)) < len(self.models):
            raise ValueError(f"models: {list(self.models)} must name at least one model, each once")
        known = (*available_models(), *KLINE_MODELS)
        if unknown := [name for name in self.models if name not in known]:
            raise ValueError(f"models: {unknown[0]!r} is unknown; known are {', '.join(known)}")
        if self.split.folds.purge is not None:
            try:
                check_purge(self.split.folds.purge, self.tokenize.horizons, self.tokenize.delay)
            except ValueError as error:
                raise ValueError(f"split.folds.{error}") from None
        self._check_inheritance()

    def _check_inheritance(self) -> None:
        """Nothing may reach a fold from another one that has learned on its test dates: those of cpcv have."""
        if self.split.folds.scheme != "cpcv":  # all others move forward: earlier folds end before later ones test
            return
        trained = "split.folds.scheme: cpcv trains every fold on dates that the others test"
        if self.train.start != "cold":
            raise ValueError(
                f"train.start: {self.train.start} would begin a fold with weights that have learned its test dates, "
                f"since {trained}; use cold"
            )
        if self.stack.weights != "equal":
            raise ValueError(
                f"stack.weights: {self.stack.weights} would learn from forecasts of models that have learned the test "
                f"dates, since {trained}; use equal"
            )

    @property
    def kline_models(self) -> list[str]:
        """Those of `models` that read K-lines."""
        return [name for name in self.models if name in KLINE_MODELS]

    @property
    def num_ahead(self) -> int:
        """Bars from the close of t to the last exit."""
        return self.tokenize.delay + max(self.tokenize.horizons)

    def check_contexts(self) -> None:
        """Refuse K-line models whose windows do not fit their context."""
        for name in self.kline_models:
            try:
                check_context(self.tokenize_kline.lookback, self.num_ahead, self.zoo[name].max_context)
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
    train = with_loss_settings(params.train, params.tokenize.horizons, where=f"{name}: train.")
    params = replace(params, train=train, zoo=parse_zoo(params.zoo, params.models, where=f"{name}: zoo."))
    try:
        params.check_contexts()
    except StageError as error:
        raise StageError(f"{name}: {error}") from None
    return params


def section_names() -> list[str]:
    """Return the sections of params.yaml in their order."""
    return [field.name for field in fields(Params)]


def parse_zoo(zoo: Mapping[str, Any], models: tuple[str, ...], where: str) -> dict[str, Any]:
    """One configuration object per section of `zoo`; one of `models` without a section has its defaults."""
    known = (*available_models(), *KLINE_MODELS)
    if unknown := sorted(set(zoo) - set(known)):
        raise StageError(f"{where}{unknown[0]}: unknown model; known are {', '.join(known)}")
    sections = {name: {} for name in models} | dict(zoo)
    parsed = {name: validate(model_config(name), section, f"{where}{name}.") for name, section in sections.items()}
    for name, section in parsed.items():
        check_base(section, f"{where}{name}.")
    return parsed


def check_base(section: Any, where: str) -> None:
    """Refuse a model around a price model that is none, or settings that are not that one's."""
    base = getattr(section, "base", None)
    if base is None:
        return
    usable = [name for name in available_models() if input_kind(name) == "features"]
    if base not in usable:
        raise StageError(f"{where}base: {base!r} must read windows of features: one of {', '.join(usable)}")
    validate(model_config(base), section.settings, f"{where}settings.")


def plain(section: Any) -> Any:
    """A section as JSON has it: every field, defaults filled in."""
    document = asdict(section) if is_dataclass(section) and not isinstance(section, type) else section
    return json.loads(json.dumps(document))
